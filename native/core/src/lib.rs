//! The pure core: decodes, verifies, signs and encodes what clients, canisters and the Internet Computer exchange.
//! It knows no Python, reads no clock and touches no socket.
#![forbid(unsafe_code)]

pub mod cbor;
pub mod error;
pub mod principal;
pub mod request_id;

pub use error::{Error, Result};
