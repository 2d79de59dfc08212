//! How bytes are written and hashed: CBOR, representation-independent hashes, WebSocket frames. Knows no rule of the IC.

pub mod cbor;
pub mod frame;
pub mod request_id;
