//! What the Internet Computer certifies: hash trees, certificates over them, and the keys and caches to verify them with.

pub mod bls;
pub(crate) mod cache;
pub mod certificate;
pub mod hash_tree;
pub(crate) mod ranges;
pub mod state_tree;
pub(crate) mod witness;
