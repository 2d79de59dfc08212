//! Witnesses: a hash tree pruned to what somebody wants to see, so that it reveals nothing else.

use std::collections::BTreeMap;

use crate::certification::hash_tree::{Edge, FORK, Find, HashTree, MAX_DEPTH, Shape, write_label, write_pruned};

impl HashTree {
    /// The same tree pruned to what shows these paths with all below them, or proves their absence.
    pub fn witness(&self, paths: &[&[&[u8]]]) -> HashTree {
        Show::paths(paths).of(self)
    }

    /// Appends the witness of one path as CBOR without a tag: the bytes of [`HashTree::witness`], which are needed once
    /// for each message. Where the path is shown, as there, no tree is made between.
    pub fn write_witness(&self, path: &[&[u8]], out: &mut Vec<u8>) {
        match self.find(path) {
            Find::Found(_) => write_shown(self, path, out),
            Find::Absent | Find::Unknown => self.witness(&[path]).write_cbor(out),
        }
    }
}

/// Writes a tree pruned to a path that it shows.
fn write_shown(tree: &HashTree, path: &[&[u8]], out: &mut Vec<u8>) {
    let [label, rest @ ..] = path else { return tree.write_cbor(out) };
    match tree.shape() {
        Shape::Fork(fork) => {
            out.extend(FORK);
            // As `find_label` walks.
            if fork.right.first().is_some_and(|first| *label >= &**first) {
                write_hidden(&fork.left, out);
                write_shown(&fork.right, path, out);
            } else {
                write_shown(&fork.left, path, out);
                write_hidden(&fork.right, out);
            }
        }
        Shape::Labeled(label, below) => {
            write_label(label, out);
            write_shown(below, rest, out);
        }
        _ => tree.write_cbor(out),
    }
}

/// Writes what is beside the path, as `select` prunes it.
fn write_hidden(tree: &HashTree, out: &mut Vec<u8>) {
    if tree.edges().0 == Edge::Blank {
        tree.write_cbor(out);
    } else {
        write_pruned(tree.digest(), out);
    }
}

/// What is to be shown of a tree.
#[derive(Debug)]
pub(crate) enum Show<'a> {
    /// All of it.
    All,
    /// What stands below these labels, or proof that they are absent. No label: the digest only.
    Below(BTreeMap<&'a [u8], Show<'a>>),
    /// All labels from the first to the last, both included, and proof that there are no others between.
    Range(&'a [u8], &'a [u8]),
}

impl<'a> Show<'a> {
    const NOTHING: Show<'static> = Show::Below(BTreeMap::new());

    /// Everything at and below the paths.
    pub(crate) fn paths(paths: &[&[&'a [u8]]]) -> Self {
        let mut show = Self::NOTHING;
        for path in paths {
            show.add(path, Show::All);
        }
        show
    }

    /// The children of a path from one label to another.
    pub(crate) fn range(path: &[&'a [u8]], first: &'a [u8], last: &'a [u8]) -> Self {
        let mut show = Self::NOTHING;
        show.add(path, Show::Range(first, last));
        show
    }

    /// No tree leads deeper than MAX_DEPTH, so what a path says beyond is not worth following.
    fn add(&mut self, path: &[&'a [u8]], what: Show<'a>) {
        let mut show = self;
        for label in path.iter().take(MAX_DEPTH) {
            match show {
                Show::Below(labels) => show = labels.entry(label).or_insert(Self::NOTHING),
                Show::All | Show::Range(..) => return,
            }
        }
        *show = what;
    }

    /// The tree pruned to this.
    pub(crate) fn of(&self, tree: &HashTree) -> HashTree {
        match (self, tree.shape()) {
            (Show::Below(labels), _) if labels.is_empty() => HashTree::pruned(*tree.digest()),
            (Show::All, _) | (_, Shape::Empty | Shape::Pruned | Shape::Leaf(_)) => tree.clone(),
            (Show::Below(labels), _) => select(tree, &kept(tree, labels)),
            (Show::Range(first, last), _) => range(tree, first, last),
        }
    }
}

/// A label that stays and what is shown below it; None for the digest only.
type Kept<'s> = (&'s [u8], Option<&'s Show<'s>>);

/// The labels that stay: those wanted, and the neighbours of those that are absent. In order, each once.
fn kept<'s>(tree: &'s HashTree, wanted: &'s BTreeMap<&[u8], Show<'_>>) -> Vec<Kept<'s>> {
    let mut kept: Vec<Kept<'s>> = Vec::with_capacity(wanted.len());
    for (label, show) in wanted {
        match tree.find_label(label) {
            Find::Found(_) => kept.push((label, Some(show))),
            Find::Absent => {
                let (before, after) = neighbours(tree, label);
                kept.extend([before, after].into_iter().flatten().map(|label| (label, None)));
            }
            Find::Unknown => {}
        }
    }
    // What is wanted comes before the same label as a neighbour.
    kept.sort_by_key(|(label, show)| (*label, show.is_none()));
    kept.dedup_by_key(|(label, _)| *label);
    kept
}

/// The highest label below and the lowest label above one that is absent.
fn neighbours<'t>(tree: &'t HashTree, label: &[u8]) -> (Option<&'t [u8]>, Option<&'t [u8]>) {
    let (mut before, mut after, mut here) = (None, None, tree);
    loop {
        match here.shape() {
            Shape::Fork(fork) => match fork.right.first() {
                Some(first) if *label >= **first => {
                    before = Some(&fork.left).filter(|left| left.first().is_some()).or(before);
                    here = &fork.right;
                }
                first => {
                    after = first.map(|first| &**first).or(after);
                    here = &fork.left;
                }
            },
            Shape::Labeled(found, _) if **found < *label => return (Some(found), after),
            Shape::Labeled(found, _) => return (before.and_then(last), Some(found)),
            _ => return (before.and_then(last), after),
        }
    }
}

