//! Why an exchange has no response.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Why an exchange has no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The body exceeds the limit, in bytes. `size` is its length if the response states it, else what was read.
    TooLarge {
        /// Bytes.
        size: u64,
        /// Bytes.
        limit: u64,
    },
    /// No connection, secured where it has to be, within this time.
    ConnectTimeout(Duration),
    /// No complete response within this time.
    Timeout(Duration),
    /// No connection.
    Connect(String),
    /// The handshake of TLS failed, e.g. because of the certificate.
    Tls(String),
    /// The proxy opens no tunnel.
    ProxyRefused {
        /// Of its response.
        status: u16,
        /// Of its response; may be empty.
        reason: String,
    },
    /// The connection ended, or what came is no HTTP.
    Broken(String),
    /// The client was closed.
    Closed,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size, limit } => write!(f, "the response has {size} bytes, the limit is {limit}"),
            Self::ConnectTimeout(limit) => write!(f, "no connection within {} s", limit.as_secs_f64()),
            Self::Timeout(limit) => write!(f, "no answer within {} s", limit.as_secs_f64()),
            Self::Connect(cause) => write!(f, "no connection: {cause}"),
            Self::Tls(cause) => write!(f, "no TLS: {cause}"),
            Self::ProxyRefused { status, reason } => write!(f, "the proxy refuses: HTTP {status} {reason}"),
            Self::Broken(cause) => f.write_str(cause),
            Self::Closed => f.write_str("the HTTP client was closed"),
        }
    }
}

/// An error with its causes, each once: many of them repeat their cause in their own text.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
