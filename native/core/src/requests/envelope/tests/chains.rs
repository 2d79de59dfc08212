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