/// The highest label of a forest.
fn last(tree: &HashTree) -> Option<&[u8]> {
    match tree.shape() {
        Shape::Labeled(label, _) => Some(label),
        Shape::Fork(fork) if fork.right.first().is_some() => last(&fork.right),
        Shape::Fork(fork) => last(&fork.left),
        _ => None,
    }
}

/// A forest pruned to some of its labels. Empty nodes stay: pruned ones in their place would hide that nothing is there.
///
/// Why it proves absence: `kept` has both neighbours of an absent label. All that stood between them was empty, so it
/// stays as it is, and a reader finds the two side by side.
fn select(tree: &HashTree, kept: &[Kept<'_>]) -> HashTree {
    match tree.shape() {
        _ if tree.edges().0 == Edge::Blank => tree.clone(),
        _ if kept.is_empty() => HashTree::pruned(*tree.digest()),
        Shape::Fork(fork) => {
            let in_left = |(label, _): &Kept<'_>| fork.right.first().is_none_or(|first| *label < &**first);
            let (left, right) = kept.split_at(kept.partition_point(in_left));
            HashTree::fork_as(*tree.digest(), select(&fork.left, left), select(&fork.right, right))
        }
        Shape::Labeled(label, below) => {
            let below = kept[0].1.map_or_else(|| HashTree::pruned(*below.digest()), |show| show.of(below));
            HashTree::labeled_as(*tree.digest(), label.clone(), below)
        }
        _ => tree.clone(),
    }
}

fn range(tree: &HashTree, first: &[u8], last: &[u8]) -> HashTree {
    if first > last {
        return HashTree::pruned(*tree.digest());
    }
    // An end that is absent moves out to its neighbour, whose label is shown but not what is below.
    let end = |label: &[u8]| matches!(tree.find_label(label), Find::Absent).then(|| neighbours(tree, label));
    let low = end(first).map_or(Some(first), |(before, _)| before);
    let high = end(last).map_or(Some(last), |(_, after)| after);
    cut(tree, low, high, &|label| first <= label && label <= last)
}

/// A forest pruned to the labels from `low` to `high`, where given; those for which `inside` is true are shown in full.
///
/// Why it proves the range: every label from `low` to `high` stays, with its place between the others, and both ends are
/// shown labels or the border of the forest. What becomes pruned is all below `low` or above `high`, so no gap within
/// holds anything pruned that was not pruned before. Digests are taken over (`fork_as`), so the root stays the same.
fn cut(tree: &HashTree, low: Option<&[u8]>, high: Option<&[u8]>, inside: &dyn Fn(&[u8]) -> bool) -> HashTree {
    match tree.shape() {
        _ if low.is_none() && high.is_none() => tree.clone(),
        Shape::Fork(fork) => {
            let split = fork.right.first().map(|first| &**first);
            let gone = |tree: &HashTree| select(tree, &[]);
            // Where the right side shows no label, all that can be kept is on the left.
            let left_gone = split.is_some_and(|split| low.is_some_and(|low| low >= split));
            let right_gone = split.is_none_or(|split| high.is_some_and(|high| high < split));
            let left_high = high.filter(|_| right_gone);
            let right_low = low.filter(|_| left_gone);
            let left = if left_gone { gone(&fork.left) } else { cut(&fork.left, low, left_high, inside) };
            let right = if right_gone { gone(&fork.right) } else { cut(&fork.right, right_low, high, inside) };
            HashTree::fork_as(*tree.digest(), left, right)
        }
        Shape::Labeled(label, _) if inside(label) => tree.clone(),
        Shape::Labeled(label, below)
            if low.is_none_or(|low| low <= &**label) && high.is_none_or(|high| &**label <= high) =>
        {
            HashTree::labeled_as(*tree.digest(), label.clone(), HashTree::pruned(*below.digest()))
        }
        _ => select(tree, &[]),
    }
}
