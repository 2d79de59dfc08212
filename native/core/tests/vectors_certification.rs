//! BLS, hash trees, certificates and request ids against vectors: every verdict.

use icws_core::Error;
use icws_core::bls::{PublicKey, SecretKey};
use icws_core::cbor::{self, Budget, Value};
use icws_core::certificate::{Certificate, Subject, Verifier};
use icws_core::hash_tree::{Find, HashTree, Lookup};
use icws_core::principal;
use icws_core::request_id::{hash_of_fields, hash_of_int, hash_of_value};
use serde_json::Value as Json;

mod vectors;
use vectors::{bytes, list, load, path, text};

const MINUTES_5: u64 = 300_000_000_000;

#[test]
fn bls_signatures_are_judged_as_the_ic_does() {
    let file = load("signatures/bls.json");
    assert_eq!((list(&file, "verify").len(), list(&file, "sign").len()), (23, 129));
    for case in list(&file, "verify") {
        let verdict = PublicKey::from_raw(&bytes(case, "public_key"))
            .and_then(|key| key.verify(&bytes(case, "signature"), &bytes(case, "message")));
        assert_eq!(verdict.is_ok(), case["valid"].as_bool().unwrap(), "{case} {verdict:?}");
    }
    for case in list(&file, "sign") {
        let key = SecretKey::from_scalar(&bytes(case, "secret_scalar")).unwrap();
        let message = bytes(case, "message");
        assert_eq!(key.public_key().to_raw()[..], bytes(case, "public_key"));
        assert_eq!(key.sign(&message)[..], bytes(case, "signature"));
        assert_eq!(key.public_key().verify(&bytes(case, "signature"), &message), Ok(()));
    }
}

fn verdict<'a>(lookup: &'a Result<Lookup<'a>, Error>) -> (&'static str, Option<String>) {
    match lookup {
        Ok(Lookup::Found(value)) => ("found", Some(hex::encode(value))),
        Ok(Lookup::Absent) => ("absent", None),
        Ok(Lookup::Unknown) => ("unknown", None),
        Err(_) => ("error", None),
    }
}

fn subtree_verdict(find: &Find<'_>) -> (&'static str, Option<String>) {
    match find {
        Find::Found(tree) => ("found", Some(hex::encode(tree.to_cbor()))),
        Find::Absent => ("absent", None),
        Find::Unknown => ("unknown", None),
    }
}

#[test]
fn trees_have_their_digest_and_lookups_their_verdict() {
    let file = load("hash_trees.json");
    let (mut trees, mut lookups) = (0, 0);
    for case in list(&file, "cases") {
        trees += 1;
        let data = bytes(case, "tree");
        if case["is_well_formed"] == false {
            // A leaf beside labels: the digest could be had, but the tree is not well-formed.
            assert!(HashTree::from_cbor(&data).is_err());
            continue;
        }
        let tree = HashTree::from_cbor(&data).unwrap();
        assert_eq!(hex::encode(tree.digest()), text(case, "digest"));
        assert_eq!(tree.to_cbor(), data);
        let of_values = list(case, "lookups").iter().map(|lookup| (lookup, "value"));
        let of_subtrees = list(case, "subtrees").iter().map(|lookup| (lookup, "tree"));
        for (lookup, field) in of_values.chain(of_subtrees) {
            lookups += 1;
            let path: Vec<_> =
                list(lookup, "path").iter().map(|label| hex::decode(label.as_str().unwrap()).unwrap()).collect();
            let path: Vec<_> = path.iter().map(|label| &label[..]).collect();
            let expected = (text(lookup, "result"), lookup[field].as_str().map(str::to_owned));
            let found =
                if field == "value" { verdict(&tree.lookup(&path)) } else { subtree_verdict(&tree.find(&path)) };
            assert_eq!(found, expected, "{lookup}");
            // A witness of the path keeps the verdict, unless it was never told.
            let witness = tree.witness(&[&path]);
            let kept =
                if field == "value" { verdict(&witness.lookup(&path)) } else { subtree_verdict(&witness.find(&path)) };
            assert_eq!((witness.digest(), kept), (tree.digest(), expected), "{lookup}");
        }
    }
    assert_eq!((trees, lookups), (20, 117));
}

/// The bytes of a principal in text. The check sum is compared by writing it again.
fn principal_from(text: &str) -> Vec<u8> {
    let (mut bytes, mut buffer, mut bits) = (Vec::new(), 0u32, 0);
    for character in text.bytes().filter(|byte| *byte != b'-') {
        let value = if character.is_ascii_digit() { character - b'2' + 26 } else { character - b'a' };
        buffer = buffer << 5 | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
        }
    }
    let principal = bytes.split_off(4);
    assert_eq!(principal::to_text(&principal), text);
    principal
}

