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
    encode_beside(ClientKey { client_principal: Principal::anonymous(), client_nonce: 9 }, messages, cert, tree)
}

/// With this client beside every content.
fn encode_beside(client_key: ClientKey, messages: &[(String, Vec<u8>)], cert: Vec<u8>, tree: Vec<u8>) -> Vec<u8> {
    let message = |(key, content): &'_ (String, Vec<u8>)| (key.clone(), content.clone());
    let owned: Vec<_> = messages.iter().map(message).collect();
    let entry = |(key, content): &'static (String, Vec<u8>)| Message {
        client_key: client_key.clone(),
        key,
        content: content.clone(),
    };
    let messages = owned.leak().iter().map(entry).collect();
    let answer: Answer<Messages<'_>> = Ok(Messages { messages, cert, tree, is_end_of_queue: Some(false) });
    Encode!(&answer).unwrap()
}

fn open(reply: &[u8]) -> Result<PollReply> {
    open_of(reply, Queue { gateway: Some(&[4]), allow_holes: false })
}

fn open_of(reply: &[u8], queue: Queue<'_>) -> Result<PollReply> {
    open_poll_reply(&verifier(), reply, CANISTER, Generation::V2, queue, NOW_NS)
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
    for (previous, got) in [(1, 1), (2, 1), (u64::MAX, u64::MAX), (u64::MAX, 0)] {
        let error = open(&reply(&messages(&[previous, got]))).unwrap_err();
        assert_eq!(error, Error::NoncesNotAscending { previous, got });
    }
    for key in ["", "2vxsx-fae_1", "gateway_00000000000000000001"] {
        let reply = reply(&[(key.into(), content(1))]);
        let error = open_of(&reply, Queue { gateway: None, allow_holes: false });
        assert!(matches!(error, Err(Error::Malformed { what: "message key", .. })), "{key}");
    }
}

#[test]
fn a_hole_is_taken_only_where_it_is_allowed() {
    for (nonces, hole) in [(&[1, 2, 5, 9][..], Some((3, 5))), (&[0, u64::MAX], Some((1, u64::MAX))), (&[6, 7, 8], None)]
    {
        let reply = reply(&messages(nonces));
        let error = hole.map(|(expected, got)| Error::HoleInReply { expected, got });
        assert_eq!(open(&reply).err(), error);
        let opened = open_of(&reply, Queue { gateway: Some(&[4]), allow_holes: true }).unwrap();
        assert_eq!(opened.messages.iter().map(|message| message.nonce).collect::<Vec<_>>(), nonces);
    }
}

#[test]
fn messages_are_from_the_queue_of_one_gateway_and_of_ours() {
    let ours = Queue { gateway: Some(&[4]), allow_holes: false };
    let any = Queue { gateway: None, ..ours };
    let foreign = |key: &str, gateway: &str| Error::ForeignQueue { key: key.into(), gateway: gateway.into() };
    let theirs = format!("aaaaa-aa_{:020}", 2);
    let mut sent = messages(&[1, 2]);
    sent[1].0.clone_from(&theirs);
    let mixed = reply(&sent);
    assert_eq!(open_of(&mixed, ours).unwrap_err(), foreign(&theirs, GATEWAY));
    assert_eq!(open_of(&mixed, any).unwrap_err(), foreign(&theirs, GATEWAY));
    let whole = reply(&sent[1..]);
    assert_eq!(open_of(&whole, ours).unwrap_err(), foreign(&theirs, GATEWAY));
    assert!(open_of(&whole, any).is_ok());
}

#[test]
fn the_client_is_the_one_that_the_content_names() {
    let sent = messages(&[1]);
    let tree = canister_tree(&sent);
    let beside = ClientKey { client_principal: Principal::anonymous(), client_nonce: 8 };
    let lie = encode_beside(beside, &sent, certificate(tree.digest()), tree.to_cbor());
    assert_eq!(open(&lie).unwrap_err(), Error::ClientKeyMismatch(key_text(1)));
    let read = read_poll_reply_unverified(&lie, Generation::V2).unwrap();
    assert_eq!(read.messages[0].client_key, client_key_bytes(&[4], 9));
}

