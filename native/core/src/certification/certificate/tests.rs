use super::*;
use crate::certification::bls::SecretKey;

const NOW: u64 = 1_700_000_000_000_000_000;
const MINUTE: u64 = 60_000_000_000;
const SUBNET: &[u8] = b"subnet";

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

fn labels<const N: usize>(entries: [(&[u8], HashTree); N]) -> HashTree {
    HashTree::from_labels(entries.map(|(label, tree)| (label.to_vec(), tree)))
}

fn leb128(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n > 0x7f {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

fn signed(tree: HashTree, by: &SecretKey, delegation: Option<Vec<u8>>) -> Vec<u8> {
    let signature = by.sign(&root_message(tree.digest())).to_vec();
    let delegation = delegation.map(|certificate| Delegation { subnet_id: SUBNET.to_vec(), certificate });
    Certificate { tree, signature, delegation }.encode()
}

fn time(ns: u64) -> HashTree {
    HashTree::leaf(&leb128(ns))
}

/// The root's word that key 2 is the subnet's and that it holds the canisters 0x10 to 0x20.
fn delegation() -> Vec<u8> {
    let ranges = HashTree::leaf(b"\x81\x82\x41\x10\x41\x20");
    let public_key = HashTree::leaf(&key(2).public_key().to_der());
    let tree = labels([
        (b"canister_ranges", labels([(SUBNET, labels([(&[0x10], ranges)]))])),
        (b"subnet", labels([(SUBNET, labels([(b"public_key", public_key)]))])),
        (b"time", time(NOW)),
    ]);
    signed(tree, &key(1), None)
}

fn by_root(ns: u64) -> Vec<u8> {
    signed(labels([(b"time", time(ns))]), &key(1), None)
}

fn by_subnet(ns: u64) -> Vec<u8> {
    signed(labels([(b"time", time(ns))]), &key(2), Some(delegation()))
}

fn verifier() -> Verifier {
    Verifier::new(&key(1).public_key().to_der(), 5 * MINUTE, MINUTE, 16).unwrap()
}

#[test]
fn a_certificate_reads_as_it_was_written() {
    let certificate = Certificate::decode(&by_subnet(NOW)).unwrap();
    assert_eq!(certificate.encode(), by_subnet(NOW));
    assert_eq!(certificate.delegation.unwrap().certificate, delegation());
    let null = b"\xa3\x64tree\x81\x00\x69signature\x40\x6adelegation\xf6";
    assert!(Certificate::decode(null).unwrap().delegation.is_none());
    for bad in [&b"\xa0"[..], b"\x80", b"\xa1\x64tree\x81\x00", b"\xa2\x64tree\x81\x00\x69signature\x01"] {
        assert!(matches!(Certificate::decode(bad), Err(Error::Malformed { .. })), "{bad:02x?}");
    }
}

#[test]
fn the_root_key_speaks_for_every_canister_and_for_its_own_subnet() {
    let verifier = verifier();
    let certified = verifier.verify(&by_root(NOW), Subject::Canister(&[9]), Some(NOW)).unwrap();
    assert_eq!((certified.time_ns, &certified.subnet_id), (NOW, &None));
    let root_id = principal::self_authenticating(verifier.root_key());
    assert!(verifier.verify(&by_root(NOW), Subject::Subnet(&root_id), Some(NOW)).is_ok());
    let error = verifier.verify(&by_root(NOW), Subject::Subnet(SUBNET), Some(NOW)).unwrap_err();
    assert!(matches!(error, Error::CertificateNotAuthorized { .. }));
}

#[test]
fn a_subnet_speaks_for_its_canisters_on_a_hit_of_the_cache_too() {
    let verifier = verifier();
    for _ in 0..2 {
        let certified = verifier.verify(&by_subnet(NOW), Subject::Canister(&[0x18]), Some(NOW)).unwrap();
        assert_eq!(certified.subnet_id.as_deref(), Some(SUBNET));
        assert!(verifier.verify(&by_subnet(NOW), Subject::Subnet(SUBNET), Some(NOW)).is_ok());
        for other in [Subject::Canister(&[0x21]), Subject::Canister(&[0x0f]), Subject::Subnet(b"other")] {
            let error = verifier.verify(&by_subnet(NOW), other, Some(NOW)).unwrap_err();
            assert!(matches!(error, Error::CertificateNotAuthorized { .. }), "{error:?}");
        }
    }
}

#[test]
fn age_is_checked_both_ways_each_time_or_never() {
    let verifier = verifier();
    let at = |now| verifier.verify(&by_root(NOW), Subject::Canister(&[9]), now).map(|certified| certified.time_ns);
    for now in [Some(NOW), Some(NOW + 5 * MINUTE), Some(NOW - MINUTE), None, Some(NOW)] {
        assert_eq!(at(now), Ok(NOW));
    }
    let stale = Error::CertificateStale { age_ns: 5 * MINUTE + 1, limit_ns: 5 * MINUTE };
    assert_eq!(at(Some(NOW + 5 * MINUTE + 1)), Err(stale));
    let future = Error::CertificateFromFuture { ahead_ns: MINUTE + 1, limit_ns: MINUTE };
    assert_eq!(at(Some(NOW - MINUTE - 1)), Err(future));
}

#[test]
fn delegations_do_not_nest() {
    let inner = signed(labels([(b"time", time(NOW))]), &key(1), Some(delegation()));
    let outer = signed(labels([(b"time", time(NOW))]), &key(2), Some(inner));
    let error = verifier().verify(&outer, Subject::Canister(&[0x18]), None).unwrap_err();
    assert_eq!(error, Error::CertificateNestedDelegation);
}

#[test]
fn another_key_is_refused_at_every_place() {
    let forged = signed(labels([(b"time", time(NOW))]), &key(3), None);
    let forged_below = signed(labels([(b"time", time(NOW))]), &key(3), Some(delegation()));
    let by_itself = signed(labels([(b"time", time(NOW))]), &key(2), Some(forged.clone()));
    let verifier = verifier();
    for certificate in [forged, forged_below, by_itself] {
        for _ in 0..2 {
            let error = verifier.verify(&certificate, Subject::Canister(&[0x18]), None).unwrap_err();
            assert!(matches!(error, Error::CertificateSignatureInvalid(_)), "{error:?}");
        }
    }
}

#[test]
fn a_time_must_be_shown() {
    let empty = signed(HashTree::empty(), &key(1), None);
    let pruned = signed(HashTree::pruned([7; 32]), &key(1), None);
    let garbled = signed(labels([(b"time", HashTree::leaf(&[0x80]))]), &key(1), None);
    let verify = |certificate: &[u8]| verifier().verify(certificate, Subject::Canister(&[9]), None).unwrap_err();
    assert_eq!(verify(&empty), Error::PathAbsent("time".into()));
    assert_eq!(verify(&pruned), Error::PathUnknown("time".into()));
    assert!(matches!(verify(&garbled), Error::Malformed { .. }));
}

#[test]
fn nothing_is_verified_twice() {
    let verifier = verifier();
    let verify = |certificate: &[u8]| {
        verifier.verify(certificate, Subject::Canister(&[0x18]), None).unwrap();
        (verifier.misses(), verifier.hits())
    };
    assert_eq!(verify(&by_subnet(NOW)), (2, 0));
    assert_eq!(verify(&by_subnet(NOW)), (2, 2));
    assert_eq!(verify(&by_subnet(NOW + 1)), (3, 3));
    let tree = labels([(b"extra", HashTree::leaf(b"x")), (b"time", time(NOW + 2))]);
    assert_eq!(verify(&signed(tree.clone(), &key(2), Some(delegation()))), (4, 4));
    // The same state, pruned to something else: another certificate, the same signature.
    assert_eq!(verify(&signed(tree.witness(&[&[b"time"]]), &key(2), Some(delegation()))), (4, 6));
}

#[test]
fn failures_are_never_remembered() {
    let verifier = verifier();
    let mut bent = Certificate::decode(&by_root(NOW)).unwrap();
    bent.signature[5] ^= 1;
    for misses in 1..4 {
        assert!(verifier.verify(&bent.encode(), Subject::Canister(&[9]), None).is_err());
        assert_eq!((verifier.misses(), verifier.hits()), (misses, 0));
    }
}

#[test]
fn numbers_have_one_end() {
    assert_eq!(natural("n", &leb128(u64::MAX)), Ok(u64::MAX));
    assert_eq!(natural("n", &leb128(300)), Ok(300));
    assert_eq!(natural("n", &[0]), Ok(0));
    let beyond = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
    for bad in [&[][..], &[0x80], &[0, 0], &[1, 1], &[0xff; 11], &beyond] {
        assert!(natural("n", bad).is_err(), "{bad:02x?}");
    }
}