/// The certificate in a vector's file, which may be the response to `read_state` around it.
fn certificate_of(case: &Json) -> Vec<u8> {
    let data = std::fs::read(path(&format!("certificates/{}", text(case, "file")))).unwrap();
    if case["is_reply"] == false {
        return data;
    }
    let reply = cbor::decode("reply", &data, Budget::REPLY).unwrap();
    reply.get("certificate").and_then(Value::as_bytes).unwrap().to_vec()
}

fn name_of(error: &Error) -> &'static str {
    match error {
        Error::CertificateNotAuthorized { .. } => "not_authorized",
        Error::CertificateRangesUnknown(_) => "canister_ranges_unknown",
        Error::CertificateNestedDelegation => "too_many_delegations",
        Error::CertificateSignatureInvalid(_) => "bad_signature",
        _ => "another",
    }
}

#[test]
fn certificates_of_mainnet_are_judged_by_subject_and_age() {
    let file = load("certificates/certificates.json");
    let verifier = Verifier::new(&bytes(&file, "root_key_der"), MINUTES_5, MINUTES_5, 64).unwrap();
    let mut checks = 0;
    for case in list(&file, "certificates") {
        let data = certificate_of(case);
        let certificate = Certificate::decode(&data).unwrap();
        assert_eq!(hex::encode(certificate.tree.digest()), text(case, "tree_digest"));
        let time_ns = case["time_ns"].as_u64().unwrap();
        for check in list(case, "checks") {
            checks += 1;
            let id = principal_from(text(check, "effective_id"));
            let subject = if text(check, "kind") == "subnet" { Subject::Subnet(&id) } else { Subject::Canister(&id) };
            let expected = text(check, "verdict");
            let verify = |now_ns| verifier.verify(&data, subject, now_ns);
            let found = verify(Some(time_ns));
            assert_eq!(found.as_ref().map_or_else(name_of, |_| "valid"), expected, "{check}");
            let Ok(certified) = found else { continue };
            assert_eq!(certified.time_ns, time_ns);
            assert!(matches!(verify(Some(time_ns + 2 * MINUTES_5)), Err(Error::CertificateStale { .. })));
            assert!(matches!(verify(Some(time_ns - 2 * MINUTES_5)), Err(Error::CertificateFromFuture { .. })));
            assert!(verify(None).is_ok());
        }
    }
    assert_eq!(checks, 28);
}

#[test]
fn one_changed_byte_makes_no_valid_certificate() {
    let file = load("certificates/certificates.json");
    let data = certificate_of(&list(&file, "certificates")[0]);
    let id = principal_from(text(&list(&list(&file, "certificates")[0], "checks")[0], "effective_id"));
    let verifier = Verifier::new(&bytes(&file, "root_key_der"), MINUTES_5, MINUTES_5, 64).unwrap();
    let genuine = verifier.verify(&data, Subject::Canister(&id), None).unwrap();
    for at in (0..data.len()).step_by(7) {
        let mut bent = data.clone();
        bent[at] ^= 0x10;
        // Bytes outside of what is signed, such as the length of a length, may differ: never what is certified.
        if let Ok(certified) = verifier.verify(&bent, Subject::Canister(&id), None) {
            assert_eq!(certified.tree.digest(), genuine.tree.digest(), "byte {at}");
            assert_eq!(certified.subnet_id, genuine.subnet_id, "byte {at}");
        }
    }
}

fn hash(value: &Json) -> [u8; 32] {
    let (kind, inner) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "map" => hash_of_fields(inner.as_object().unwrap().iter().map(|(key, value)| (&key[..], hash(value)))),
        "int" => hash_of_int(inner.as_str().unwrap().parse().unwrap()),
        "text" => hash_of_value(&Value::Text(inner.as_str().unwrap())).unwrap(),
        "nat" => hash_of_value(&Value::Unsigned(inner.as_str().unwrap().parse().unwrap())).unwrap(),
        "blob" => hash_of_value(&Value::Bytes(&hex::decode(inner.as_str().unwrap()).unwrap())).unwrap(),
        "array" => {
            let hashes: Vec<u8> = inner.as_array().unwrap().iter().flat_map(hash).collect();
            hash_of_value(&Value::Bytes(&hashes)).unwrap()
        }
        other => panic!("a vector of kind {other}"),
    }
}

#[test]
fn values_hash_alike_in_every_representation() {
    let file = load("request_ids.json");
    assert_eq!(list(&file, "cases").len(), 17);
    for case in list(&file, "cases") {
        assert_eq!(hex::encode(hash(&case["value"])), text(case, "hash"), "{case}");
    }
    for field in list(&file, "fields") {
        let hash = hash_of_value(&Value::Text(text(field, "name"))).unwrap();
        assert_eq!(hex::encode(hash), text(field, "hash_of_name"));
    }
}
