//! Signature schemes against published vectors.

use icws_core::Error;
use icws_core::certificate::Verifier;
use icws_core::cose::CoseKey;
use icws_core::public_key::PublicKey;

mod vectors;
use vectors::{bytes, list, load, text};

fn verify(key: &[u8], signature: &[u8], message: &[u8]) -> icws_core::Result<()> {
    PublicKey::from_der(key)?.verify(signature, message, None)
}

#[test]
fn ed25519_is_that_of_zip_215() {
    let file = load("signatures/ed25519.json");
    let verdicts: String = list(&file, "cases")
        .iter()
        .map(|case| {
            let key = [&hex::decode("302a300506032b6570032100").unwrap()[..], &bytes(case, "public_key")].concat();
            let verdict = verify(&key, &bytes(case, "signature"), &bytes(case, "message"));
            assert_eq!(verdict.is_ok(), case["valid"].as_bool().unwrap(), "{case}");
            if verdict.is_ok() { 'V' } else { 'X' }
        })
        .collect();
    assert_eq!(verdicts, "VVVVVVXXXVVV");
}

/// Wycheproof judges by RFC 8032, the IC by ZIP-215. They differ in one case: R encodes y = 1 with the sign bit of an x
/// that is zero. RFC 8032 refuses to decode that, ZIP-215 must accept it, and so does the replica's `ic-ed25519`, which
/// decompresses such points as they are.
const ACCEPTED_BY_ZIP_215: (&str, u64) = ("ed25519", 151);

#[test]
fn wycheproof_over_keys_in_der() {
    for (name, count) in [("ed25519", 151), ("p256", 262)] {
        let file = load(&format!("signatures/wycheproof_{name}.json"));
        let mut seen = 0;
        for signer in list(&file, "keys") {
            let key = bytes(signer, "public_key_der");
            for case in list(signer, "cases") {
                let verdict = verify(&key, &bytes(case, "signature"), &bytes(case, "message"));
                let differs = (name, case["id"].as_u64().unwrap()) == ACCEPTED_BY_ZIP_215;
                let expected = case["valid"].as_bool().unwrap() || differs;
                assert_eq!(verdict.is_ok(), expected, "{name} {case}: {verdict:?}");
                seen += 1;
            }
        }
        assert_eq!(seen, count);
    }
}

/// The DER signatures of authenticators.
#[test]
fn wycheproof_over_cose_keys() {
    let file = load("signatures/wycheproof_p256_der.json");
    let mut seen = 0;
    for signer in list(&file, "keys") {
        let der = bytes(signer, "public_key_der");
        let (x, y) = der[der.len() - 64..].split_at(32);
        let head = hex::decode("a5010203262001215820").unwrap();
        let cose = [&head[..], x, &[0x22, 0x58, 0x20], y].concat();
        let key = CoseKey::parse(&cose).unwrap();
        for case in list(signer, "cases") {
            let verdict = key.verify(&bytes(case, "signature"), &bytes(case, "message"));
            assert_eq!(verdict.is_ok(), case["valid"].as_bool().unwrap(), "{case}: {verdict:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 484);
}

#[test]
fn keys_of_authenticators() {
    let file = load("signatures/webauthn.json");
    for case in list(&file, "cose_keys") {
        let key = CoseKey::parse(&bytes(case, "cose"));
        match text(case, "verdict") {
            "reject" => assert!(matches!(key, Err(Error::KeyUnusable(_))), "{case}"),
            "parses" => assert!(key.is_ok(), "{case}"),
            "valid" => {
                let (key, signature, mut message) = (key.unwrap(), bytes(case, "signature"), bytes(case, "message"));
                key.verify(&signature, &message).unwrap();
                message[0] ^= 1;
                assert!(key.verify(&signature, &message).is_err());
            }
            verdict => panic!("unknown verdict {verdict}"),
        }
    }
}

#[test]
fn signatures_of_canisters() {
    let file = load("signatures/canister.json");
    for case in list(&file, "cases") {
        let root = Verifier::new(&bytes(case, "root_key_der"), 0, 0, 16).unwrap();
        let key = PublicKey::from_der(&bytes(case, "public_key_der")).unwrap();
        let (signature, payload) = (bytes(case, "signature"), bytes(case, "payload"));
        // The second time the certificate comes from the cache.
        for _ in 0..2 {
            let verdict = key.verify(&signature, &payload, Some(&root));
            let clue = match text(case, "verdict") {
                "valid" => {
                    assert_eq!(verdict, Ok(()), "{case}");
                    continue;
                }
                "path_absent" => "the tree has no sig/",
                "path_unknown" => "the tree neither shows sig/",
                "certificate_not_authorized" => "may not certify for",
                // The tree shows another canister only, so it tells nothing about this one's data.
                "certified_data_mismatch" => "the tree neither shows canister/",
                "no_self_describe_tag" => "self-describing tag",
                "certificate_bad_delegation_signature" | "certificate_bad_signature" => "its certificate is not valid",
                verdict => panic!("unknown verdict {verdict}"),
            };
            match verdict {
                Err(Error::SignatureInvalid(problem)) => assert!(problem.contains(clue), "{problem}"),
                other => panic!("{case}: {other:?}"),
            }
        }
        assert!(matches!(key.verify(&signature, &payload, None), Err(Error::KeyUnusable(_))));
    }
}
