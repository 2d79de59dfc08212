//! Messages over WebSockets: what clients open with, what canisters certify for them, and replies to polls.

pub mod argument;
pub mod first_message;
pub mod message;
pub mod poll;
mod proof;
pub mod service;
