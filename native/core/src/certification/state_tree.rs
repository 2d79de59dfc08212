//! A labelled tree that is changed in place and certified: the state of a replica, the certified data of a canister.
//!
//! It is a [`HashTree`] whose forests are kept balanced by size, so that a change costs a new node per level and a
//! copy of the whole tree costs nothing.

use std::fmt;

use crate::certification::hash_tree::{Find, Fork, HashTree, Label, MAX_PATH, Shape};
use crate::certification::witness::Show;
use crate::encoding::request_id::Hash;

/// A side of a fork may have this many times the labels of the other. With [`SINGLE`] the pair for which one rotation
/// is known to restore the balance after one insertion or removal.
const HEAVY: usize = 3;

/// A single rotation suffices where the inner grandchild has less than this many times the labels of the outer one.
const SINGLE: usize = 2;

/// A state tree. Cloning is cheap and makes a snapshot.
#[derive(Debug, Clone)]
pub struct StateTree {
    root: HashTree,
}

/// Why a leaf cannot be put at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misuse {
    /// The path has no label.
    Empty,
    /// The path has more than [`MAX_PATH`] labels.
    TooLong,
    /// There is a subtree at the path.
    EndsInSubtree,
    /// There is a leaf on the way.
    ThroughLeaf,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a path must have at least one label",
            Self::TooLong => "a path must not have more than 127 labels",
            Self::EndsInSubtree => "there is a subtree at the path",
            Self::ThroughLeaf => "the path leads through a leaf",
        })
    }
}

impl Default for StateTree {
    fn default() -> Self {
        Self { root: HashTree::empty() }
    }
}

impl StateTree {
    /// Puts a leaf, making the labels on the way.
    pub fn set(&mut self, path: &[&[u8]], value: &[u8]) -> Result<(), Misuse> {
        match path.len() {
            0 => return Err(Misuse::Empty),
            length if length > MAX_PATH => return Err(Misuse::TooLong),
            _ => self.root = put(Some(&self.root), path, value)?,
        }
        Ok(())
    }

    /// Removes the leaf or subtree at a path, if it is there. The labels on the way stay. An empty path clears the tree.
    pub fn delete(&mut self, path: &[&[u8]]) {
        self.root = without(&self.root, path).unwrap_or_else(HashTree::empty);
    }

    /// The leaf at a path.
    pub fn get(&self, path: &[&[u8]]) -> Option<&[u8]> {
        match self.root.find(path) {
            Find::Found(tree) => match tree.shape() {
                Shape::Leaf(value) => Some(value),
                _ => None,
            },
            Find::Absent | Find::Unknown => None,
        }
    }

    /// The labels below a path, in order.
    pub fn children(&self, path: &[&[u8]]) -> Vec<&[u8]> {
        self.root.children(path).unwrap_or_default()
    }

    /// The digest of the tree.
    pub fn digest(&self) -> &Hash {
        self.root.digest()
    }

    /// The whole tree as it is now.
    pub fn tree(&self) -> &HashTree {
        &self.root
    }

    /// Pruned to what shows these paths with all below them, or proves their absence.
    pub fn witness(&self, paths: &[&[&[u8]]]) -> HashTree {
        self.root.witness(paths)
    }

    /// Pruned to the children of a path from the first label to the last, both included, with proof that there are no
    /// others between.
    pub fn witness_range(&self, path: &[&[u8]], first: &[u8], last: &[u8]) -> HashTree {
        Show::range(path, first, last).of(&self.root)
    }
}

