//! Candid: types from text, values to bytes and back. The work is done by the crates `candid` and `candid_parser`; this
//! room adds what they leave to their users: budgets, positions in errors, and types that may cross threads.

mod decoding;
mod misfit;
mod schema;
mod text;
mod types;
mod values;

pub use decoding::{decode_one, decode_untyped, decoder_config, decoding_cost, int_from_le_bytes, nat_from_le_bytes};
pub use schema::{Field, Label, Schema, Shape, ShapeId};
pub use text::{Interface, Method};
pub use types::Types;
pub use values::{decode_text, encode_text};
