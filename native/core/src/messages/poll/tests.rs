use ::candid::Encode;

use super::*;
use crate::certification::bls::SecretKey;
use crate::certification::certificate::{Certificate, root_message};
use crate::certification::hash_tree::HashTree;
use crate::certification::state_tree::StateTree;
use crate::encoding::request_id::sha256;
use crate::messages::message::open_message;

const CANISTER: &[u8] = &[0x80, 0, 0, 0, 0, 0x10, 0, 1, 1, 1];
const GATEWAY: &str = "2vxsx-fae";
const NOW_NS: u64 = 1_700_000_000_000_000_000;

fn secret() -> SecretKey {
    SecretKey::from_seed(&[7; 32]).unwrap()
}

fn verifier() -> Verifier {
    Verifier::new(&secret().public_key().to_der(), 1, 1, 16).unwrap()
}

fn key_text(nonce: u64) -> String {
    format!("{GATEWAY}_{nonce:020}")
}

/// What the canister certifies: the messages and something that is not a gateway's business.
fn canister_tree(messages: &[(String, Vec<u8>)]) -> HashTree {
    let mut tree = StateTree::default();
    tree.set(&[b"http_assets", b"/".as_slice()], b"page").unwrap();
    for (key, content) in messages {
        tree.set(&[b"websocket", key.as_bytes()], &sha256(content)).unwrap();
    }
    tree.tree().clone()
}

fn certificate(certified_data: &[u8]) -> Vec<u8> {
    let mut state = StateTree::default();
    state.set(&[b"canister", CANISTER, b"certified_data"], certified_data).unwrap();
    let time = [0x80, 0x80, 0xa8, 0xb1, 0xe3, 0x9f, 0xe7, 0xcb, 0x17]; // LEB128 of NOW_NS
    state.set(&[b"time"], &time).unwrap();
    let tree = state.tree().clone();
    let signature = secret().sign(&root_message(tree.digest())).to_vec();
    Certificate { tree, signature, delegation: None }.encode()
}

fn content(number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    cbor::write_head(&mut out, 5, 5);
    cbor::write_text(&mut out, "client_key");
    cbor::write_head(&mut out, 5, 2);
    cbor::write_text(&mut out, "client_principal");
    cbor::write_bytes(&mut out, &[4]);
    cbor::write_text(&mut out, "client_nonce");
    cbor::write_head(&mut out, 0, 9);
    for (name, value) in [("sequence_num", number), ("timestamp", NOW_NS)] {
        cbor::write_text(&mut out, name);
        cbor::write_head(&mut out, 0, value);
    }
    cbor::write_text(&mut out, "is_service_message");
    out.push(0xf4);
    cbor::write_text(&mut out, "content");
    cbor::write_bytes(&mut out, b"hello");
    out
}

fn messages(nonces: &[u64]) -> Vec<(String, Vec<u8>)> {
    nonces.iter().map(|nonce| (key_text(*nonce), content(*nonce))).collect()
}

fn reply(messages: &[(String, Vec<u8>)]) -> Vec<u8> {
    let tree = canister_tree(messages);
    encode(messages, certificate(tree.digest()), tree.to_cbor())
}

fn encode(messages: &[(String, Vec<u8>)], cert: Vec<u8>, tree: Vec<u8>) -> Vec<u8> {
    let message = |(key, content): &'_ (String, Vec<u8>)| (key.clone(), content.clone());
    let owned: Vec<_> = messages.iter().map(message).collect();
    let entry = |(key, content): &'static (String, Vec<u8>)| Message {
        client_key: ClientKey { client_principal: Principal::anonymous(), client_nonce: 9 },
        key,
        content: content.clone(),
    };
    let messages = owned.leak().iter().map(entry).collect();
    let answer: Answer<Messages<'_>> = Ok(Messages { messages, cert, tree, is_end_of_queue: Some(false) });
    Encode!(&answer).unwrap()
}

fn open(reply: &[u8]) -> Result<PollReply> {
    open_poll_reply(&verifier(), reply, CANISTER, Generation::V2, NOW_NS)
}