/// The tree with a leaf at a path; None is a tree that does not exist yet.
fn put(tree: Option<&HashTree>, path: &[&[u8]], value: &[u8]) -> Result<HashTree, Misuse> {
    let Some((label, rest)) = path.split_first() else {
        return match tree.map(HashTree::shape) {
            None | Some(Shape::Leaf(_)) => Ok(HashTree::leaf(value)),
            Some(_) => Err(Misuse::EndsInSubtree),
        };
    };
    match tree {
        Some(tree) if matches!(tree.shape(), Shape::Leaf(_)) => Err(Misuse::ThroughLeaf),
        Some(tree) if !matches!(tree.shape(), Shape::Empty) => {
            let below = match tree.find_label(label) {
                Find::Found(below) => Some(below),
                Find::Absent | Find::Unknown => None,
            };
            Ok(insert(tree, label, put(below, rest, value)?))
        }
        _ => Ok(HashTree::labeled((*label).into(), put(None, rest, value)?)),
    }
}

/// The forest with a subtree under a label, new or not.
fn insert(tree: &HashTree, label: &[u8], below: HashTree) -> HashTree {
    match tree.shape() {
        Shape::Fork(Fork { left, right, .. }) if is_right(right, label) => {
            balanced(left.clone(), insert(right, label, below))
        }
        Shape::Fork(Fork { left, right, .. }) => balanced(insert(left, label, below), right.clone()),
        Shape::Labeled(here, _) if **here == *label => HashTree::labeled(here.clone(), below),
        _ => {
            let new = HashTree::labeled(Label::from(label), below);
            if is_right(tree, label) { HashTree::fork(tree.clone(), new) } else { HashTree::fork(new, tree.clone()) }
        }
    }
}

/// Whether a label belongs into this tree or to the right of its lowest label.
fn is_right(tree: &HashTree, label: &[u8]) -> bool {
    tree.first().is_some_and(|first| *label >= **first)
}

/// The tree without what is at a path; None where nothing is left.
fn without(tree: &HashTree, path: &[&[u8]]) -> Option<HashTree> {
    let (label, rest) = path.split_first()?;
    match tree.find_label(label) {
        Find::Found(_) if rest.is_empty() => remove(tree, label),
        Find::Found(below) => {
            let below = without(below, rest).unwrap_or_else(HashTree::empty);
            Some(insert(tree, label, below))
        }
        Find::Absent | Find::Unknown => Some(tree.clone()),
    }
}

/// The forest without a label that it has; None where nothing is left.
fn remove(tree: &HashTree, label: &[u8]) -> Option<HashTree> {
    let Shape::Fork(Fork { left, right, .. }) = tree.shape() else { return None };
    Some(if is_right(right, label) {
        remove(right, label).map_or_else(|| left.clone(), |right| balanced(left.clone(), right))
    } else {
        remove(left, label).map_or_else(|| right.clone(), |left| balanced(left, right.clone()))
    })
}

