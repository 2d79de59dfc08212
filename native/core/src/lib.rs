//! The pure core: decodes, verifies, signs and encodes what clients, canisters and the Internet Computer exchange.
//! It knows no Python, reads no clock and touches no socket.
#![forbid(unsafe_code)]

pub mod bls;
mod cache;
pub mod candid;
pub mod canister_signature;
pub mod cbor;
pub mod certificate;
pub mod content;
pub mod cose;
pub mod delegation;
pub mod envelope;
pub mod error;
pub mod first_message;
pub mod frame;
pub mod hash_tree;
pub mod key_file;
pub mod message;
pub mod poll;
pub mod principal;
mod proof;
pub mod public_key;
mod ranges;
pub mod request_id;
pub mod signature;
pub mod signing_key;
pub mod state_tree;
pub mod webauthn;
mod witness;

pub use error::{Error, Result};
