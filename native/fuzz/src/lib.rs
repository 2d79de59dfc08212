//! Every decoder of the core as a fuzz target, with a corpus from `tests/vectors`.
//!
//! Two drivers feed the targets: libFuzzer, which needs a nightly compiler (`make fuzz`), and `tests/mutated.rs`, which
//! runs on a stable one with a bounded number of mutated inputs.

pub mod corpus;
pub mod mutation;
pub mod parts;
pub mod targets;
