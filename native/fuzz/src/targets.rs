//! The decoders, and what must hold whatever they are given: no panic, and the laws that are asserted here. Time and
//! memory are limited by the drivers.

use std::sync::LazyLock;

use icws_core::candid::{Interface, Types, decode_text, decode_untyped, encode_text};
use icws_core::cbor::{self, Budget};
use icws_core::certificate::{Certificate, Subject, Verifier};
use icws_core::hash_tree::HashTree;
use icws_core::message::{Generation, WebsocketMessage, open_message};
use icws_core::poll::{Queue, open_poll_reply, read_poll_reply_unverified, recall_poll_reply};
use icws_core::public_key::{PublicKey, is_costly};
use icws_core::service::ServiceKind;
use icws_core::{argument, cose, envelope, key_file, query_reply, webauthn};

use crate::corpus;
use crate::parts::split;

/// A target.
pub type Target = fn(&[u8]);

/// All targets by name. Each has a binary of its own in `fuzz_targets/` and a corpus in [`corpus::seeds`].
pub const ALL: [(&str, Target); 13] = [
    ("candid", candid),
    ("candid_text", candid_text),
    ("canister_signature", canister_signature),
    ("cbor", cbor),
    ("certificate", certificate),
    ("envelope", envelope),
    ("first_message", first_message),
    ("hash_tree", hash_tree),
    ("key_file", key_file),
    ("message", message),
    ("poll_reply", poll_reply),
    ("public_key", public_key),
    ("query_reply", query_reply),
];

const GENERATIONS: [Generation; 3] = [Generation::V0, Generation::V1, Generation::V2];

/// One verifier for each root key of the vectors. Of any age, because the vectors are from many years.
static VERIFIERS: LazyLock<Vec<Verifier>> = LazyLock::new(|| {
    let verifier = |root_key: &Vec<u8>| Verifier::new(root_key, u64::MAX, u64::MAX, 64).expect("a root key");
    corpus::root_keys().iter().map(verifier).collect()
});

/// Chosen by the first byte of inputs that need a root key or a generation.
fn chosen<T>(options: &[T], by: u8) -> &T {
    &options[usize::from(by) % options.len()]
}

/// CBOR: whatever is read can be written, and is then read as the same.
pub fn cbor(input: &[u8]) {
    for budget in [Budget::REQUEST, Budget::REPLY, Budget::TREE] {
        if let Ok(value) = cbor::decode("input", input, budget) {
            let written = cbor::encode(&value);
            assert_eq!(cbor::decode("input", &written, budget).as_ref(), Ok(&value));
        }
    }
    if let Ok(Some((value, raw))) = cbor::raw_entry("input", input, "envelope", Budget::REQUEST) {
        assert_eq!(cbor::decode("input", raw, Budget::REQUEST), Ok(value));
    }
}

/// Hash trees: a tree that is read keeps its digest when it is written, and so does every witness of it.
pub fn hash_tree(input: &[u8]) {
    let Ok(tree) = HashTree::from_cbor(input) else { return };
    let again = HashTree::from_cbor(&tree.to_cbor()).expect("what was written is a tree");
    assert_eq!(again.digest(), tree.digest());
    let labels = tree.children(&[]).unwrap_or_default();
    for label in labels.iter().take(8) {
        let path = [*label];
        assert_eq!(tree.witness(&[&path]).digest(), tree.digest());
        let _ = (tree.lookup(&path), tree.find(&path), tree.children(&path));
    }
}

/// Certificates: as for trees; and verification comes to the same the second time, when it is remembered.
pub fn certificate(input: &[u8]) {
    let [head, canister, input] = split(input);
    let verifier = chosen(&VERIFIERS, head.first().copied().unwrap_or(0));
    if let Ok(certificate) = Certificate::decode(input) {
        assert_eq!(
            Certificate::decode(&certificate.encode()).expect("what was written").tree.digest(),
            certificate.tree.digest()
        );
    }
    for subject in [Subject::Canister(canister), Subject::Subnet(canister)] {
        let first = verifier.verify(input, subject, Some(0)).map(|certified| certified.time_ns);
        let again = verifier.verify(input, subject, Some(0)).map(|certified| certified.time_ns);
        assert_eq!(first, again);
        if let Some(recalled) = verifier.recall(input, subject, Some(0)) {
            assert_eq!(recalled.map(|certified| certified.time_ns), first);
        }
    }
}

/// Envelopes of clients and of HTTP bodies: what opens says the same as what is read without verification, and what is
/// cheap opens as it does otherwise.
pub fn envelope(input: &[u8]) {
    let [head, input] = split(input);
    let root = chosen(&VERIFIERS, head.first().copied().unwrap_or(0));
    let read = envelope::read_frame_unverified(input);
    let now_ns = read.as_ref().map_or(0, |request| request.ingress_expiry_ns.saturating_sub(1));
    let opened = envelope::open_frame(input, now_ns, root);
    if let Ok(Some(cheap)) = envelope::open_frame_if_cheap(input, now_ns, root) {
        assert_eq!(opened.as_ref(), Ok(&cheap));
    }
    if let Ok(request) = opened {
        assert_eq!(read, Ok(request.clone()));
        assert!(request.body.get(request.arg).is_some());
    }
    let _ = envelope::open_request(input, now_ns, root);
}

