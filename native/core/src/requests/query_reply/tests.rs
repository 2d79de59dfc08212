use super::*;
use crate::encoding::cbor::map;
use crate::signatures::signing_key::{Scheme, SigningKey};

const NOW: u64 = 1_700_000_000_000_000_000;
const REQUEST: [u8; 32] = [7; 32];
const MAX_AGE: u64 = 5_000_000_000;

fn node(seed: u8) -> SigningKey {
    SigningKey::from_secret(Scheme::Ed25519, &[seed; 32]).unwrap()
}

fn node_id(seed: u8) -> Vec<u8> {
    principal::self_authenticating(&node(seed).public_key().unwrap())
}

fn keys(seeds: &[u8]) -> NodeKeys {
    seeds.iter().map(|seed| (&*node_id(*seed).leak(), public_key(*seed))).collect()
}

fn public_key(seed: u8) -> &'static [u8] {
    node(seed).public_key().unwrap().leak()
}

fn replied() -> Vec<(&'static str, Value<'static>)> {
    vec![("status", Value::Text("replied")), ("reply", map(vec![("arg", Value::Bytes(b"DIDL\0\0"))]))]
}

fn rejected() -> Vec<(&'static str, Value<'static>)> {
    vec![
        ("status", Value::Text("rejected")),
        ("reject_code", Value::Unsigned(5)),
        ("reject_message", Value::Text("trap")),
        ("error_code", Value::Text("IC0503")),
    ]
}

/// The signature as the specification has it: over the map of all fields, the time and the request id.
fn sign(seed: u8, fields: &[(&'static str, Value<'static>)], timestamp_ns: u64) -> Vec<u8> {
    let mut fields = fields.to_vec();
    fields.push(("timestamp", Value::Unsigned(timestamp_ns)));
    fields.push(("request_id", Value::Bytes(&REQUEST)));
    node(seed).sign(&[SEPARATOR, &hash_of_map(&map(fields)).unwrap()].concat()).to_vec()
}

fn body(fields: &[(&'static str, Value<'static>)], signers: &[(u8, u64)]) -> Vec<u8> {
    let signed: Vec<_> = signers.iter().map(|(seed, at)| (*at, sign(*seed, fields, *at), node_id(*seed))).collect();
    let entry = |(at, signature, id): &'_ (u64, Vec<u8>, Vec<u8>)| {
        let fields = vec![
            ("timestamp", Value::Unsigned(*at)),
            ("signature", Value::Bytes(signature.clone().leak())),
            ("identity", Value::Bytes(id.clone().leak())),
        ];
        map(fields)
    };
    let mut fields = fields.to_vec();
    fields.push(("signatures", Value::Array(signed.iter().map(entry).collect())));
    [&cbor::SELF_DESCRIBED[..], &cbor::encode(&map(fields))].concat()
}

fn verify(body: &[u8]) -> Result<QueryReply> {
    verify_query_reply(body, &REQUEST, &keys(&[1, 2]), NOW, MAX_AGE)
}

#[test]
fn what_a_node_signed_is_returned() {
    let reply = verify(&body(&replied(), &[(1, NOW)])).unwrap();
    assert_eq!(reply.outcome, Outcome::Replied(b"DIDL\0\0".to_vec()));
    assert_eq!((reply.signed_at_ns, reply.node_id), (NOW, node_id(1)));
    let outcome = |error_code: Option<&str>| Outcome::Rejected {
        code: 5,
        message: "trap".into(),
        error_code: error_code.map(str::to_owned),
    };
    assert_eq!(verify(&body(&rejected(), &[(2, NOW)])).unwrap().outcome, outcome(Some("IC0503")));
    assert_eq!(verify(&body(&rejected()[..3], &[(2, NOW)])).unwrap().outcome, outcome(None));
    let mut null = rejected();
    null[3].1 = Value::Null;
    assert_eq!(verify(&body(&null, &[(2, NOW)])).unwrap().outcome, outcome(None));
}

