//! What the Internet Computer certifies: hash trees, certificates over them, and the keys and caches to verify them with.

pub mod bls;
mod cache;
pub mod certificate;
pub mod hash_tree;
mod ranges;
#[cfg(test)]
mod small_forests;
pub mod state_tree;
mod witness;
