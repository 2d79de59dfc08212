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

/// What is recalled is what `verify` answers, and it verifies no signature.
#[test]
fn a_certificate_is_recalled_by_the_signatures_that_are_known() {
    let tree = labels([(b"extra", HashTree::leaf(b"x")), (b"time", time(NOW))]);
    let whole = signed(tree.clone(), &key(2), Some(delegation()));
    let pruned = signed(tree.witness(&[&[b"time"]]), &key(2), Some(delegation()));
    for (known, asked) in [(&whole, &pruned), (&pruned, &whole), (&whole, &whole)] {
        let verifier = verifier();
        let recall = |id: &[u8], now| verifier.recall(asked, Subject::Canister(id), Some(now));
        assert!(recall(&[0x18], NOW).is_none(), "nothing is known");
        verifier.verify(&by_root(NOW), Subject::Canister(&[0x18]), Some(NOW)).unwrap();
        verifier.verify(&by_subnet(NOW), Subject::Canister(&[0x18]), Some(NOW)).unwrap();
        assert!(recall(&[0x18], NOW).is_none(), "the delegation alone is known");
        verifier.verify(known, Subject::Canister(&[0x18]), Some(NOW)).unwrap();
        let misses = verifier.misses();
        assert!(matches!(recall(&[0x21], NOW), Some(Err(Error::CertificateNotAuthorized { .. }))));
        assert!(matches!(recall(&[0x18], NOW + 6 * MINUTE), Some(Err(Error::CertificateStale { .. }))));
        for _ in 0..2 {
            let recalled = recall(&[0x18], NOW).unwrap().unwrap();
            let tree = Certificate::decode(asked).unwrap().tree;
            assert_eq!(recalled.tree.to_cbor(), tree.to_cbor());
        }
        assert_eq!(verifier.misses(), misses);
    }
}

/// A tree under the signature of another one is not known, however many parts of it are.
#[test]
fn nothing_is_recalled_by_a_part() {
    let verifier = verifier();
    let known = [by_subnet(NOW), by_subnet(NOW + 1), by_root(NOW)];
    for certificate in &known {
        verifier.verify(certificate, Subject::Canister(&[0x18]), Some(NOW)).unwrap();
    }
    for one in &known {
        for other in &known {
            let whole = [one.clone(), other.clone()];
            let (one, other) = (Certificate::decode(one).unwrap(), Certificate::decode(other).unwrap());
            for mixed in [
                Certificate { tree: other.tree.clone(), ..one.clone() },
                Certificate { signature: other.signature.clone(), ..one.clone() },
                Certificate { delegation: other.delegation.clone(), ..one.clone() },
            ] {
                if !whole.contains(&mixed.encode()) {
                    let recalled = verifier.recall(&mixed.encode(), Subject::Canister(&[0x18]), Some(NOW));
                    assert!(recalled.is_none());
                }
            }
        }
    }
    assert!(verifier.recall(b"no certificate", Subject::Canister(&[0x18]), Some(NOW)).is_none());
}

/// The calls of one block arrive together.
#[test]
fn a_signature_is_verified_once_however_many_threads_want_it() {
    let (verifier, certificate) = (verifier(), by_subnet(NOW));
    let together = std::sync::Barrier::new(8);
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                together.wait();
                verifier.verify(&certificate, Subject::Canister(&[0x18]), Some(NOW)).unwrap();
            });
        }
    });
    assert_eq!(verifier.misses(), 2);
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

/// One certificate of the root for two subnets: "other" has key 3.
fn delegation_of_two() -> Vec<u8> {
    let subnet = |seed| labels([(b"public_key", HashTree::leaf(&key(seed).public_key().to_der()))]);
    let tree = labels([(b"subnet", labels([(b"other", subnet(3)), (SUBNET, subnet(2))])), (b"time", time(NOW))]);
    signed(tree, &key(1), None)
}

fn delegated(subnet_id: &[u8], certificate: Vec<u8>, by: &SecretKey) -> Certificate {
    let tree = labels([(b"time", time(NOW))]);
    let signature = by.sign(&root_message(tree.digest())).to_vec();
    Certificate { tree, signature, delegation: Some(Delegation { subnet_id: subnet_id.to_vec(), certificate }) }
}

/// A certificate that is valid, and those that have one part of another valid one: tree, signature, key or subnet.
#[test]
fn what_is_remembered_vouches_for_nothing_else() {
    let own = delegated(SUBNET, delegation_of_two(), &key(2));
    let other_tree = labels([(b"time", time(NOW + 1))]);
    let other_key = delegated(b"other", delegation_of_two(), &key(3));
    let another_delegation = labels([
        (b"subnet", labels([(SUBNET, labels([(b"public_key", HashTree::leaf(&key(4).public_key().to_der()))]))])),
        (b"time", time(NOW)),
    ]);
    let forged = [
        Certificate { tree: other_tree, ..own.clone() },
        Certificate { signature: other_key.signature.clone(), ..own.clone() },
        Certificate { delegation: None, ..own.clone() },
        Certificate { delegation: other_key.delegation.clone(), ..own.clone() },
        delegated(SUBNET, signed(another_delegation, &key(1), None), &key(2)),
    ];
    for now in [None, Some(NOW)] {
        let verifier = verifier();
        for valid in [&own, &other_key] {
            let subnet = Subject::Subnet(&valid.delegation.as_ref().unwrap().subnet_id);
            verifier.verify(&valid.encode(), subnet, now).unwrap();
        }
        for (number, certificate) in forged.iter().enumerate() {
            for subject in [Subject::Subnet(SUBNET), Subject::Subnet(b"other"), Subject::Canister(&[0x18])] {
                let error = verifier.verify(&certificate.encode(), subject, now).unwrap_err();
                assert!(matches!(error, Error::CertificateSignatureInvalid(_)), "{number}: {error:?}");
            }
        }
    }
}

