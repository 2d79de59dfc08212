use super::*;
use crate::certification::bls::SecretKey;
use crate::certification::certificate::{Delegation, root_message};
use crate::encoding::cbor::map;

pub(crate) const CANISTER: &[u8] = &[0x10];
const SUBNET: &[u8] = b"subnet";
/// Long ago: the age does not count.
const TIME: &[u8] = &[1];

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

fn labels<const N: usize>(entries: [(&[u8], HashTree); N]) -> HashTree {
    HashTree::from_labels(entries.map(|(label, tree)| (label.to_vec(), tree)))
}

fn certificate(tree: HashTree, by: &SecretKey, delegation: Option<Vec<u8>>) -> Vec<u8> {
    let signature = by.sign(&root_message(tree.digest())).to_vec();
    let delegation = delegation.map(|certificate| Delegation { subnet_id: SUBNET.to_vec(), certificate });
    Certificate { tree, signature, delegation }.encode()
}

/// The root's word that key 2 is a subnet's which holds 0x10 to 0x20 and is of a type.
fn delegation(subnet_type: Option<&[u8]>) -> Vec<u8> {
    let mut subnet = vec![
        (b"canister_ranges".to_vec(), HashTree::leaf(b"\x81\x82\x41\x10\x41\x20")),
        (b"public_key".to_vec(), HashTree::leaf(&key(2).public_key().to_der())),
    ];
    subnet.extend(subnet_type.map(|kind| (b"type".to_vec(), HashTree::leaf(kind))));
    let tree =
        labels([(b"subnet", labels([(SUBNET, HashTree::from_labels(subnet))])), (b"time", HashTree::leaf(TIME))]);
    certificate(tree, &key(1), None)
}

fn state(canister: &[u8], signatures: &HashTree) -> HashTree {
    let data = labels([(b"certified_data", HashTree::leaf(signatures.digest()))]);
    labels([(b"canister", labels([(canister, data)])), (b"time", HashTree::leaf(TIME))])
}

fn signatures(seed: &[u8], payload: &[u8], leaf: &[u8]) -> HashTree {
    let one = labels([(&sha256(payload), HashTree::leaf(leaf))]);
    labels([(b"sig", labels([(&sha256(seed), one)]))])
}

fn encode(certificate: &[u8], tree: &HashTree) -> Vec<u8> {
    let tree = cbor::decode("tree", &tree.to_cbor(), Budget::REPLY).map(|tree| cbor::encode(&tree)).unwrap();
    let tree = cbor::decode("tree", &tree, Budget::REPLY).unwrap();
    let fields = map(vec![("certificate", Value::Bytes(certificate)), ("tree", tree)]);
    [&cbor::SELF_DESCRIBED[..], &cbor::encode(&fields)].concat()
}

/// A signature of the canister by the root key, without a subnet.
pub(crate) fn sign(seed: &[u8], payload: &[u8]) -> Vec<u8> {
    let tree = signatures(seed, payload, b"");
    encode(&certificate(state(CANISTER, &tree), &key(1), None), &tree)
}

fn verdict(signature: &[u8]) -> Result<()> {
    let root = Verifier::new(&key(1).public_key().to_der(), 0, 0, 16).unwrap();
    CanisterKey { canister_id: CANISTER.to_vec(), seed: b"seed".to_vec() }.verify(signature, b"payload", &root)
}

fn problem(signature: &[u8]) -> String {
    match verdict(signature) {
        Err(Error::SignatureInvalid(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_canister_certifies_is_signed() {
    assert_eq!(verdict(&sign(b"seed", b"payload")), Ok(()));
}

#[test]
fn seed_payload_and_leaf_count() {
    assert!(problem(&sign(b"other", b"payload")).contains("the tree has no sig/"));
    assert!(problem(&sign(b"seed", b"other")).contains("the tree has no sig/"));
    let tree = signatures(b"seed", b"payload", b"x");
    let signature = encode(&certificate(state(CANISTER, &tree), &key(1), None), &tree);
    assert!(problem(&signature).contains("not empty"));
}

#[test]
fn the_tree_is_the_certified_one_of_this_canister() {
    let (tree, other) = (signatures(b"seed", b"payload", b""), signatures(b"seed", b"other", b""));
    let signed = |canister, tree| certificate(state(canister, tree), &key(1), None);
    assert!(problem(&encode(&signed(CANISTER, &other), &tree)).contains("not the one that canister"));
    assert!(problem(&encode(&signed(&[0x11], &tree), &tree)).contains("the tree has no canister/"));
    let forged = certificate(state(CANISTER, &tree), &key(3), None);
    assert!(problem(&encode(&forged, &tree)).contains("certificate is not valid"));
}

#[test]
fn the_subnet_holds_the_canister_and_may_sign_for_users() {
    let tree = signatures(b"seed", b"payload", b"");
    let by_subnet = |kind| encode(&certificate(state(CANISTER, &tree), &key(2), Some(delegation(kind))), &tree);
    assert_eq!(verdict(&by_subnet(None)), Ok(()));
    assert_eq!(verdict(&by_subnet(Some(b"application"))), Ok(()));
    assert!(problem(&by_subnet(Some(b"cloud_engine"))).contains("cloud_engine"));
    let outside = CanisterKey { canister_id: vec![0x21], seed: b"seed".to_vec() };
    let root = Verifier::new(&key(1).public_key().to_der(), 0, 0, 16).unwrap();
    let signature = encode(&certificate(state(&[0x21], &tree), &key(2), Some(delegation(None))), &tree);
    let verdict = outside.verify(&signature, b"payload", &root);
    assert!(matches!(verdict, Err(Error::SignatureInvalid(problem)) if problem.contains("may not certify for")));
}

#[test]
fn the_form_is_strict() {
    let signature = sign(b"seed", b"payload");
    assert!(problem(&signature[3..]).contains("self-describing tag"));
    assert!(problem(&[&cbor::SELF_DESCRIBED[..], &[0xa0]].concat()).contains("no certificate"));
    let padded = |size: usize| problem(&[&signature[..], &vec![0; size - signature.len()]].concat());
    assert!(padded(MAX_SIGNATURE + 1).contains("the limit is"));
    assert!(padded(MAX_SIGNATURE).contains("after the end"));
    for at in 0..signature.len() {
        let mut forged = signature.clone();
        forged[at] ^= 1;
        assert!(matches!(verdict(&forged), Err(Error::SignatureInvalid(_))), "byte {at}");
    }
}