#[test]
fn every_signature_counts_and_the_oldest_is_the_time() {
    let reply = verify(&body(&replied(), &[(2, NOW), (1, NOW - 3)])).unwrap();
    assert_eq!((reply.signed_at_ns, reply.node_id), (NOW - 3, node_id(1)));
    let unknown = verify(&body(&replied(), &[(1, NOW), (3, NOW)])).unwrap_err();
    assert_eq!(unknown, Error::QuerySignatureUnknownNode(principal::to_text(&node_id(3))));
    let many = verify(&body(&replied(), &[(1, NOW), (2, NOW), (1, NOW)]));
    assert!(matches!(many, Err(Error::TooLarge { unit: "signatures", size: 3, limit: 2, .. })));
}

#[test]
fn nobody_signed() {
    assert_eq!(verify(&body(&replied(), &[])).unwrap_err(), Error::QuerySignatureMissing);
    assert_eq!(verify(&cbor::encode(&map(replied()))).unwrap_err(), Error::QuerySignatureMissing);
    let unsigned = body(&replied(), &[(1, NOW)]);
    let no_nodes = verify_query_reply(&unsigned, &REQUEST, &NodeKeys::default(), NOW, MAX_AGE);
    assert!(matches!(no_nodes, Err(Error::QuerySignatureUnknownNode(_))));
}

#[test]
fn a_signature_is_of_seconds_ago_at_most_and_not_of_the_future() {
    for signed_at_ns in [NOW - MAX_AGE, NOW + MAX_AGE] {
        assert!(verify(&body(&replied(), &[(1, signed_at_ns)])).is_ok());
    }
    for signed_at_ns in [0, NOW - MAX_AGE - 1, NOW + MAX_AGE + 1, u64::MAX] {
        let error = verify(&body(&replied(), &[(1, signed_at_ns)])).unwrap_err();
        assert_eq!(error, Error::QuerySignatureStale { signed_at_ns, now_ns: NOW, limit_ns: MAX_AGE });
    }
}

#[test]
fn a_signature_is_for_one_request_by_one_key() {
    let body = body(&replied(), &[(1, NOW)]);
    let invalid = |result| matches!(result, Err(Error::QuerySignatureInvalid { .. }));
    assert!(invalid(verify_query_reply(&body, &[8; 32], &keys(&[1]), NOW, MAX_AGE)));
    let id = node_id(1);
    let swapped = NodeKeys::from_iter([(&*id, public_key(2))]);
    assert!(invalid(verify_query_reply(&body, &REQUEST, &swapped, NOW, MAX_AGE)));
    let other = SigningKey::from_secret(Scheme::Secp256k1, &[1; 32]).unwrap().public_key().unwrap();
    for key in [&other[..], b"no key"] {
        assert!(invalid(verify_query_reply(&body, &REQUEST, &NodeKeys::from_iter([(&*id, key)]), NOW, MAX_AGE)));
    }
}

#[test]
fn every_byte_counts() {
    for fields in [replied(), rejected()] {
        let good = body(&fields, &[(1, NOW)]);
        assert!(verify(&good).is_ok());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(verify(&bad).is_err(), "byte {at}");
        }
    }
}

#[test]
fn what_is_no_reply_is_malformed() {
    for at in 0..3 {
        let mut fields = rejected();
        fields.remove(at);
        assert!(matches!(verify(&cbor::encode(&map(fields))), Err(Error::Malformed { .. })));
    }
    for body in [&b""[..], b"\xa0", b"\x80", b"\xa1\x66status\x67replied", b"\xa1\x66status\x65moved"] {
        assert!(matches!(verify(body), Err(Error::Malformed { .. })), "{body:?}");
    }
    let big = vec![0; MAX_REPLY + 1];
    assert!(matches!(verify(&big), Err(Error::TooLarge { unit: "bytes", .. })));
}