/// The tag before a certificate is optional. As the end of the subnet's id it makes the same bytes in a row.
#[test]
fn the_parts_of_a_delegation_do_not_run_into_each_other() {
    let (tagged, verifier) = (delegation_of_two(), verifier());
    let own = delegated(SUBNET, tagged.clone(), &key(2));
    verifier.verify(&own.encode(), Subject::Subnet(SUBNET), None).unwrap();
    let (tag, untagged) = tagged.split_at(3);
    let longer = [SUBNET, tag].concat();
    let forged = delegated(&longer, untagged.to_vec(), &key(2));
    let error = verifier.verify(&forged.encode(), Subject::Subnet(&longer), None).unwrap_err();
    assert!(matches!(error, Error::PathAbsent(_)), "{error:?}");
}

/// Neither at first nor from the cache: what a subnet prunes is not its own.
#[test]
fn ranges_that_are_not_shown_allow_nothing() {
    let verifier = verifier();
    let certificate = delegated(SUBNET, delegation_of_two(), &key(2)).encode();
    for _ in 0..2 {
        let error = verifier.verify(&certificate, Subject::Canister(&[0x18]), None).unwrap_err();
        assert!(matches!(error, Error::CertificateRangesUnknown(_)), "{error:?}");
        verifier.verify(&certificate, Subject::Subnet(SUBNET), None).unwrap();
    }
}

/// A user's delegation is checked once for the same parts, and again for any others, however they are divided.
#[test]
fn checks_are_made_once_for_the_same_parts() {
    let verifier = verifier();
    let is_checked = |parts: &[&[u8]]| {
        let mut checked = false;
        verifier
            .once(parts, || {
                checked = true;
                Ok(())
            })
            .unwrap();
        checked
    };
    let known: [&[u8]; 3] = [b"key", b"signature", b"hash"];
    assert!(verifier.once(&known, || Err(Error::CertificateNestedDelegation)).is_err());
    assert!(is_checked(&known), "a failure is not remembered");
    assert!(!is_checked(&known));
    for at in 0..known.len() {
        let mut parts = known;
        parts[at] = b"other";
        assert!(is_checked(&parts), "part {at}");
    }
    assert!(is_checked(&[b"keys", b"ignature", b"hash"]));
    assert!(is_checked(&[b"key", b"signature", b"hash", b""]));
}

/// Clients choose what a check costs: one that takes long holds up no other one.
#[test]
fn checks_of_different_parts_are_made_at_the_same_time() {
    let verifier = verifier();
    let turn = |part: u8| usize::from(name_of(&[&[part]])[0]) % CLIENT_TURNS;
    let other = (1..).find(|part| turn(*part) != turn(0)).unwrap();
    let (report, reports) = std::sync::mpsc::channel();
    std::thread::spawn(move || report.send(verifier.once(&[&[0]], || verifier.once(&[&[other]], || Ok(())))));
    let checked = reports.recv_timeout(std::time::Duration::from_secs(60));
    assert_eq!(checked, Ok(Ok(())), "the second has waited for the first");
}

#[test]
fn large_certificates_are_verified_and_not_kept() {
    let verifier = verifier();
    let of_size = |size: usize| {
        let sized = |filler| {
            signed(labels([(b"filler", HashTree::leaf(&vec![0; filler])), (b"time", time(NOW))]), &key(1), None)
        };
        let certificate = sized(size - sized(MAX_KEPT / 2).len() + MAX_KEPT / 2);
        (certificate.len() == size).then_some(certificate).unwrap()
    };
    for (size, is_kept) in [(MAX_KEPT, true), (MAX_KEPT + 1, false)] {
        let certificate = of_size(size);
        assert!(verifier.verify(&certificate, Subject::Canister(&[9]), None).is_ok());
        let kept = verifier.recall_named(&sha256(&certificate), Subject::Canister(&[9]), None);
        assert_eq!(kept.is_some(), is_kept);
        assert!(verifier.recall(&certificate, Subject::Canister(&[9]), None).is_some(), "its signature is known");
    }
}

/// What clients can choose never evicts what replies are verified with.
#[test]
fn canister_signatures_have_caches_of_their_own() {
    let verifier = Verifier::new(&key(1).public_key().to_der(), 5 * MINUTE, MINUTE, 2).unwrap();
    verifier.verify(&by_subnet(NOW), Subject::Canister(&[0x18]), Some(NOW)).unwrap();
    for number in 0..8 {
        verifier.verify(&by_root(NOW + number), Subject::Canister(&[9]), None).unwrap();
    }
    let misses = verifier.misses();
    assert!(verifier.recall(&by_subnet(NOW), Subject::Canister(&[0x18]), Some(NOW)).is_some());
    assert!(verifier.recall(&by_root(NOW), Subject::Canister(&[9]), Some(NOW)).is_none());
    assert_eq!(verifier.misses(), misses);
}
