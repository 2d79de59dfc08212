use super::*;

#[test]
fn a_chain_hands_on() {
    for length in [1, 2, 20] {
        let links: Vec<_> = (2..2 + length).map(to).collect();
        let request = chain(&links).open().unwrap();
        assert_eq!(request.sender, principal::self_authenticating(&public(1)));
    }
    let links: Vec<_> = (2..23).map(to).collect();
    assert!(matches!(chain(&links).open(), Err(Error::DelegationInvalid(problem)) if problem.contains("21")));
}

#[test]
fn a_chain_ends() {
    let expired = Link { expiration_ns: NOW - 1, ..to(3) };
    let verdict = chain(&[to(2), expired]).open();
    assert!(matches!(verdict, Err(Error::DelegationExpired(problem)) if problem.contains("delegation 2")));
}

#[test]
fn a_chain_does_not_turn_back() {
    for links in [&[to(1)][..], &[to(2), to(1)], &[to(2), to(3), to(2)]] {
        assert!(matches!(chain(links).open(), Err(Error::DelegationInvalid(problem)) if problem.contains("goes back")));
    }
}

#[test]
fn links_are_signed_by_the_key_before() {
    let body = chain(&[to(2), to(3)]).body();
    let links = [to(2).sign(1), to(3).sign(4)];
    let links = links.iter().map(|link| cbor::decode("link", link, Budget::REQUEST).unwrap()).collect();
    let verdict = with(&body, "sender_delegation", Some(Value::Array(links)));
    assert!(matches!(verdict, Err(Error::SignatureInvalid(problem)) if problem.starts_with("delegation 2: ")));
}

/// What was verified for one key, signature and delegation says nothing about others.
#[test]
fn links_that_are_known_are_still_their_keys() {
    let (root, mut forged) = (root(), chain(&[to(2), to(3)]));
    assert!(open_request(&forged.body(), NOW, &root).is_ok());
    assert!(open_request(&forged.body(), NOW, &root).is_ok());
    forged.links.remove(0);
    let body = forged.body();
    let link = to(3).sign(2);
    let link = cbor::decode("link", &link, Budget::REQUEST).unwrap();
    let mut fields = fields(&body);
    fields.retain(|(key, _)| *key != Value::Text("sender_delegation"));
    fields.push((Value::Text("sender_delegation"), Value::Array(vec![link])));
    let verdict = open_request(&cbor::encode(&Value::Map(fields)), NOW, &root);
    assert!(matches!(verdict, Err(Error::SignatureInvalid(_))), "key 1 never delegated to key 3");
    let later = open_request(&chain(&[to(2), to(3)]).body(), NOW + 1, &root);
    assert!(matches!(later, Err(Error::DelegationExpired(_))), "time is checked each time: {later:?}");
}

#[test]
fn targets_meet() {
    let other: &[u8] = &[9];
    let request = chain(&[to(2).targets(&[other, CANISTER]), to(3), to(4).targets(&[CANISTER, &[8]])]).open().unwrap();
    assert_eq!(request.targets, Some(vec![CANISTER.to_vec()]));
    for links in
        [&[to(2).targets(&[other])][..], &[to(2).targets(&[CANISTER]), to(3).targets(&[other])], &[to(2).targets(&[])]]
    {
        assert!(matches!(chain(links).open(), Err(Error::CanisterNotTargeted(_))));
    }
    let read = Draft { links: vec![to(2).targets(&[other])], ..draft(Operation::ReadState(vec![])) };
    assert_eq!(read.open().unwrap().targets, Some(vec![other.to_vec()]), "what is read is the host's to check");
}

#[test]
fn targets_are_counted() {
    let many = |count: u16| {
        let ids: Vec<_> = (0..count).map(|n| n.to_be_bytes()).collect();
        let mut targets: Vec<&[u8]> = ids.iter().map(|id| &id[..]).collect();
        targets[0] = CANISTER;
        chain(&[to(2).targets(&targets)]).open()
    };
    assert!(many(1000).is_ok());
    assert!(matches!(many(1001), Err(Error::DelegationInvalid(problem)) if problem.contains("1001")));
}

#[test]
fn permissions_bind() {
    let permitting = |permissions, operation| {
        let link = Link { permissions: Some(permissions), ..to(2) };
        Draft { links: vec![link, to(3)], ..draft(operation) }.open()
    };
    let query = Operation::Query(Method { canister_id: CANISTER, name: "get", arg: b"DIDL" });
    assert!(permitting("all", call()).is_ok());
    assert!(permitting("queries", query.clone()).is_ok());
    assert!(matches!(permitting("queries", call()), Err(Error::DelegationInvalid(_))));
    assert!(matches!(permitting("nothing", query), Err(Error::DelegationInvalid(_))));
}