/// A fork of two forests whose sizes have changed by one since they were in balance.
fn balanced(left: HashTree, right: HashTree) -> HashTree {
    match (left.shape(), right.shape()) {
        (_, Shape::Fork(heavy)) if right.size() > HEAVY * left.size() => match heavy.left.shape() {
            Shape::Fork(inner) if heavy.left.size() >= SINGLE * heavy.right.size() => HashTree::fork(
                HashTree::fork(left, inner.left.clone()),
                HashTree::fork(inner.right.clone(), heavy.right.clone()),
            ),
            _ => HashTree::fork(HashTree::fork(left, heavy.left.clone()), heavy.right.clone()),
        },
        (Shape::Fork(heavy), _) if left.size() > HEAVY * right.size() => match heavy.right.shape() {
            Shape::Fork(inner) if heavy.right.size() >= SINGLE * heavy.left.size() => HashTree::fork(
                HashTree::fork(heavy.left.clone(), inner.left.clone()),
                HashTree::fork(inner.right.clone(), right),
            ),
            _ => HashTree::fork(heavy.left.clone(), HashTree::fork(heavy.right.clone(), right)),
        },
        _ => HashTree::fork(left, right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certification::hash_tree::Lookup;
    use std::collections::BTreeMap;

    /// Numbers that look random and are the same each time (a linear congruential generator).
    fn numbers(count: usize) -> impl Iterator<Item = u32> {
        let mut state = 42u64;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32
        })
        .take(count)
    }

    fn key(n: u32) -> [u8; 2] {
        (n as u16 % 500).to_be_bytes()
    }

    fn depth(tree: &HashTree) -> usize {
        match tree.shape() {
            Shape::Fork(fork) => 1 + depth(&fork.left).max(depth(&fork.right)),
            _ => 0,
        }
    }

    fn is_balanced(tree: &HashTree) -> bool {
        match tree.shape() {
            Shape::Fork(fork) => {
                let (l, r) = (fork.left.size(), fork.right.size());
                l <= HEAVY * r && r <= HEAVY * l && is_balanced(&fork.left) && is_balanced(&fork.right)
            }
            _ => true,
        }
    }

    #[test]
    fn it_is_a_map_that_stays_balanced() {
        let (mut tree, mut model) = (StateTree::default(), BTreeMap::new());
        for (at, n) in numbers(4000).enumerate() {
            let label = key(n);
            if n % 3 == 0 {
                tree.delete(&[b"map", &label]);
                model.remove(&label);
            } else {
                tree.set(&[b"map", &label], &[at as u8]).unwrap();
                model.insert(label, [at as u8]);
            }
            let Find::Found(map) = tree.root.find(&[b"map"]) else { continue };
            assert!(is_balanced(map), "after {at}");
        }
        assert_eq!(tree.children(&[b"map"]), model.keys().map(|key| &key[..]).collect::<Vec<_>>());
        for n in 0..500 {
            let label = key(n);
            assert_eq!(tree.get(&[b"map", &label]), model.get(&label).map(|value| &value[..]));
        }
        let read = HashTree::from_cbor(&tree.tree().to_cbor()).unwrap();
        assert_eq!(read.digest(), tree.digest());
    }

    #[test]
    fn ascending_labels_make_no_list() {
        let mut tree = StateTree::default();
        (0..4096u32).for_each(|n| tree.set(&[&n.to_be_bytes()], b"").unwrap());
        assert!(depth(tree.tree()) <= 24, "{}", depth(tree.tree()));
        (0..4000u32).for_each(|n| tree.delete(&[&n.to_be_bytes()]));
        assert!(is_balanced(tree.tree()));
        assert_eq!(tree.children(&[]).len(), 96);
    }

    #[test]
    fn a_path_is_misused_in_four_ways() {
        let mut tree = StateTree::default();
        tree.set(&[b"a", b"b"], b"1").unwrap();
        let before = *tree.digest();
        assert_eq!(tree.set(&[], b"2"), Err(Misuse::Empty));
        assert_eq!(tree.set(&[&b"x"[..]; MAX_PATH + 1], b"2"), Err(Misuse::TooLong));
        assert_eq!(tree.set(&[b"a"], b"2"), Err(Misuse::EndsInSubtree));
        assert_eq!(tree.set(&[b"a", b"b", b"c"], b"2"), Err(Misuse::ThroughLeaf));
        assert_eq!(*tree.digest(), before);
        tree.set(&[&b"x"[..]; MAX_PATH], b"2").unwrap();
        tree.set(&[b"a", b"b"], b"2").unwrap();
        assert_eq!(tree.get(&[b"a", b"b"]), Some(&b"2"[..]));
        assert_eq!(tree.get(&[b"a"]), None);
    }

    #[test]
    fn what_is_deleted_leaves_its_parents() {
        let mut tree = StateTree::default();
        tree.set(&[b"a", b"b", b"c"], b"1").unwrap();
        let snapshot = tree.clone();
        tree.delete(&[b"a", b"nothing"]);
        assert_eq!(tree.digest(), snapshot.digest());
        tree.delete(&[b"a", b"b"]);
        assert!(tree.children(&[b"a"]).is_empty());
        assert_eq!(tree.children(&[]), [b"a"]);
        assert_eq!(snapshot.get(&[b"a", b"b", b"c"]), Some(&b"1"[..]));
        tree.delete(&[]);
        assert_eq!(tree.digest(), HashTree::empty().digest());
    }

    fn numbered(labels: impl Iterator<Item = u8>) -> StateTree {
        let mut tree = StateTree::default();
        labels.for_each(|n| tree.set(&[b"map", &[n]], &[n]).unwrap());
        tree
    }

    #[test]
    fn a_witness_shows_its_paths_and_nothing_else() {
        let tree = numbered((10..100).step_by(2));
        for n in 0..110u8 {
            let witness = tree.witness(&[&[b"map", &[n]]]);
            assert_eq!(witness.digest(), tree.digest());
            let read = HashTree::from_cbor(&witness.to_cbor()).unwrap();
            let is_there = tree.get(&[b"map", &[n]]).is_some();
            let expected = if is_there { Lookup::Found(&[n]) } else { Lookup::Absent };
            assert_eq!(read.lookup(&[b"map", &[n]]).unwrap(), expected, "{n}");
            let labels = read.children(&[b"map"]).unwrap();
            assert_eq!(labels.len(), if is_there || !(10..99).contains(&n) { 1 } else { 2 }, "{n}");
            let shown = labels.iter().filter(|label| read.lookup(&[b"map", label]) != Ok(Lookup::Unknown));
            assert_eq!(shown.count(), usize::from(is_there), "{n}");
        }
    }

    #[test]
    fn witnesses_of_several_paths_are_one_tree() {
        let mut tree = numbered(0..50);
        tree.set(&[b"other", b"a", b"b"], b"1").unwrap();
        let witness =
            tree.witness(&[&[b"map", &[3]], &[b"map", &[200]], &[b"other"], &[b"map", &[3], b"below"], &[b"z"]]);
        assert_eq!(witness.digest(), tree.digest());
        assert_eq!(witness.lookup(&[b"map", &[3]]).unwrap(), Lookup::Found(&[3]));
        assert_eq!(witness.lookup(&[b"map", &[200]]).unwrap(), Lookup::Absent);
        assert_eq!(witness.lookup(&[b"other", b"a", b"b"]).unwrap(), Lookup::Found(b"1"));
        assert_eq!(witness.lookup(&[b"z"]).unwrap(), Lookup::Absent);
        assert_eq!(witness.lookup(&[b"map", &[4]]).unwrap(), Lookup::Unknown);
        assert_eq!(tree.witness(&[]).to_cbor(), HashTree::pruned(*tree.digest()).to_cbor());
        assert_eq!(tree.witness(&[&[]]).to_cbor(), tree.tree().to_cbor());
    }

    #[test]
    fn a_range_is_shown_whole_with_proof_of_its_ends() {
        let tree = numbered((10..60).step_by(2));
        for (first, last) in (0..70u8).flat_map(|first| (0..70u8).map(move |last| (first, last))) {
            let witness = tree.witness_range(&[b"map"], &[first], &[last]);
            assert_eq!(witness.digest(), tree.digest());
            let read = HashTree::from_cbor(&witness.to_cbor()).unwrap();
            for n in 0..70u8 {
                let lookup = read.lookup(&[b"map", &[n]]).unwrap();
                let is_inside = (first..=last).contains(&n);
                match tree.get(&[b"map", &[n]]) {
                    Some(value) if is_inside => assert_eq!(lookup, Lookup::Found(value), "{first} {last} {n}"),
                    Some(_) => assert_eq!(lookup, Lookup::Unknown, "{first} {last} {n}"),
                    None if is_inside => assert_eq!(lookup, Lookup::Absent, "{first} {last} {n}"),
                    None => {}
                }
            }
        }
        assert_eq!(tree.witness_range(&[b"none"], &[0], &[9]).lookup(&[b"none"]).unwrap(), Lookup::Absent);
    }
}
