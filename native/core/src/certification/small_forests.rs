//! Look-ups and witnesses of every forest of up to five trees, compared with the specification's words: flatten, then
//! walk. What holds for these holds for all: each step of the walks sees one fork, what is beside it and what is below.

use super::hash_tree::{Find, HashTree};
use super::witness::Show;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Tree {
    Blank,
    Pruned,
    Label(u8),
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Verdict {
    Found,
    Absent,
    Unknown,
}

/// Every row of `count` trees; the labels that are in one are odd and ascend.
fn rows(count: usize) -> impl Iterator<Item = Vec<Tree>> {
    let kind = |number: usize, at: usize| match number / 3usize.pow(at as u32) % 3 {
        0 => Tree::Blank,
        1 => Tree::Pruned,
        _ => Tree::Label(2 * at as u8 + 1),
    };
    (0..3usize.pow(count as u32)).map(move |number| (0..count).map(|at| kind(number, at)).collect())
}

/// Every way to join a row by forks.
fn shapes(row: &[Tree]) -> Vec<HashTree> {
    match row {
        [Tree::Blank] => vec![HashTree::empty()],
        [Tree::Pruned] => vec![HashTree::pruned([7; 32])],
        [Tree::Label(label)] => vec![HashTree::labeled([*label].as_slice().into(), HashTree::leaf(&[*label]))],
        _ => (1..row.len())
            .flat_map(|split| {
                let (left, right) = (shapes(&row[..split]), shapes(&row[split..]));
                left.into_iter().flat_map(move |left| {
                    right.clone().into_iter().map(move |right| HashTree::fork(left.clone(), right))
                })
            })
            .collect(),
    }
}

/// What a row says about a label: absent only where nothing pruned stands between its neighbours.
fn expected(row: &[Tree], label: u8) -> Verdict {
    let row: Vec<_> = row.iter().filter(|tree| **tree != Tree::Blank).collect();
    let place = row.iter().position(|tree| matches!(tree, Tree::Label(l) if *l >= label)).unwrap_or(row.len());
    match (row.get(place), place.checked_sub(1).map(|before| row[before])) {
        (Some(Tree::Label(l)), _) if *l == label => Verdict::Found,
        (_, Some(Tree::Pruned)) => Verdict::Unknown,
        _ => Verdict::Absent,
    }
}

fn found(tree: &HashTree, label: u8) -> Verdict {
    match tree.find(&[&[label]]) {
        Find::Found(_) => Verdict::Found,
        Find::Absent => Verdict::Absent,
        Find::Unknown => Verdict::Unknown,
    }
}

/// The labels a tree shows, and those whose leaf it shows.
fn shown(tree: &HashTree) -> (Vec<u8>, Vec<u8>) {
    let labels: Vec<u8> = tree.children(&[]).unwrap_or_default().iter().map(|label| label[0]).collect();
    let leaves = labels.iter().copied().filter(|label| tree.require(&[&[*label]]).is_ok()).collect();
    (labels, leaves)
}

/// As its reader sees it: all digests are made anew.
fn read(witness: &HashTree) -> HashTree {
    HashTree::from_cbor(&witness.to_cbor()).unwrap()
}

fn all(longest: usize) -> impl Iterator<Item = (Vec<Tree>, HashTree)> {
    (1..=longest).flat_map(rows).flat_map(|row| shapes(&row).into_iter().map(move |tree| (row.clone(), tree)))
}

#[test]
fn lookups_agree_with_the_flattened_forest() {
    for (row, tree) in all(5) {
        for label in 0..=10 {
            assert_eq!(found(&tree, label), expected(&row, label), "{row:?} {label}");
        }
    }
}

#[test]
fn a_witness_proves_its_label_and_shows_no_other_leaf() {
    for (row, tree) in all(5) {
        for label in 0..=10 {
            let witness = read(&tree.witness(&[&[&[label]]]));
            let (labels, leaves) = shown(&witness);
            let context = format!("{row:?} {label}: {labels:?}");
            assert_eq!(witness.digest(), tree.digest(), "{context}");
            assert_eq!(found(&witness, label), expected(&row, label), "{context}");
            match expected(&row, label) {
                Verdict::Found => assert_eq!((labels, leaves), (vec![label], vec![label]), "{context}"),
                Verdict::Absent => {
                    let below = labels.iter().filter(|shown| **shown < label).count();
                    assert!(below <= 1 && labels.len() - below <= 1 && leaves.is_empty(), "{context}");
                }
                Verdict::Unknown => assert!(labels.is_empty(), "{context}"),
            }
        }
    }
}

#[test]
fn a_witness_that_is_written_has_the_bytes_of_the_one_that_is_made() {
    let written = |tree: &HashTree, path: &[&[u8]]| {
        let mut out = vec![0xff];
        tree.write_witness(path, &mut out);
        out.split_off(1)
    };
    for (row, tree) in all(5) {
        let root = HashTree::fork(HashTree::labeled([1].as_slice().into(), tree.clone()), HashTree::pruned([7; 32]));
        for label in 0..=10 {
            assert_eq!(written(&tree, &[&[label]]), tree.witness(&[&[&[label]]]).to_cbor(), "{row:?} {label}");
            let path: &[&[u8]] = &[&[1], &[label]];
            assert_eq!(written(&root, path), root.witness(&[path]).to_cbor(), "{row:?} {path:?}");
        }
    }
}

#[test]
fn a_witness_of_a_range_shows_all_of_it_and_no_other_leaf() {
    for (row, tree) in all(4) {
        for (first, last) in (0..=8u8).flat_map(|first| (first..=8).map(move |last| (first, last))) {
            let witness = read(&Show::range(&[], &[first], &[last]).of(&tree));
            assert_eq!(witness.digest(), tree.digest());
            let (_, leaves) = shown(&witness);
            let inside: Vec<u8> = shown(&tree).1.into_iter().filter(|label| (first..=last).contains(label)).collect();
            assert_eq!(leaves, inside, "{row:?} {first} to {last}");
            for label in first..=last {
                assert_eq!(found(&witness, label), expected(&row, label), "{row:?} {first} to {last}: {label}");
            }
        }
    }
}