/// Whatever forbids a request does so in every link, not in the first or last only.
#[test]
fn every_link_binds() {
    let verdict = |at: usize, change: &dyn Fn(Link) -> Link| {
        let mut links = [to(2), to(3), to(4)];
        links[at] = change(links[at].clone());
        chain(&links).open()
    };
    let many = vec![CANISTER; 1001];
    for at in 0..3 {
        let queries = verdict(at, &|link| Link { permissions: Some("queries"), ..link });
        assert!(matches!(queries, Err(Error::DelegationInvalid(_))), "link {at}: {queries:?}");
        let unknown = verdict(at, &|link| Link { permissions: Some("nothing"), ..link });
        assert!(matches!(unknown, Err(Error::DelegationInvalid(_))), "link {at}: {unknown:?}");
        let elsewhere = verdict(at, &|link| link.targets(&[&[9]]));
        assert!(matches!(elsewhere, Err(Error::CanisterNotTargeted(_))), "link {at}: {elsewhere:?}");
        let expired = verdict(at, &|link| Link { expiration_ns: NOW - 1, ..link });
        assert!(matches!(expired, Err(Error::DelegationExpired(_))), "link {at}: {expired:?}");
        let crowded = verdict(at, &|link| link.targets(&many));
        assert!(matches!(crowded, Err(Error::DelegationInvalid(_))), "link {at}: {crowded:?}");
        assert!(verdict(at, &|link| Link { permissions: Some("all"), ..link }.targets(&[&[9], CANISTER])).is_ok());
    }
}

/// Every way to limit a chain of three links: its targets are those that no link leaves out.
#[test]
fn targets_are_those_of_all_links() {
    let choices: [Option<&[&[u8]]>; 6] =
        [None, Some(&[]), Some(&[b"a"]), Some(&[b"b"]), Some(&[b"b", b"a"]), Some(&[b"a", b"c"])];
    for number in 0..6usize.pow(3) {
        let limits: Vec<_> = (0..3).map(|at| choices[number / 6usize.pow(at) % 6]).collect();
        let link = |targets: &Option<&[&'static [u8]]>| crate::requests::delegation::Delegation {
            public_key: b"",
            expiration_ns: 0,
            targets: targets.map(<[_]>::to_vec),
            queries_only: false,
            hash: [0; 32],
            signature: b"",
        };
        let targets = Chain { sender_key: b"", delegations: limits.iter().map(link).collect() }.targets();
        assert_eq!(targets.is_none(), limits.iter().all(Option::is_none), "{limits:?}");
        for canister in [&b"a"[..], b"b", b"c"] {
            let is_allowed = targets.as_ref().is_none_or(|targets| targets.contains(canister));
            let by_all = limits.iter().all(|limit| limit.is_none_or(|limit| limit.contains(&canister)));
            assert_eq!(is_allowed, by_all, "{limits:?}");
        }
    }
}

/// A link that is known with its key, signature and content is not known with another of these.
#[test]
fn links_that_are_known_vouch_for_no_others() {
    let (root, body) = (root(), chain(&[to(2), to(3)]).body());
    let sent = |first: Vec<u8>| {
        let links = [first, to(3).sign(2)];
        let links = links.iter().map(|link| cbor::decode("link", link, Budget::REQUEST).unwrap()).collect();
        let mut fields = fields(&body);
        fields.retain(|(key, _)| *key != Value::Text("sender_delegation"));
        fields.push((Value::Text("sender_delegation"), Value::Array(links)));
        open_request(&cbor::encode(&Value::Map(fields)), NOW, &root)
    };
    let (known, later) = (to(2).sign(1), Link { expiration_ns: NOW + 1, ..to(2) }.sign(1));
    assert!(sent(known.clone()).is_ok() && sent(later.clone()).is_ok());
    let part = |link: &[u8], name: &str| {
        let link = cbor::decode("link", link, Budget::REQUEST).unwrap();
        cbor::encode(link.get(name).unwrap())
    };
    let joined = |delegation: &[u8], signature: &[u8]| {
        let mut out = b"\xa2\x6adelegation".to_vec();
        out.extend([delegation, b"\x69signature", signature].concat());
        out
    };
    assert!(sent(joined(&part(&known, "delegation"), &part(&known, "signature"))).is_ok());
    for (delegation, signature) in [(&known, &later), (&later, &known)] {
        let verdict = sent(joined(&part(delegation, "delegation"), &part(signature, "signature")));
        assert!(matches!(verdict, Err(Error::SignatureInvalid(_))), "{verdict:?}");
    }
}
