use super::*;

fn labels(entries: &[(&str, HashTree)]) -> HashTree {
    HashTree::from_labels(entries.iter().map(|(label, tree)| (label.as_bytes().to_vec(), tree.clone())))
}

fn text_leaf(value: &str) -> HashTree {
    HashTree::leaf(value.as_bytes())
}

/// The example tree of the specification, with its own shape.
fn example() -> HashTree {
    let named = |label: &str, tree| HashTree::labeled(label.as_bytes().into(), tree);
    let a = HashTree::fork(
        HashTree::fork(named("x", text_leaf("hello")), HashTree::empty()),
        named("y", text_leaf("world")),
    );
    HashTree::fork(
        HashTree::fork(named("a", a), named("b", text_leaf("good"))),
        HashTree::fork(named("c", HashTree::empty()), named("d", text_leaf("morning"))),
    )
}

#[test]
fn the_digest_of_the_specification() {
    let expected = "eb5c5b2195e62d996b84c9bcc8259d19a83786a2f59e0878cec84c811f669aa0";
    assert_eq!(hex::encode(example().digest()), expected);
    assert_eq!(HashTree::from_cbor(&example().to_cbor()).unwrap().to_cbor(), example().to_cbor());
}

#[test]
fn a_path_is_found_absent_or_no_leaf() {
    let tree = example();
    assert_eq!(tree.lookup(&[b"a", b"y"]).unwrap(), Lookup::Found(b"world"));
    assert_eq!(tree.lookup(&[b"a", b"z"]).unwrap(), Lookup::Absent);
    assert_eq!(tree.lookup(&[b"d", b"below a leaf"]).unwrap(), Lookup::Absent);
    assert_eq!(tree.lookup(&[b"c"]).unwrap(), Lookup::Absent);
    assert!(matches!(tree.lookup(&[b"a"]), Err(Error::Malformed { .. })));
    assert_eq!(tree.require(&[b"e"]), Err(Error::PathAbsent("e".into())));
    assert_eq!(tree.children(&[b"a"]).unwrap(), [b"x", b"y"]);
    assert!(tree.children(&[b"d"]).unwrap().is_empty());
    assert!(tree.children(&[b"q"]).unwrap().is_empty());
}

#[test]
fn what_is_not_well_formed_is_refused() {
    let leaf_in_forest = [0x83, 1, 0x82, 3, 0x40, 0x81, 0];
    let descending = [0x83, 1, 0x83, 2, 0x41, b'b', 0x81, 0, 0x83, 2, 0x41, b'a', 0x81, 0];
    let twice = [0x83, 1, 0x83, 2, 0x41, b'b', 0x81, 0, 0x83, 2, 0x41, b'b', 0x81, 0];
    let short_digest = [0x82, 4, 0x41, 0];
    let unknown = [0x81, 5];
    let extra = [0x82, 0, 0];
    for bad in [&leaf_in_forest[..], &descending, &twice, &short_digest, &unknown, &extra, &[0x00]] {
        assert!(HashTree::from_cbor(bad).is_err(), "{bad:02x?}");
    }
    let across_a_pruned_one = HashTree::fork(
        HashTree::labeled(b"b".as_slice().into(), HashTree::empty()),
        HashTree::fork(HashTree::pruned([0; 32]), HashTree::labeled(b"a".as_slice().into(), HashTree::empty())),
    );
    assert!(HashTree::from_cbor(&across_a_pruned_one.to_cbor()).is_err());
    let nested_starts_anew = labels(&[("b", labels(&[("a", HashTree::leaf(b""))]))]);
    assert!(HashTree::from_cbor(&nested_starts_anew.to_cbor()).is_ok());
}

#[test]
fn depth_is_bounded() {
    let deep = |depth: usize| [[0x83, 1, 0x81, 0].repeat(depth), vec![0x81, 0]].concat();
    assert!(HashTree::from_cbor(&deep(MAX_DEPTH - 1)).is_ok());
    assert!(HashTree::from_cbor(&deep(MAX_DEPTH)).is_err());
    assert!(HashTree::from_cbor(&deep(1_000_000)).is_err());
}

#[test]
fn nodes_are_counted() {
    let row = |labels: u32| HashTree::from_labels((0..labels).map(|n| (n.to_be_bytes().to_vec(), HashTree::empty())));
    assert!(HashTree::from_cbor(&row(50_000).to_cbor()).is_ok());
    assert!(HashTree::from_cbor(&row(100_000).to_cbor()).is_err());
}

#[test]
fn paths_are_readable() {
    assert_eq!(path_text(&[b"subnet", &[1, 0xab]]), "subnet/0x01ab");
    assert_eq!(path_text(&[b"", &[b'a'; 65]]), format!("0x/{}…", "a".repeat(64)));
}
