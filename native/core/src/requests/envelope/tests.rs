use super::*;
use crate::certification::bls::SecretKey;
use crate::requests::content::{Method, SenderInfo};
use crate::signatures::signing_key::{Scheme, SigningKey};

mod chains;
mod sender_info;

const NOW: u64 = 1_700_000_000_000_000_000;
const CANISTER: &[u8] = &[1, 2, 3];

fn key(seed: u8) -> SigningKey {
    SigningKey::from_secret(Scheme::Ed25519, &[seed; 32]).unwrap()
}

fn public(seed: u8) -> Vec<u8> {
    key(seed).public_key().unwrap()
}

fn root() -> Verifier {
    let root_key = SecretKey::from_seed(&[1; 32]).unwrap().public_key().to_der();
    Verifier::new(&root_key, 0, 0, 16).unwrap()
}

fn call() -> Operation<'static> {
    Operation::Call(Method { canister_id: CANISTER, name: "ws_message", arg: b"DIDL" })
}

/// A delegation as it will be signed: to whom, until when, targets, permissions.
#[derive(Clone)]
struct Link {
    to: u8,
    expiration_ns: u64,
    targets: Option<Vec<Vec<u8>>>,
    permissions: Option<&'static str>,
}

fn to(seed: u8) -> Link {
    Link { to: seed, expiration_ns: NOW, targets: None, permissions: None }
}

impl Link {
    fn targets(self, targets: &[&[u8]]) -> Self {
        Self { targets: Some(targets.iter().map(|id| id.to_vec()).collect()), ..self }
    }

    /// The CBOR of the signed delegation.
    fn sign(&self, by: u8) -> Vec<u8> {
        let to = public(self.to);
        let mut fields = vec![("pubkey", Value::Bytes(&to)), ("expiration", Value::Unsigned(self.expiration_ns))];
        if let Some(targets) = &self.targets {
            fields.push(("targets", Value::Array(targets.iter().map(|id| Value::Bytes(id)).collect())));
        }
        fields.extend(self.permissions.map(|permissions| ("permissions", Value::Text(permissions))));
        let delegation = map(fields);
        let hash = request_id::hash_of_map(&delegation).unwrap();
        let signature = key(by).sign(&[crate::requests::delegation::SEPARATOR, &hash].concat());
        cbor::encode(&map(vec![("delegation", delegation), ("signature", Value::Bytes(&signature))]))
    }
}

/// A request of key 1, through the links, with what may be changed about it.
struct Draft {
    operation: Operation<'static>,
    expiry_ns: u64,
    nonce: Vec<u8>,
    links: Vec<Link>,
}

fn draft(operation: Operation<'static>) -> Draft {
    Draft { operation, expiry_ns: NOW + 1, nonce: vec![9; 16], links: Vec::new() }
}

impl Draft {
    fn body(&self) -> Vec<u8> {
        let sender = principal::self_authenticating(&public(1));
        let content = Content {
            operation: self.operation.clone(),
            sender: &sender,
            ingress_expiry_ns: self.expiry_ns,
            nonce: Some(&self.nonce),
            sender_info: None,
        };
        let (content, id) = content.encode().unwrap();
        let mut signer = 1;
        let mut links = Vec::new();
        for link in &self.links {
            links.push(link.sign(signer));
            signer = link.to;
        }
        let signature = key(signer).sign(&[SEPARATOR, &id].concat());
        let content = cbor::decode("content", &content, Budget::REQUEST).unwrap();
        let public = public(1);
        let mut fields = vec![("content", content), ("sender_pubkey", Value::Bytes(&public))];
        if !links.is_empty() {
            let decode = |link| cbor::decode("link", link, Budget::REQUEST).unwrap();
            fields.push(("sender_delegation", Value::Array(links.iter().map(|link| decode(link)).collect())));
        }
        fields.push(("sender_sig", Value::Bytes(&signature)));
        [&cbor::SELF_DESCRIBED[..], &cbor::encode(&map(fields))].concat()
    }

    fn open(&self) -> Result<Request> {
        open_request(&self.body(), NOW, &root())
    }
}

fn frame(body: &[u8]) -> Vec<u8> {
    let mut frame = b"\xd9\xd9\xf7\xa1\x68envelope".to_vec();
    frame.extend_from_slice(&body[3..]);
    frame
}

fn chain(links: &[Link]) -> Draft {
    Draft { links: links.to_vec(), ..draft(call()) }
}

