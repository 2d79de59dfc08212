//! Hash trees (interface specification, "Certificate", "Lookup"). Immutable and shared: a witness of a tree has the
//! nodes of the tree wherever it shows everything. Every node knows its digest, so nothing is hashed twice.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::encoding::cbor::{self, Budget, Value};
use crate::encoding::request_id::Hash;
use crate::{Error, Result};

/// A label, shared between the nodes that need it.
pub type Label = Arc<[u8]>;

/// The deepest tree that is read; also the longest path that is looked up, because none can lead deeper.
pub const MAX_DEPTH: usize = Budget::TREE.depth;

/// The longest path in a tree of ours, as the interface specification has it for `read_state`.
pub const MAX_PATH: usize = 127;

const WHAT: &str = "hash tree";

/// The first bytes of a fork in CBOR.
pub(crate) const FORK: [u8; 2] = [0x83, 1];

/// A hash tree, possibly pruned. Cloning is cheap.
#[derive(Clone)]
pub struct HashTree(Arc<Node>);

struct Node {
    digest: Hash,
    shape: Shape,
}

/// What a node is. `Fork` and `Labeled` (and what is pruned or empty between) make up a forest of labels.
pub(crate) enum Shape {
    Empty,
    Pruned,
    Leaf(Box<[u8]>),
    Labeled(Label, HashTree),
    Fork(Fork),
}

pub(crate) struct Fork {
    pub(crate) left: HashTree,
    pub(crate) right: HashTree,
    /// The lowest label shown in both.
    first: Option<Label>,
    /// What stands leftmost and rightmost. Empty nodes do not count: they hide nothing, so a look-up sees past them.
    edges: (Edge, Edge),
    /// How many labels are shown.
    size: usize,
}

/// What stands at the border of a forest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    /// Nothing.
    Blank,
    Label,
    Pruned,
}

/// What a tree says about the leaf at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// Its value.
    Found(&'a [u8]),
    /// There is none.
    Absent,
    /// Pruned away, or perhaps.
    Unknown,
}

/// What a tree says about the subtree at a path.
#[derive(Debug, Clone)]
pub enum Find<'a> {
    /// The subtree, which may itself be pruned or empty.
    Found(&'a HashTree),
    /// There is none.
    Absent,
    /// Perhaps pruned away.
    Unknown,
}

impl HashTree {
    /// The tree without anything.
    pub fn empty() -> Self {
        Self::new(domain("ic-hashtree-empty").finalize().into(), Shape::Empty)
    }

    /// A tree of which only the digest is shown.
    pub fn pruned(digest: Hash) -> Self {
        Self::new(digest, Shape::Pruned)
    }

    /// A leaf.
    pub fn leaf(value: &[u8]) -> Self {
        let digest = domain("ic-hashtree-leaf").chain_update(value).finalize().into();
        Self::new(digest, Shape::Leaf(value.into()))
    }

    /// A forest of labelled subtrees, as flat as can be.
    pub fn from_labels(labels: impl IntoIterator<Item = (Vec<u8>, HashTree)>) -> Self {
        let sorted: std::collections::BTreeMap<_, _> = labels.into_iter().collect();
        let trees: Vec<_> = sorted.into_iter().map(|(label, tree)| Self::labeled(label.into(), tree)).collect();
        Self::balanced(&trees)
    }

    fn balanced(trees: &[HashTree]) -> Self {
        match trees {
            [] => Self::empty(),
            [tree] => tree.clone(),
            _ => {
                let (left, right) = trees.split_at(trees.len() / 2);
                Self::fork(Self::balanced(left), Self::balanced(right))
            }
        }
    }

    pub(crate) fn labeled(label: Label, tree: HashTree) -> Self {
        let digest = domain("ic-hashtree-labeled").chain_update(&label).chain_update(tree.digest()).finalize().into();
        Self::labeled_as(digest, label, tree)
    }

    /// The same where the digest is known.
    pub(crate) fn labeled_as(digest: Hash, label: Label, tree: HashTree) -> Self {
        Self::new(digest, Shape::Labeled(label, tree))
    }

    pub(crate) fn fork(left: HashTree, right: HashTree) -> Self {
        let hasher = domain("ic-hashtree-fork").chain_update(left.digest()).chain_update(right.digest());
        Self::fork_as(hasher.finalize().into(), left, right)
    }

    /// The same where the digest is known.
    pub(crate) fn fork_as(digest: Hash, left: HashTree, right: HashTree) -> Self {
        let first = left.first().or(right.first()).cloned();
        let or = |edge, other| if edge == Edge::Blank { other } else { edge };
        let edges = (or(left.edges().0, right.edges().0), or(right.edges().1, left.edges().1));
        let size = left.size() + right.size();
        Self::new(digest, Shape::Fork(Fork { left, right, first, edges, size }))
    }

    fn new(digest: Hash, shape: Shape) -> Self {
        Self(Arc::new(Node { digest, shape }))
    }

