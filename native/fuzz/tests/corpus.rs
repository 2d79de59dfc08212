//! The corpus leads behind the first checks of every decoder: inputs of each target are accepted as they are.

use icws_core::certificate::{Subject, Verifier};
use icws_core::message::{Generation, open_message};
use icws_core::poll::{Queue, open_poll_reply};
use icws_core::public_key::PublicKey;
use icws_core::{candid, cbor, envelope, first_message, hash_tree, key_file, query_reply};
use icws_fuzz::corpus::{NODE_ID, REQUEST_ID, node_key, root_keys, seeds};
use icws_fuzz::parts::split;
use icws_fuzz::targets::ALL;

fn verifier(index: u8) -> Verifier {
    Verifier::new(&root_keys()[usize::from(index)], u64::MAX, u64::MAX, 64).unwrap()
}

fn is_accepted(target: &str, input: &[u8]) -> bool {
    match target {
        "candid" => candid::decode_untyped(input).is_ok(),
        "candid_text" => std::str::from_utf8(input).is_ok_and(|text| candid::Types::parse(text).is_ok()),
        "canister_signature" => {
            let [head, key, payload, signature] = split(input);
            PublicKey::from_der(key).is_ok_and(|key| key.verify(signature, payload, Some(&verifier(head[0]))).is_ok())
        }
        "cbor" => cbor::decode("input", input, cbor::Budget::REPLY).is_ok(),
        "certificate" => {
            let [head, canister, input] = split(input);
            verifier(head[0]).verify(input, Subject::Canister(canister), Some(0)).is_ok()
        }
        "envelope" => {
            let [head, input] = split(input);
            let read = envelope::read_frame_unverified(input);
            read.is_ok_and(|read| envelope::open_frame(input, read.ingress_expiry_ns, &verifier(head[0])).is_ok())
        }
        "first_message" => first_message::open(input).is_ok(),
        "hash_tree" => hash_tree::HashTree::from_cbor(input).is_ok(),
        "key_file" => key_file::from_der(input).is_ok() || key_file::from_pem(input).is_ok(),
        "message" => {
            let [head, canister, input] = split(input);
            open_message(&verifier(head[0]), input, canister, Generation::V2, 0).is_ok()
        }
        "poll_reply" => {
            let [head, canister, input] = split(input);
            let queue = Queue { gateway: None, allow_holes: false };
            let reply = open_poll_reply(&verifier(head[0]), input, canister, Generation::V2, queue, 0);
            reply.is_ok_and(|reply| !reply.messages.is_empty())
        }
        "public_key" => {
            let [key, signature, message] = split(input);
            PublicKey::from_der(key).is_ok_and(|key| key.verify(signature, message, None).is_ok())
        }
        "query_reply" => {
            let key = node_key().public_key().unwrap();
            let keys = query_reply::NodeKeys::from_iter([(NODE_ID, key.as_slice())]);
            query_reply::verify_query_reply(input, &REQUEST_ID, &keys, 0, u64::MAX).is_ok()
        }
        _ => panic!("no target {target}"),
    }
}

#[test]
fn every_target_has_inputs_that_are_accepted() {
    for (name, _) in ALL {
        let seeds = seeds(name);
        let accepted = seeds.iter().filter(|seed| is_accepted(name, seed)).count();
        assert!(accepted > 0, "{name}: none of {} is accepted", seeds.len());
    }
}