/// The first frame of a client of v0.
pub fn first_message(input: &[u8]) {
    if let Ok(message) = icws_core::first_message::open(input) {
        assert_eq!((message.client_key.len(), message.signature.len()), (32, 64));
    }
}

/// Messages of canisters, as clients receive them and as canisters certify them.
pub fn message(input: &[u8]) {
    let [head, canister, input] = split(input);
    let [root, generation] = [0, 1].map(|at| head.get(at).copied().unwrap_or(0));
    let _ = WebsocketMessage::decode(input, *chosen(&GENERATIONS, generation));
    let _ = open_message(chosen(&VERIFIERS, root), input, canister, *chosen(&GENERATIONS, generation), 0);
}

/// Replies to polls: what opens with proof is what is read without, and what is recalled is what was opened.
pub fn poll_reply(input: &[u8]) {
    let [head, canister, input] = split(input);
    let [root, generation, holes] = [0, 1, 2].map(|at| head.get(at).copied().unwrap_or(0));
    let (verifier, generation) = (chosen(&VERIFIERS, root), *chosen(&GENERATIONS, generation));
    let queue = Queue { gateway: None, allow_holes: holes % 2 == 1 };
    let read = read_poll_reply_unverified(input, generation);
    let opened = open_poll_reply(verifier, input, canister, generation, queue, 0);
    if let Ok(reply) = &opened {
        let count = read.expect("what opens is read without proof").messages.len();
        assert_eq!(reply.messages.len(), count);
        let recalled = recall_poll_reply(verifier, input, canister, generation, queue, 0);
        assert!(recalled.is_none_or(|recalled| recalled == opened));
    }
}

/// Replies to queries, signed by a node.
pub fn query_reply(input: &[u8]) {
    let key = corpus::node_key().public_key().expect("a key");
    let keys = query_reply::NodeKeys::from_iter([(corpus::NODE_ID, key.as_slice())]);
    if let Ok(reply) = query_reply::verify_query_reply(input, &corpus::REQUEST_ID, &keys, 0, u64::MAX) {
        assert_eq!(reply.node_id, corpus::NODE_ID);
    }
}

/// Candid by the types of the message, and by those of the calls of the gateway; the gateway's own reading of calls and
/// service messages.
pub fn candid(input: &[u8]) {
    static TYPES: LazyLock<Vec<Types>> = LazyLock::new(|| {
        let texts = [
            "(nat, int, nat8, int64, float64, text, bool, null, reserved, principal)",
            "(opt record { nonce : nat64; list : vec opt text; data : blob })",
            "(variant { Ok; Err : text }, func () -> () query, service {})",
        ];
        texts.iter().map(|text| Types::parse(text).expect("types")).collect()
    });
    if let Ok(values) = decode_untyped(input) {
        assert!(candid::IDLArgs { args: values }.to_bytes().is_ok());
    }
    let _ = (decode_text(input), ServiceKind::of(input), argument::sequence_num(input));
    for types in TYPES.iter() {
        if let Ok(values) = types.decode(input) {
            let written = types.encode(values).expect("what was decoded by its types");
            types.decode(&written).expect("what was encoded by its types");
        }
    }
}

/// Candid in text: types, interfaces and values.
pub fn candid_text(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(types) = Types::parse(text) {
        let _ = (types.sample(), types.to_text());
    }
    if let Ok(interface) = Interface::parse(text) {
        for method in &interface.methods {
            let _ = method.arguments.sample();
        }
    }
    if let Ok(data) = encode_text(text) {
        let _ = decode_text(&data);
    }
}

/// Keys of senders in DER and COSE, with signatures.
pub fn public_key(input: &[u8]) {
    let [key, signature, message] = split(input);
    let _ = is_costly(key);
    if let Ok(key) = PublicKey::from_der(key) {
        let _ = key.verify(signature, message, VERIFIERS.first());
    }
    if let Ok(key) = cose::CoseKey::parse(key) {
        let _ = (key.verify(signature, message), webauthn::verify(&key, signature, message));
    }
}

/// Signatures of canisters.
pub fn canister_signature(input: &[u8]) {
    let [head, key, payload, signature] = split(input);
    if let Ok(key) = PublicKey::from_der(key) {
        let _ = key.verify(signature, payload, Some(chosen(&VERIFIERS, head.first().copied().unwrap_or(0))));
    }
}

/// Files of private keys: a key that is read signs, and what it is written as is read as the same key.
pub fn key_file(input: &[u8]) {
    for key in [key_file::from_pem(input), key_file::from_der(input)].into_iter().flatten() {
        let written = key.to_pkcs8().expect("a key is written");
        let again = key_file::from_der(&written).expect("what was written");
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(again.sign(b"message").len(), 64);
    }
}