    /// The digest of the whole tree, the same however much of it is pruned.
    pub fn digest(&self) -> &Hash {
        &self.0.digest
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// The lowest label of this forest.
    pub(crate) fn first(&self) -> Option<&Label> {
        match self.shape() {
            Shape::Labeled(label, _) => Some(label),
            Shape::Fork(fork) => fork.first.as_ref(),
            _ => None,
        }
    }

    pub(crate) fn edges(&self) -> (Edge, Edge) {
        match self.shape() {
            Shape::Fork(fork) => fork.edges,
            Shape::Labeled(..) | Shape::Leaf(_) => (Edge::Label, Edge::Label),
            Shape::Pruned => (Edge::Pruned, Edge::Pruned),
            Shape::Empty => (Edge::Blank, Edge::Blank),
        }
    }

    /// How many labels this forest shows.
    pub(crate) fn size(&self) -> usize {
        match self.shape() {
            Shape::Fork(fork) => fork.size,
            Shape::Labeled(..) => 1,
            _ => 0,
        }
    }

    // --- looking up -------------------------------------------------------------------------------------------------

    /// The leaf at a path. Fails with [`Error::Malformed`] where the path ends among labels.
    pub fn lookup(&self, path: &[&[u8]]) -> Result<Lookup<'_>> {
        match self.find(path) {
            Find::Found(tree) => match tree.shape() {
                Shape::Leaf(value) => Ok(Lookup::Found(value)),
                Shape::Empty => Ok(Lookup::Absent),
                Shape::Pruned => Ok(Lookup::Unknown),
                _ => Err(Error::malformed(WHAT, format!("{} is not a leaf", path_text(path)))),
            },
            Find::Absent => Ok(Lookup::Absent),
            Find::Unknown => Ok(Lookup::Unknown),
        }
    }

    /// The leaf that must be at a path. Fails with [`Error::PathAbsent`], [`Error::PathUnknown`] or as `lookup` does.
    pub fn require(&self, path: &[&[u8]]) -> Result<&[u8]> {
        match self.lookup(path)? {
            Lookup::Found(value) => Ok(value),
            Lookup::Absent => Err(Error::PathAbsent(path_text(path))),
            Lookup::Unknown => Err(Error::PathUnknown(path_text(path))),
        }
    }

