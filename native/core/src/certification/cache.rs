//! A bounded memory of what has been verified.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Result;
use crate::encoding::request_id::{Hash, sha256};

/// Values by the SHA-256 of what they were made from. Safe to share between threads.
///
/// Two generations: what is used moves to the young one, and when that has half of the capacity it becomes the old one
/// and the old one is forgotten. So whatever is used once within half the capacity of new entries stays.
///
/// Not a list of the least recently used (the crate `lru`): that is one more dependency, links every entry into a list
/// and moves it there at each use, and evicts one by one under the lock. Here a use of a young entry changes nothing, and
/// both give the same promise to what is in use.
///
/// Everybody who shares a cache can evict everybody else: half the capacity of new entries forgets what was not used
/// meanwhile. An eviction costs a verification, never a wrong verdict. Entries exist only for what was verified, so it
/// takes valid signatures to evict; those that clients can choose are in caches apart ([`super::certificate`]).
pub(crate) struct Cache<V> {
    half: usize,
    generations: Mutex<Generations<V>>,
    turns: Box<[Mutex<()>]>,
}

struct Generations<V> {
    young: HashMap<Hash, V>,
    old: HashMap<Hash, V>,
}

impl<V: Clone> Cache<V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self::with_turns(capacity, 1)
    }

    /// Makes that many values at the same time, at most; which of them exclude each other is a matter of their keys.
    pub(crate) fn with_turns(capacity: usize, turns: usize) -> Self {
        let generations = Generations { young: HashMap::new(), old: HashMap::new() };
        let turns = (0..turns).map(|_| Mutex::new(())).collect();
        Self { half: capacity.div_ceil(2), generations: Mutex::new(generations), turns }
    }

    pub(crate) fn get(&self, key: &Hash) -> Option<V> {
        let mut generations = self.lock();
        if let Some(value) = generations.young.get(key) {
            return Some(value.clone());
        }
        let value = generations.old.remove(key)?;
        self.put(&mut generations, *key, value.clone());
        Some(value)
    }

    pub(crate) fn insert(&self, key: Hash, value: V) {
        self.put(&mut self.lock(), key, value);
    }

    fn put(&self, generations: &mut Generations<V>, key: Hash, value: V) {
        if self.half == 0 {
            return;
        }
        if generations.young.len() >= self.half {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key, value);
    }

    /// Makes a value that is not known, and remembers it unless that fails. Returns whether it was made.
    ///
    /// One of a key at a time: threads that verify the same thing, such as the signature of a block's calls, do so once.
    pub(crate) fn once(&self, key: Hash, make: impl FnOnce() -> Result<V>) -> Result<bool> {
        if self.get(&key).is_some() {
            return Ok(false);
        }
        let turn = &self.turns[usize::from(key[0]) % self.turns.len()];
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.get(&key).is_some() {
            return Ok(false);
        }
        self.insert(key, make()?);
        Ok(true)
    }

    /// A panic while the lock is held leaves at worst one entry out, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Generations<V>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key for a verdict on these parts. They cannot be shifted into each other: each has its length before it.
pub(crate) fn name_of(parts: &[&[u8]]) -> Hash {
    let framed = |part: &&[u8]| [&(part.len() as u64).to_be_bytes(), *part].concat();
    sha256(&parts.iter().flat_map(framed).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let cache = Cache::new(8);
        cache.insert([0; 32], 0);
        for n in 1..100 {
            cache.insert([n; 32], n);
            assert_eq!(cache.get(&[0; 32]), Some(0));
        }
        let kept = (0..100).filter(|n| cache.get(&[*n; 32]).is_some()).count();
        assert!((2..=8).contains(&kept), "{kept}");
        assert_eq!(cache.get(&[99; 32]), Some(99));
        assert_eq!(cache.get(&[1; 32]), None);
    }

    /// Half of the capacity in new entries forgets nothing that was used; twice the capacity forgets all that was not.
    #[test]
    fn room_is_what_was_given() {
        for capacity in 1..12u8 {
            let half = capacity.div_ceil(2);
            let cache = Cache::new(capacity.into());
            (0..100).for_each(|n| cache.insert([n; 32], n));
            let kept = (0..100).filter(|n| cache.get(&[*n; 32]).is_some()).count();
            assert!((half.into()..=2 * usize::from(half)).contains(&kept), "{capacity}: {kept}");
            (100..100 + half).for_each(|n| cache.insert([n; 32], n));
            (100..100 + half).for_each(|n| assert_eq!(cache.get(&[n; 32]), Some(n), "{capacity}"));
            (150..150 + 2 * half).for_each(|n| cache.insert([n; 32], n));
            (100..100 + half).for_each(|n| assert_eq!(cache.get(&[n; 32]), None, "{capacity}"));
        }
    }

    #[test]
    fn a_cache_without_room_keeps_nothing() {
        let cache = Cache::new(0);
        cache.insert([1; 32], 1);
        assert_eq!(cache.get(&[1; 32]), None);
    }
}
