//! The pure core: decodes, verifies, signs and encodes what clients, canisters and the Internet Computer exchange.
//! It knows no Python, reads no clock and touches no socket.
#![forbid(unsafe_code)]

pub mod bls;
mod cache;
pub mod candid;
pub mod cbor;
pub mod certificate;
pub mod error;
pub mod frame;
pub mod hash_tree;
pub mod message;
pub mod poll;
pub mod principal;
mod proof;
mod ranges;
pub mod request_id;
pub mod state_tree;
mod witness;

pub use error::{Error, Result};
