//! Which canisters a subnet may certify for, by the certificate of its delegation (interface specification, "Delegation").

use crate::certification::hash_tree::{HashTree, Lookup};
use crate::encoding::cbor::{self, Budget, Value};
use crate::{Error, Result};

/// Closed intervals of canister ids, compared bytewise.
type Intervals = Vec<(Vec<u8>, Vec<u8>)>;

/// What a delegation shows of the canister ranges of its subnet.
#[derive(Debug)]
pub(crate) struct Ranges {
    /// `/canister_ranges/<subnet>/<first canister id>`, in order; None where the shard is pruned.
    shards: Vec<(Vec<u8>, Option<Intervals>)>,
    /// `/subnet/<subnet>/canister_ranges`, as certificates had it before the shards.
    flat: Option<Intervals>,
}

/// Whether a canister is in the ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Inside,
    Outside,
    Unknown,
}

impl Ranges {
    /// Reads what the tree of a delegation's certificate shows. Fails with [`Error::Malformed`].
    pub(crate) fn read(tree: &HashTree, subnet_id: &[u8]) -> Result<Self> {
        let labels = tree.children(&[b"canister_ranges", subnet_id]).unwrap_or_default();
        let shard = |label: &[u8]| intervals(tree, &[b"canister_ranges", subnet_id, label]);
        let shards = labels.into_iter().map(|label| Ok((label.to_vec(), shard(label)?))).collect::<Result<_>>()?;
        Ok(Self { shards, flat: intervals(tree, &[b"subnet", subnet_id, b"canister_ranges"])? })
    }

    /// The shard with the highest first id that is not above the canister's decides. Where it is pruned, or no shard is
    /// shown at all, the flat ranges do. Shards do not overlap, so no other one that is shown can hold the canister. One
    /// below the first shard shown is refused either way: what is not shown allows nothing.
    pub(crate) fn verdict(&self, canister_id: &[u8]) -> Verdict {
        let contain = |intervals: &Intervals| {
            let inside = intervals.iter().any(|(low, high)| **low <= *canister_id && *canister_id <= **high);
            if inside { Verdict::Inside } else { Verdict::Outside }
        };
        let flat = || self.flat.as_ref().map_or(Verdict::Unknown, contain);
        let place = self.shards.partition_point(|(first, _)| **first <= *canister_id);
        match (self.shards.is_empty(), place.checked_sub(1)) {
            (true, _) => flat(),
            (false, None) => Verdict::Outside,
            (false, Some(at)) => self.shards[at].1.as_ref().map_or_else(flat, contain),
        }
    }
}

/// The intervals in the leaf at a path; None where the tree does not show one.
fn intervals(tree: &HashTree, path: &[&[u8]]) -> Result<Option<Intervals>> {
    let Lookup::Found(leaf) = tree.lookup(path)? else { return Ok(None) };
    let value = cbor::decode("canister ranges", leaf, Budget::REPLY)?;
    let pairs = value.as_array().ok_or_else(|| malformed("not an array"))?;
    pairs.iter().map(interval).collect::<Result<_>>().map(Some)
}

fn interval(pair: &Value<'_>) -> Result<(Vec<u8>, Vec<u8>)> {
    match pair.as_array() {
        Some([Value::Bytes(low), Value::Bytes(high)]) => Ok((low.to_vec(), high.to_vec())),
        _ => Err(malformed("not a pair of canister ids")),
    }
}

fn malformed(problem: &str) -> Error {
    Error::malformed("canister ranges", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(pairs: &[(u8, u8)]) -> HashTree {
        let bytes: Vec<_> = pairs.iter().map(|(low, high)| ([*low], [*high])).collect();
        let pair = |(low, high): &'static ([u8; 1], [u8; 1])| Value::Array(vec![Value::Bytes(low), Value::Bytes(high)]);
        let bytes: &'static [_] = Box::leak(bytes.into_boxed_slice());
        HashTree::leaf(&cbor::encode(&Value::Array(bytes.iter().map(pair).collect())))
    }

    fn labels<const N: usize>(entries: [(&[u8], HashTree); N]) -> HashTree {
        HashTree::from_labels(entries.map(|(label, tree)| (label.to_vec(), tree)))
    }

    fn sharded<const N: usize>(shards: [(&[u8], HashTree); N]) -> HashTree {
        labels([(b"canister_ranges", labels([(b"s", labels(shards))]))])
    }

    fn flat(tree: HashTree) -> HashTree {
        labels([(b"subnet", labels([(b"s", labels([(b"canister_ranges", tree)]))]))])
    }

    fn verdicts(tree: &HashTree, ids: &[u8]) -> Vec<Verdict> {
        let ranges = Ranges::read(tree, b"s").unwrap();
        ids.iter().map(|id| ranges.verdict(&[*id])).collect()
    }

    #[test]
    fn intervals_are_closed() {
        use Verdict::{Inside, Outside};
        let expected = [Outside, Inside, Inside, Outside, Inside];
        assert_eq!(verdicts(&flat(leaf(&[(2, 4), (6, 6)])), &[1, 2, 4, 5, 6]), expected);
        assert_eq!(verdicts(&sharded([(&[2], leaf(&[(2, 4), (6, 6)]))]), &[1, 2, 4, 5, 6]), expected);
    }

    #[test]
    fn the_shard_below_the_canister_decides() {
        use Verdict::{Inside, Outside, Unknown};
        let pruned = HashTree::pruned([0; 32]);
        let tree = sharded([(&[2], leaf(&[(2, 3)])), (&[5], pruned), (&[8], leaf(&[(8, 9)]))]);
        assert_eq!(verdicts(&tree, &[1, 3, 4, 6, 8]), [Outside, Inside, Outside, Unknown, Inside]);
    }

    #[test]
    fn nothing_shown_is_nothing_known() {
        assert_eq!(verdicts(&HashTree::pruned([0; 32]), &[1]), [Verdict::Unknown]);
        assert_eq!(verdicts(&flat(HashTree::pruned([0; 32])), &[1]), [Verdict::Unknown]);
        assert_eq!(verdicts(&HashTree::empty(), &[1]), [Verdict::Unknown]);
    }

    #[test]
    fn ranges_of_another_form_are_malformed() {
        for bad in [&b"\x01"[..], b"\x81\x01", b"\x81\x81\x41a", b"junk"] {
            assert!(Ranges::read(&flat(HashTree::leaf(bad)), b"s").is_err(), "{bad:02x?}");
        }
    }
}
