//! The pure core: decodes, verifies, signs and encodes what clients, canisters and the Internet Computer exchange.
//! It knows no Python, reads no clock and touches no socket.
//!
//! Each room stands on those before it: `encoding`, `certification`, `signatures`, `requests`, `messages`; `candid`
//! stands beside them. Users of the crate import modules from its root, whatever room they are in.
#![forbid(unsafe_code)]

pub mod candid;
mod certification;
mod encoding;
pub mod error;
mod messages;
pub mod principal;
mod requests;
mod signatures;

pub use certification::{bls, certificate, hash_tree, state_tree};
pub use encoding::{cbor, frame, request_id};
pub use error::{Error, Result};
pub use messages::{argument, first_message, message, poll, service};
pub use requests::{content, delegation, envelope, query_reply};
pub use signatures::{canister_signature, cose, key_file, public_key, signature, signing_key, webauthn};
