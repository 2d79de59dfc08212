//! Keys and signatures of senders: the schemes of requests, WebAuthn, canister signatures, and private keys with their files.

pub mod canister_signature;
pub mod cose;
pub mod key_file;
pub mod public_key;
pub mod signature;
pub mod signing_key;
pub mod webauthn;