#[test]
fn what_is_signed_opens() {
    let body = draft(call()).body();
    let request = open_request(&body, NOW, &root()).unwrap();
    let arg = &request.body[request.arg.clone()];
    assert_eq!((request.request_type, &*request.method_name, arg), ("call", "ws_message", &b"DIDL"[..]));
    assert_eq!((request.canister_id, request.targets), (CANISTER.to_vec(), None));
    assert_eq!(request.body, body);
    assert_eq!(open_request(&body[3..], NOW, &root()).unwrap().body, body, "the tag is optional");
    let framed = open_frame(&frame(&body), NOW, &root()).unwrap();
    assert_eq!((&framed.body, framed.request_id), (&body, request.request_id));
    assert_eq!(read_frame_unverified(&frame(&body)), Ok(framed));
}

/// Costly: a delegation that was never verified, or a last key that is not on a curve. What is refused is refused at once.
#[test]
fn only_what_costs_one_ordinary_signature_is_verified_if_cheap() {
    let root = root();
    let plain = frame(&draft(call()).body());
    assert_eq!(open_frame_if_cheap(&plain, NOW, &root), open_frame(&plain, NOW, &root).map(Some));
    let delegated = frame(&chain(&[to(2), to(3)]).body());
    assert_eq!(open_frame_if_cheap(&delegated, NOW, &root), Ok(None));
    let opened = open_frame(&delegated, NOW, &root);
    assert_eq!(open_frame_if_cheap(&delegated, NOW, &root), opened.map(Some), "its links are known now");
    let longer = frame(&chain(&[to(2), to(3), to(4)]).body());
    assert_eq!(open_frame_if_cheap(&longer, NOW, &root), Ok(None), "its last is not");
    let late = frame(&chain(&[to(5)]).body());
    let refused = open_frame_if_cheap(&late, NOW + 2, &root);
    assert!(matches!(refused, Err(Error::EnvelopeExpired { .. } | Error::DelegationExpired(_))), "{refused:?}");
}

/// Agents order fields in their own way and may add what nobody here knows.
#[test]
fn the_body_is_the_senders_own_bytes() {
    let body = draft(call()).body();
    let Value::Map(mut fields) = cbor::decode("envelope", &body, Budget::REQUEST).unwrap() else { unreachable!() };
    fields.push((Value::Text("future"), Value::Bool(true)));
    fields.reverse();
    let raw = cbor::encode(&Value::Map(fields));
    let frame = [&b"\xbf\x61x\x01\x68envelope"[..], &raw, &[0xff]].concat();
    let request = open_frame(&frame, NOW, &root()).unwrap();
    assert_eq!(request.body, [&cbor::SELF_DESCRIBED[..], &raw].concat());
}

#[test]
fn every_byte_counts() {
    let (body, root) = (chain(&[to(2).targets(&[CANISTER])]).body(), root());
    let request = open_request(&body, NOW, &root).unwrap();
    for at in 0..body.len() {
        let mut forged = body.clone();
        forged[at] ^= 1 << (at % 8);
        let verdict = open_request(&forged, NOW, &root);
        assert!(verdict.is_err(), "byte {at}: {verdict:?}");
    }
    assert_eq!(open_request(&body, NOW, &root), Ok(request));
}

#[test]
fn only_calls_of_somebody_are_relayed() {
    let query = Operation::Query(Method { canister_id: CANISTER, name: "get", arg: b"DIDL" });
    for operation in [query, Operation::ReadState(vec![vec![b"time"]])] {
        let body = draft(operation).body();
        assert!(open_request(&body, NOW, &root()).is_ok());
        for verdict in [open_frame(&frame(&body), NOW, &root()), read_frame_unverified(&frame(&body))] {
            assert!(matches!(verdict, Err(Error::Malformed { what: "envelope", .. })));
        }
    }
    let body = anonymous(call(), NOW, &[]);
    assert!(open_request(&body, NOW, &root()).is_ok());
    let verdict = open_frame(&frame(&body), NOW, &root());
    assert!(matches!(verdict, Err(Error::Malformed { problem, .. }) if problem.contains("anonymous")));
}

