use super::*;
use crate::signatures::canister_signature::tests::{CANISTER as SIGNER, sign};

const SEED: &[u8] = b"seed";
const INFO: &[u8] = b"attributes";

/// The key by which `SIGNER` signs for one of its users.
fn canister_key() -> Vec<u8> {
    let head = b"\x30\x17\x30\x0c\x06\x0a\x2b\x06\x01\x04\x01\x83\xb8\x43\x01\x02\x03\x07\x00\x01";
    [head, SIGNER, SEED].concat()
}

fn info(signature: &[u8]) -> SenderInfo<'_> {
    SenderInfo { info: INFO, signer: SIGNER, signature }
}

/// A call of the holder of a key with `sender_info`.
fn call_with(key: &[u8], sign: impl Fn(&[u8]) -> Vec<u8>, info: SenderInfo<'_>) -> Result<Request> {
    let sender = principal::self_authenticating(key);
    let sender_info = Some(info);
    let content = Content { operation: call(), sender: &sender, ingress_expiry_ns: NOW, nonce: None, sender_info };
    let (content, id) = content.encode().unwrap();
    let body = encode(&content, Some(key), Some(&sign(&[SEPARATOR, &id].concat())), &[]);
    open_request(&body, NOW, &root())
}

fn open(info: SenderInfo<'_>) -> Result<Request> {
    call_with(&canister_key(), |message| sign(SEED, message), info)
}

fn is_refused_for(verdict: Result<Request>, clue: &str) {
    let expected = matches!(&verdict, Err(Error::SignatureInvalid(problem))
        if problem.starts_with("sender_info: ") && problem.contains(clue));
    assert!(expected, "{clue}: {verdict:?}");
}

#[test]
fn the_canister_of_the_key_signs_for_its_user() {
    let signature = sign(SEED, &[SENDER_INFO_SEPARATOR, INFO].concat());
    let request = open(info(&signature)).unwrap();
    assert_eq!(request.sender, principal::self_authenticating(&canister_key()));
}

#[test]
fn the_signature_is_over_the_info_in_its_own_domain_and_for_this_user() {
    let message = [SENDER_INFO_SEPARATOR, INFO].concat();
    for (seed, signed) in [(SEED, INFO), (SEED, &[&message[..], b"!"].concat()), (b"other", &message[..])] {
        is_refused_for(open(info(&sign(seed, signed))), "the tree has no sig/");
    }
    let other = SenderInfo { info: b"others", ..info(&[]) };
    is_refused_for(open(SenderInfo { signature: &sign(SEED, &message), ..other }), "the tree has no sig/");
}

#[test]
fn no_other_canister_and_no_other_key_has_one() {
    let signature = sign(SEED, &[SENDER_INFO_SEPARATOR, INFO].concat());
    is_refused_for(open(SenderInfo { signer: &[0x11], ..info(&signature) }), "not the canister of sender_pubkey");
    let verdict = call_with(&public(1), |message| key(1).sign(message).to_vec(), info(&signature));
    is_refused_for(verdict, "not the key of a canister");
}
