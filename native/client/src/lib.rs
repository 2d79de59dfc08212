//! The IC client: one HTTP exchange with one endpoint, on a thread of its own.
//!
//! It decides nothing: which endpoint to ask, how often, and what an answer means is for its user. `Client` runs
//! exchanges and collects their outcomes in `Completions`, which wake an event loop through a file descriptor. A user may
//! bring a `Question` that reads responses on the client's threads.
#![forbid(unsafe_code)]

mod address;
mod client;
mod completions;
mod dial;
mod endpoint;
mod exchange;
mod failure;
mod names;
mod trust;

pub use address::{Address, AddressInvalid};
pub use client::{Client, Unusable};
pub use completions::{Completion, Completions};
pub use endpoint::{Endpoint, Proxy, ProxyAddress};
pub use exchange::{Answer, Later, Payload, Question, Reading, Request, Response};
pub use failure::Failure;