#[test]
fn a_message_says_what_its_content_says() {
    let opened = open(&reply(&messages(&[7]))).unwrap();
    let message = &opened.messages[0];
    assert_eq!((message.sequence_num, message.timestamp_ns), (7, NOW_NS));
    assert_eq!((message.is_service, message.service_kind), (false, None));
    let undecodable = open(&reply(&[(key_text(3), b"junk".to_vec())])).unwrap_err();
    assert!(matches!(&undecodable, Error::Malformed { problem, .. } if problem.starts_with(&key_text(3))));
}

#[test]
fn a_certified_content_that_does_not_decode_is_a_hole_of_one_client() {
    let mut sent = messages(&[3, 4, 5]);
    sent[1].1 = b"junk".to_vec();
    let holes = Queue { gateway: Some(&[4]), allow_holes: true };
    let tree = canister_tree(&sent);
    let beside = ClientKey { client_principal: Principal::anonymous(), client_nonce: 9 };
    let reply = encode_beside(beside, &sent, certificate(tree.digest()), tree.to_cbor());
    let opened = open_of(&reply, holes).unwrap();
    let problems: Vec<_> = opened.messages.iter().map(|message| message.problem.is_some()).collect();
    assert_eq!(problems, [false, true, false]);
    assert_eq!((opened.messages[1].nonce, &opened.messages[1].client_key), (4, &client_key_bytes(&[4], 9)));
    assert!(matches!(open(&reply), Err(Error::Malformed { .. })));
    sent[1].1 = b"other".to_vec();
    let forged = encode(&sent, certificate(tree.digest()), tree.to_cbor());
    assert_eq!(open_of(&forged, holes).unwrap_err(), Error::MessageNotCertified(key_text(4)));
}

#[test]
fn replies_are_bounded() {
    assert!(matches!(open(&vec![0; MAX_REPLY + 1]), Err(Error::TooLarge { .. })));
    let many: Vec<_> = (0..=MAX_MESSAGES as u64).map(|nonce| (key_text(nonce), content(nonce))).collect();
    let read = |reply: &[u8]| read_poll_reply_unverified(reply, Generation::V2);
    assert!(matches!(read(&encode(&many, vec![], vec![])), Err(Error::TooLarge { unit: "messages", .. })));
    let copied =
        |count: usize| read(&encode(&many[..count], vec![0; 1 << 20], vec![])).map(|opened| opened.messages.len());
    assert_eq!(copied(255), Ok(255), "a certificate of 1 MiB in each frame");
    assert!(matches!(copied(256), Err(Error::TooLarge { unit: "bytes of frames", .. })));
}

fn content_v0() -> Vec<u8> {
    let fields = vec![
        ("client_key", cbor::Value::Bytes(&[5; 32])),
        ("sequence_num", cbor::Value::Unsigned(1)),
        ("timestamp", cbor::Value::Unsigned(NOW_NS)),
        ("message", cbor::Value::Bytes(b"hello")),
    ];
    cbor::encode(&cbor::map(fields))
}

#[test]
fn v0_calls_the_content_val() {
    let key = key_text(0);
    let sent = vec![(key.clone(), content_v0())];
    let tree = canister_tree(&sent);
    let message = MessageV0 { client_key: vec![5; 32], key: &key, val: sent[0].1.clone() };
    let (cert, tree) = (certificate(tree.digest()), tree.to_cbor());
    let answer: Answer<MessagesV0<'_>> = Ok(MessagesV0 { messages: vec![message], cert, tree });
    let reply = Encode!(&answer).unwrap();
    let queue = Queue { gateway: None, allow_holes: false };
    let open = |generation| open_poll_reply(&verifier(), &reply, CANISTER, generation, queue, NOW_NS);
    let opened = open(Generation::V0).unwrap();
    let value = cbor::decode("payload", &opened.messages[0].frame[4..], cbor::Budget::REPLY).unwrap();
    assert_eq!(value.get("val").unwrap().as_bytes(), Some(&sent[0].1[..]));
    assert_eq!((&opened.messages[0].client_key, opened.is_end_of_queue), (&vec![5; 32], true));
    assert!(open(Generation::V2).is_err());
}
