//! Hash trees of the map that canisters written with the Rust CDK certify their data with.

use ic_certified_map::{AsHashTree, HashTree as TheirTree, RbTree};
use icws_core::cbor;
use icws_core::hash_tree::{HashTree, Lookup};

/// The CBOR of one of their trees.
fn write(out: &mut Vec<u8>, tree: &TheirTree<'_>) {
    match tree {
        TheirTree::Empty => out.extend([0x81, 0]),
        TheirTree::Fork(sides) => {
            out.extend([0x83, 1]);
            write(out, &sides.0);
            write(out, &sides.1);
        }
        TheirTree::Labeled(label, below) => {
            out.extend([0x83, 2]);
            cbor::write_bytes(out, label);
            write(out, below);
        }
        TheirTree::Leaf(value) => {
            out.extend([0x82, 3]);
            cbor::write_bytes(out, value);
        }
        TheirTree::Pruned(digest) => {
            out.extend([0x82, 4]);
            cbor::write_bytes(out, digest);
        }
    }
}

fn read(tree: &TheirTree<'_>) -> HashTree {
    let mut data = Vec::new();
    write(&mut data, tree);
    let read = HashTree::from_cbor(&data).unwrap();
    assert_eq!(read.to_cbor(), data);
    assert_eq!(*read.digest(), tree.reconstruct());
    read
}

fn key(n: u8) -> Vec<u8> {
    format!("key {n:03}").into_bytes()
}

fn map() -> RbTree<Vec<u8>, Vec<u8>> {
    (10..90).step_by(2).map(|n| (key(n), vec![n])).collect()
}

#[test]
fn their_witnesses_say_here_what_they_say_there() {
    let map = map();
    for n in 0..100 {
        let witness = read(&map.witness(&key(n)));
        assert_eq!(*witness.digest(), map.root_hash());
        let expected = if map.get(&key(n)).is_some() { Lookup::Found(&[n]) } else { Lookup::Absent };
        assert_eq!(witness.lookup(&[&key(n)]).unwrap(), expected, "{n}");
    }
}

#[test]
fn a_witness_cut_out_of_theirs_stands_alone() {
    let map = map();
    let range = read(&map.value_range(&key(20), &key(70)));
    for n in 20..=70 {
        let witness = HashTree::from_cbor(&range.witness(&[&[&key(n)]]).to_cbor()).unwrap();
        assert_eq!(*witness.digest(), map.root_hash());
        assert_eq!(witness.lookup(&[&key(n)]).unwrap(), range.lookup(&[&key(n)]).unwrap(), "{n}");
        assert!(witness.children(&[]).unwrap().len() <= 2);
        assert!(witness.to_cbor().len() < range.to_cbor().len());
    }
}