    /// The subtree at a path.
    pub fn find(&self, path: &[&[u8]]) -> Find<'_> {
        let mut tree = self;
        for label in path {
            match tree.find_label(label) {
                Find::Found(below) => tree = below,
                other => return other,
            }
        }
        Find::Found(tree)
    }

    /// The subtree under a label of this forest, in as many steps as the forest is deep.
    ///
    /// Why one way down suffices: labels ascend from left to right (`read` refuses others), so a label at or above the
    /// lowest one shown on the right can only be there, and any other only on the left, or in the pruned trees between.
    /// Where the walk ends beside a label, the label sought lies between that one and its neighbour, which is what the
    /// flag of that side was taken from: absent if the neighbour is a label or the border, unknown if it is pruned.
    pub(crate) fn find_label(&self, label: &[u8]) -> Find<'_> {
        let mut tree = self;
        // Whether what stands next to `tree`, outside of it, is pruned.
        let (mut left_pruned, mut right_pruned) = (false, false);
        loop {
            let hidden = match tree.shape() {
                Shape::Fork(Fork { left, right, .. }) => {
                    if right.first().is_some_and(|first| *label >= **first) {
                        left_pruned = next_pruned(left.edges().1, left_pruned);
                        tree = right;
                    } else {
                        right_pruned = next_pruned(right.edges().0, right_pruned);
                        tree = left;
                    }
                    continue;
                }
                Shape::Labeled(here, below) => match label.cmp(here) {
                    std::cmp::Ordering::Equal => return Find::Found(below),
                    std::cmp::Ordering::Less => left_pruned,
                    std::cmp::Ordering::Greater => right_pruned,
                },
                Shape::Pruned => true,
                Shape::Empty => left_pruned || right_pruned,
                Shape::Leaf(_) => false,
            };
            return if hidden { Find::Unknown } else { Find::Absent };
        }
    }

    /// The labels shown below a path, in order; none where the path is absent or a leaf. Fails with
    /// [`Error::PathUnknown`].
    pub fn children(&self, path: &[&[u8]]) -> Result<Vec<&[u8]>> {
        let tree = match self.find(path) {
            Find::Found(tree) if matches!(tree.shape(), Shape::Pruned) => {
                return Err(Error::PathUnknown(path_text(path)));
            }
            Find::Found(tree) => tree,
            Find::Absent => return Ok(Vec::new()),
            Find::Unknown => return Err(Error::PathUnknown(path_text(path))),
        };
        let mut labels = Vec::with_capacity(tree.size());
        tree.collect_labels(&mut labels);
        Ok(labels)
    }

    fn collect_labels<'a>(&'a self, labels: &mut Vec<&'a [u8]>) {
        match self.shape() {
            Shape::Labeled(label, _) => labels.push(label),
            Shape::Fork(fork) => {
                fork.left.collect_labels(labels);
                fork.right.collect_labels(labels);
            }
            _ => {}
        }
    }

    // --- CBOR -------------------------------------------------------------------------------------------------------

    /// Reads a tree, tagged or not. Fails with [`Error::Malformed`]: no tree, labels not strictly ascending, a leaf
    /// among labels, deeper than [`MAX_DEPTH`], too many nodes.
    pub fn from_cbor(data: &[u8]) -> Result<Self> {
        Self::from_value(&cbor::decode(WHAT, data, Budget::TREE)?)
    }

    /// The same for a tree inside of a decoded value, which is at most [`MAX_DEPTH`] deep.
    pub fn from_value(value: &Value<'_>) -> Result<Self> {
        Self::read(value, None)
    }

    /// `forest` has the label last seen to the left in the same forest; it is None where a leaf may stand.
    fn read<'a>(value: &'a Value<'_>, forest: Option<&mut Option<&'a [u8]>>) -> Result<Self> {
        match (value.as_array(), forest) {
            (Some([Value::Unsigned(0)]), _) => Ok(Self::empty()),
            (Some([Value::Unsigned(1), left, right]), forest) => {
                let mut alone = None;
                let last = forest.unwrap_or(&mut alone);
                let left = Self::read(left, Some(last))?;
                Ok(Self::fork(left, Self::read(right, Some(last))?))
            }
            (Some([Value::Unsigned(2), Value::Bytes(label), tree]), forest) => {
                if forest.is_some_and(|last| last.replace(label).is_some_and(|last| last >= *label)) {
                    return Err(Error::malformed(WHAT, "labels that do not ascend"));
                }
                Ok(Self::labeled((*label).into(), Self::read(tree, None)?))
            }
            (Some([Value::Unsigned(3), Value::Bytes(value)]), None) => Ok(Self::leaf(value)),
            (Some([Value::Unsigned(3), Value::Bytes(_)]), Some(_)) => {
                Err(Error::malformed(WHAT, "a leaf where labels belong"))
            }
            (Some([Value::Unsigned(4), Value::Bytes(digest)]), _) => match (*digest).try_into() {
                Ok(digest) => Ok(Self::pruned(digest)),
                Err(_) => Err(Error::malformed(WHAT, format!("a digest of {} bytes", digest.len()))),
            },
            _ => Err(Error::malformed(WHAT, "a node of an unknown kind")),
        }
    }

    /// The tree as CBOR without a tag.
    pub fn to_cbor(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_cbor(&mut out);
        out
    }

    /// Appends the tree as CBOR without a tag.
    pub fn write_cbor(&self, out: &mut Vec<u8>) {
        match self.shape() {
            Shape::Empty => out.extend([0x81, 0]),
            Shape::Fork(fork) => {
                out.extend(FORK);
                fork.left.write_cbor(out);
                fork.right.write_cbor(out);
            }
            Shape::Labeled(label, tree) => {
                write_label(label, out);
                tree.write_cbor(out);
            }
            Shape::Leaf(value) => {
                out.extend([0x82, 3]);
                cbor::write_bytes(out, value);
            }
            Shape::Pruned => write_pruned(self.digest(), out),
        }
    }
}

/// Appends a labelled node up to what is below it.
pub(crate) fn write_label(label: &[u8], out: &mut Vec<u8>) {
    out.extend([0x83, 2]);
    cbor::write_bytes(out, label);
}

pub(crate) fn write_pruned(digest: &Hash, out: &mut Vec<u8>) {
    out.extend([0x82, 4]);
    cbor::write_bytes(out, digest);
}

impl fmt::Debug for HashTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashTree({})", path_text(&[self.digest()]))
    }
}

fn next_pruned(edge: Edge, beyond: bool) -> bool {
    match edge {
        Edge::Blank => beyond,
        Edge::Label => false,
        Edge::Pruned => true,
    }
}

fn domain(separator: &'static str) -> Sha256 {
    Sha256::new().chain_update([separator.len() as u8]).chain_update(separator)
}

/// A path for people, e.g. `subnet/0x01ab`; long labels are cut.
pub fn path_text(path: &[&[u8]]) -> String {
    path.iter().map(|label| label_text(label)).collect::<Vec<_>>().join("/")
}

fn label_text(label: &[u8]) -> String {
    let (shown, rest) = label.split_at(label.len().min(64));
    let dots = if rest.is_empty() { "" } else { "…" };
    if !shown.is_empty() && shown.iter().all(u8::is_ascii_graphic) {
        return format!("{}{dots}", String::from_utf8_lossy(shown));
    }
    let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{hex}{dots}")
}

#[cfg(test)]
mod tests;