#[test]
fn each_frame_proves_its_own_message_only() {
    let sent = messages(&[3, 4, 5, 6, 7]);
    let opened = open(&reply(&sent)).unwrap();
    assert_eq!(opened.messages.iter().map(|message| message.nonce).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    assert_eq!((opened.is_end_of_queue, opened.time_ns), (false, Some(NOW_NS)));
    for (message, (key, _)) in opened.messages.iter().zip(&sent) {
        assert_eq!(&message.frame[..2], [0x82, 126]);
        let payload = &message.frame[4..];
        let received = open_message(&verifier(), payload, CANISTER, Generation::V2, NOW_NS).unwrap();
        assert_eq!(
            (&received.key, &received.client_key, &*received.content),
            (key, &message.client_key, &b"hello"[..])
        );
        assert_eq!((received.sequence_num, received.certified_at_ns), (message.nonce, NOW_NS));
        for (other, _) in sent.iter().filter(|(other, _)| other != key) {
            assert!(!payload.windows(other.len()).any(|window| window == other.as_bytes()));
        }
        assert!(!payload.windows(4).any(|window| window == b"page"));
    }
}

#[test]
fn the_payload_has_the_order_and_the_tags_that_clients_know() {
    let opened = open(&reply(&messages(&[0]))).unwrap();
    let value = cbor::decode("payload", &opened.messages[0].frame[4..], cbor::Budget::REPLY).unwrap();
    let cbor::Value::Map(entries) = &value else { panic!("{value:?}") };
    let names: Vec<_> = entries.iter().map(|(name, _)| name.as_text().unwrap()).collect();
    assert_eq!(names, ["key", "content", "cert", "tree"]);
    assert_eq!(opened.messages[0].frame[4], 0xa4);
    assert!(value.get("tree").unwrap().as_bytes().unwrap().starts_with(&cbor::SELF_DESCRIBED));
}

#[test]
fn an_empty_reply_needs_no_proof() {
    let empty = open(&encode(&[], Vec::new(), Vec::new())).unwrap();
    assert!(empty.messages.is_empty() && empty.time_ns.is_none() && !empty.is_end_of_queue);
}

#[test]
fn an_older_canister_does_not_say_whether_there_is_more() {
    #[derive(CandidType)]
    struct Older {
        messages: Vec<ClientKey>,
        cert: Vec<u8>,
        tree: Vec<u8>,
        extra: Option<String>,
    }
    let older: Answer<Older> = Ok(Older { messages: vec![], cert: vec![], tree: vec![], extra: Some("!".into()) });
    assert!(read_poll_reply_unverified(&Encode!(&older).unwrap(), Generation::V1).unwrap().is_end_of_queue);
}

#[test]
fn a_refusal_has_the_words_of_the_canister() {
    let answer: Answer<Messages<'_>> = Err("no".into());
    let refused = Error::CanisterRefused { method: "ws_get_messages", text: "no".into() };
    let reply = Encode!(&answer).unwrap();
    assert_eq!(open(&reply).unwrap_err(), refused);
    assert_eq!(read_poll_reply_unverified(&reply, Generation::V0).unwrap_err(), refused);
}

#[test]
fn what_the_canister_did_not_certify_is_refused() {
    let sent = messages(&[1, 2]);
    let tree = canister_tree(&sent);
    let good = certificate(tree.digest());
    let mut other = sent.clone();
    other[1].1.push(0);
    let mismatch = open(&encode(&other, good.clone(), tree.to_cbor())).unwrap_err();
    assert_eq!(mismatch, Error::MessageNotCertified(key_text(2)));
    let more = open(&encode(&messages(&[1, 2, 3]), good.clone(), tree.to_cbor())).unwrap_err();
    assert_eq!(more, Error::PathAbsent(format!("websocket/{}", key_text(3))));
    let hidden = tree.witness(&[&[b"websocket", key_text(1).as_bytes()]]);
    assert!(matches!(open(&encode(&sent, good.clone(), hidden.to_cbor())), Err(Error::PathUnknown(_))));
    let foreign = canister_tree(&other);
    assert!(matches!(open(&encode(&other, good, foreign.to_cbor())), Err(Error::CertifiedDataMismatch(_))));
}

#[test]
fn keys_ascend_within_one_gateway() {
    for nonces in [&[1, 1][..], &[2, 1]] {
        assert!(matches!(open(&reply(&messages(nonces))), Err(Error::Malformed { .. })));
    }
    let mut mixed = messages(&[1, 2]);
    mixed[1].0 = format!("aaaaa-aa_{:020}", 2);
    assert!(matches!(open(&reply(&mixed)), Err(Error::Malformed { .. })));
    for key in ["", "2vxsx-fae_1", "gateway_00000000000000000001"] {
        let reply = reply(&[(key.into(), content(1))]);
        assert!(matches!(open(&reply), Err(Error::Malformed { what: "message key", .. })), "{key}");
    }
}

#[test]
fn replies_are_bounded() {
    assert!(matches!(open(&vec![0; MAX_REPLY + 1]), Err(Error::TooLarge { .. })));
    let many: Vec<_> = (0..=MAX_MESSAGES as u64).map(|nonce| (key_text(nonce), Vec::new())).collect();
    let read = |reply: &[u8]| read_poll_reply_unverified(reply, Generation::V2);
    assert!(matches!(read(&encode(&many, vec![], vec![])), Err(Error::TooLarge { unit: "messages", .. })));
    let copied = encode(&many[..300], vec![0; 1 << 20], vec![]);
    assert!(matches!(read(&copied), Err(Error::TooLarge { unit: "bytes of frames", .. })));
}

#[test]
fn v0_calls_the_content_val() {
    let key = key_text(0);
    let sent = vec![(key.clone(), b"\xd9\xd9\xf7\xa0".to_vec())];
    let tree = canister_tree(&sent);
    let message = MessageV0 { client_key: vec![5; 32], key: &key, val: sent[0].1.clone() };
    let (cert, tree) = (certificate(tree.digest()), tree.to_cbor());
    let answer: Answer<MessagesV0<'_>> = Ok(MessagesV0 { messages: vec![message], cert, tree });
    let reply = Encode!(&answer).unwrap();
    let opened = open_poll_reply(&verifier(), &reply, CANISTER, Generation::V0, NOW_NS).unwrap();
    let value = cbor::decode("payload", &opened.messages[0].frame[4..], cbor::Budget::REPLY).unwrap();
    assert_eq!(value.get("val").unwrap().as_bytes(), Some(&sent[0].1[..]));
    assert_eq!((&opened.messages[0].client_key, opened.is_end_of_queue), (&vec![5; 32], true));
    assert!(open_poll_reply(&verifier(), &reply, CANISTER, Generation::V2, NOW_NS).is_err());
}