#[test]
fn the_expiry_is_near() {
    for (ahead, fine) in [(-1, false), (0, true), (330_000_000_000, true), (330_000_000_001, false)] {
        let expiry_ns = NOW.checked_add_signed(ahead).unwrap();
        let verdict = Draft { expiry_ns, ..draft(call()) }.open();
        match verdict {
            Ok(_) => assert!(fine, "{ahead}"),
            Err(Error::EnvelopeExpired { .. }) => assert!(ahead < 0),
            Err(Error::EnvelopeTooFarAhead { limit_ns, .. }) => assert!(!fine && limit_ns == MAX_INGRESS_TTL_NS),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_nonce_is_bounded() {
    assert!(Draft { nonce: vec![0; 32], ..draft(call()) }.open().is_ok());
    let verdict = Draft { nonce: vec![0; 33], ..draft(call()) }.open();
    assert_eq!(verdict, Err(Error::TooLarge { what: "nonce", size: 33, limit: 32, unit: "bytes" }));
}

fn anonymous(operation: Operation<'_>, expiry_ns: u64, extra: &[(&str, Value<'_>)]) -> Vec<u8> {
    let content = Content {
        operation,
        sender: &principal::ANONYMOUS,
        ingress_expiry_ns: expiry_ns,
        nonce: None,
        sender_info: None,
    };
    let content = content.encode().unwrap().0;
    let content = cbor::decode("content", &content, Budget::REQUEST).unwrap();
    let fields = [&[("content", content)], extra].concat();
    [&cbor::SELF_DESCRIBED[..], &cbor::encode(&map(fields))].concat()
}

#[test]
fn anonymous_requests_carry_no_signature() {
    for extra in [
        ("sender_pubkey", Value::Bytes(b"")),
        ("sender_sig", Value::Bytes(b"")),
        ("sender_delegation", Value::Array(vec![])),
    ] {
        let verdict = open_request(&anonymous(call(), NOW, &[extra]), NOW, &root());
        assert!(matches!(verdict, Err(Error::SignatureInvalid(_))));
    }
    let sender_info = Some(SenderInfo { info: b"", signer: b"", signature: b"" });
    let content =
        Content { operation: call(), sender: &principal::ANONYMOUS, ingress_expiry_ns: NOW, nonce: None, sender_info };
    let body = encode(&content.encode().unwrap().0, None, None, &[]);
    assert!(matches!(open_request(&body, NOW, &root()), Err(Error::SignatureInvalid(_))));
}

#[test]
fn anonymous_reads_have_no_expiry() {
    let read = Operation::ReadState(vec![]);
    assert!(open_request(&anonymous(read, 0, &[]), NOW, &root()).is_ok());
    let verdict = open_request(&anonymous(call(), 0, &[]), NOW, &root());
    assert!(matches!(verdict, Err(Error::EnvelopeExpired { .. })));
    let expired = Draft { expiry_ns: 0, ..draft(Operation::ReadState(vec![])) };
    assert!(matches!(expired.open(), Err(Error::EnvelopeExpired { .. })), "signed ones have one");
}

/// The fields of an envelope of key 1, to be changed.
fn fields(body: &[u8]) -> Vec<(Value<'_>, Value<'_>)> {
    match cbor::decode("envelope", body, Budget::REQUEST).unwrap() {
        Value::Map(fields) => fields,
        _ => unreachable!(),
    }
}

fn with(body: &[u8], name: &str, value: Option<Value<'_>>) -> Result<Request> {
    let mut fields = fields(body);
    fields.retain(|(key, _)| *key != Value::Text(name));
    fields.extend(value.map(|value| (Value::Text(name), value)));
    open_request(&cbor::encode(&Value::Map(fields)), NOW, &root())
}

/// Adds a field that is null to a map.
fn with_null<'a>(value: &Value<'a>, name: &'a str) -> Value<'a> {
    let Value::Map(mut fields) = value.clone() else { unreachable!() };
    fields.push((Value::Text(name), Value::Null));
    Value::Map(fields)
}

#[test]
fn optional_fields_that_are_null_are_absent() {
    let body = draft(call()).body();
    let request = open_request(&body, NOW, &root()).unwrap();
    let content = fields(&body).swap_remove(0).1;
    for opened in [
        with(&body, "content", Some(with_null(&content, "sender_info"))),
        with(&body, "sender_delegation", Some(Value::Null)),
    ] {
        let opened = opened.unwrap();
        assert_eq!(opened.body[opened.arg.clone()], request.body[request.arg.clone()]);
        assert_eq!(Request { body: body.clone(), arg: request.arg.clone(), ..opened }, request);
    }
    for name in ["sender_pubkey", "sender_sig"] {
        let verdict = with(&body, name, Some(Value::Null));
        assert!(matches!(verdict, Err(Error::SignatureInvalid(problem)) if problem.contains("missing")));
    }
}

#[test]
fn limits_of_a_delegation_that_are_null_are_none() {
    let body = chain(&[to(2)]).body();
    let all = fields(&body);
    let (_, Value::Array(links)) = &all[2] else { unreachable!() };
    let (link, signature) = (links[0].get("delegation").unwrap(), links[0].get("signature").unwrap());
    for name in ["targets", "permissions"] {
        let link = map(vec![("delegation", with_null(link, name)), ("signature", signature.clone())]);
        let request = with(&body, "sender_delegation", Some(Value::Array(vec![link]))).unwrap();
        assert_eq!(request.targets, None);
    }
}

#[test]
fn signers_show_key_and_signature() {
    let body = draft(call()).body();
    for name in ["sender_pubkey", "sender_sig"] {
        let verdict = with(&body, name, None);
        assert!(matches!(verdict, Err(Error::SignatureInvalid(problem)) if problem.contains(name)));
        let verdict = with(&body, name, Some(Value::Text("x")));
        assert!(matches!(verdict, Err(Error::Malformed { problem, .. }) if problem.contains(name)));
    }
    assert!(matches!(with(&body, "content", None), Err(Error::Malformed { .. })));
    assert!(with(&body, "sender_delegation", Some(Value::Array(vec![]))).is_ok(), "an empty chain is none");
    let other = public(2);
    let verdict = with(&body, "sender_pubkey", Some(Value::Bytes(&other)));
    assert!(matches!(verdict, Err(Error::SenderMismatch { sender, key_principal }) if sender != key_principal));
    let verdict = with(&body, "sender_sig", Some(Value::Bytes(&[1; 64])));
    assert!(matches!(verdict, Err(Error::SignatureInvalid(problem)) if problem.starts_with("request: ")));
}

/// A sender may be named by any bytes; they are a key only when they are to verify something.
#[test]
fn a_key_that_is_none_is_unusable() {
    let junk = b"junk";
    let sender = principal::self_authenticating(junk);
    let content =
        Content { operation: call(), sender: &sender, ingress_expiry_ns: NOW, nonce: None, sender_info: None };
    let body = encode(&content.encode().unwrap().0, Some(junk), Some(&[0; 64]), &[]);
    assert!(matches!(open_request(&body, NOW, &root()), Err(Error::KeyUnusable(_))));
}

/// The first problem is reported: a client with a wrong clock must read about its clock.
#[test]
fn checks_are_in_the_order_of_the_replica() {
    let mut bad = Draft { expiry_ns: NOW - 1, nonce: vec![0; 33], ..draft(call()) };
    bad.links = vec![Link { expiration_ns: 0, ..to(1) }.targets(&vec![&[9][..]; 1001])];
    assert!(matches!(bad.open(), Err(Error::EnvelopeExpired { .. })));
    bad.expiry_ns = NOW;
    assert!(matches!(bad.open(), Err(Error::TooLarge { what: "nonce", .. })));
    bad.nonce.clear();
    assert!(matches!(bad.open(), Err(Error::DelegationExpired(_))));
    bad.links[0].expiration_ns = NOW;
    assert!(matches!(bad.open(), Err(Error::DelegationInvalid(problem)) if problem.contains("goes back")));
    bad.links[0].to = 2;
    assert!(matches!(bad.open(), Err(Error::DelegationInvalid(problem)) if problem.contains("1001 targets")));
    bad.links[0].targets = Some(vec![vec![9]]);
    assert!(matches!(bad.open(), Err(Error::CanisterNotTargeted(_))));
}

#[test]
fn what_is_encoded_opens() {
    let sender = principal::self_authenticating(&public(1));
    let content =
        Content { operation: call(), sender: &sender, ingress_expiry_ns: NOW, nonce: None, sender_info: None };
    let (content, id) = content.encode().unwrap();
    let to_2 = public(2);
    let mut link =
        SignedDelegation { public_key: &to_2, expiration_ns: NOW, targets: Some(vec![CANISTER]), signature: &[] };
    let delegation = link.to_value().get("delegation").map(request_id::hash_of_map).unwrap().unwrap();
    let signature = key(1).sign(&[crate::requests::delegation::SEPARATOR, &delegation].concat());
    link.signature = &signature;
    let body = encode(&content, Some(&public(1)), Some(&key(2).sign(&[SEPARATOR, &id].concat())), &[link]);
    let request = open_request(&body, NOW, &root()).unwrap();
    assert_eq!((request.request_id, request.targets), (id, Some(vec![CANISTER.to_vec()])));
}

#[test]
fn sizes_are_bounded() {
    let long = vec![0; MAX_ENVELOPE + 1];
    assert!(matches!(open_request(&long, NOW, &root()), Err(Error::TooLarge { what: "envelope", .. })));
    assert!(matches!(open_frame(&long, NOW, &root()), Err(Error::TooLarge { what: "frame", .. })));
    assert!(matches!(open_request(&long[1..], NOW, &root()), Err(Error::Malformed { .. })));
    assert!(matches!(open_frame(&long[1..], NOW, &root()), Err(Error::Malformed { .. })));
    let deep = [vec![0x81; 100_000], vec![0]].concat();
    assert!(matches!(open_request(&deep, NOW, &root()), Err(Error::Malformed { .. })));
    assert!(matches!(open_frame(&[0xa0], NOW, &root()), Err(Error::Malformed { what: "frame", .. })));
}
