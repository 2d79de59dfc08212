//! Requests to the Internet Computer: content, delegation chain and the envelope around both.

pub mod content;
pub mod delegation;
pub mod envelope;
pub mod query_reply;
