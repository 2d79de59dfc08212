//! One error for the whole core. Each variant is one exception class of `appliance/errors/`, with the same facts in
//! the same order; the shell maps them one to one.

use std::fmt;

/// What can go wrong in the core. See `appliance/errors/` for the sentences people read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Bytes that do not decode as `what`.
    Malformed {
        /// What the bytes should have been, e.g. `envelope`.
        what: &'static str,
        /// What is wrong with them.
        problem: String,
    },
    /// A budget is exceeded.
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        size: u64,
        /// How large it may be.
        limit: u64,
        /// What is counted, e.g. `bytes`.
        unit: &'static str,
    },
    /// A BLS signature, key or point is not valid.
    CertificateSignatureInvalid(String),
    /// A certificate is too old.
    CertificateStale {
        /// How old it is.
        age_ns: u64,
        /// How old it may be.
        limit_ns: u64,
    },
    /// A certificate is from the future.
    CertificateFromFuture {
        /// How far ahead it is.
        ahead_ns: u64,
        /// How far ahead it may be.
        limit_ns: u64,
    },
    /// The subnet of the delegation may not certify for the subject. Principals as text.
    CertificateNotAuthorized {
        /// The subnet that signed.
        subnet: String,
        /// The canister or subnet asked about.
        subject: String,
    },
    /// The delegation does not reveal the canister ranges of the subnet.
    CertificateRangesUnknown(String),
    /// The certificate of a delegation has a delegation.
    CertificateNestedDelegation,
    /// The tree neither shows the path nor proves its absence.
    PathUnknown(String),
    /// The tree proves that the path does not exist.
    PathAbsent(String),
    /// The tree is not the one the canister (as text) certified.
    CertifiedDataMismatch(String),
    /// The message of this key is not what the tree says.
    MessageNotCertified(String),
    /// The ingress expiry has passed.
    EnvelopeExpired {
        /// Ingress expiry.
        expiry_ns: u64,
        /// Time of the check.
        now_ns: u64,
    },
    /// The ingress expiry is too far ahead.
    EnvelopeTooFarAhead {
        /// Ingress expiry.
        expiry_ns: u64,
        /// Time of the check.
        now_ns: u64,
        /// How far ahead it may be.
        limit_ns: u64,
    },
    /// A signature by or for a user does not verify.
    SignatureInvalid(String),
    /// The sender is not the principal of the key. Principals as text.
    SenderMismatch {
        /// What the envelope says.
        sender: String,
        /// What the key says.
        key_principal: String,
    },
    /// The delegation chain does not hold.
    DelegationInvalid(String),
    /// A delegation has expired.
    DelegationExpired(String),
    /// The delegation chain is limited to other canisters.
    CanisterNotTargeted(String),
    /// A key file or encoding that cannot be used.
    KeyUnusable(String),
    /// Candid that does not fit.
    Candid(String),
    /// A canister method answered `Err`.
    CanisterRefused {
        /// The method.
        method: &'static str,
        /// Its words.
        text: String,
    },
    /// The certified content of the message of this key is for another client than the reply says beside it.
    ClientKeyMismatch(String),
    /// A message is from the queue of another gateway.
    ForeignQueue {
        /// The key of the message.
        key: String,
        /// The gateway whose queue it should be, as text.
        gateway: String,
    },
    /// Messages are left out between two of a reply.
    HoleInReply {
        /// The nonce of the first that is missing.
        expected: u64,
        /// The nonce of the one that is shown next.
        got: u64,
    },
    /// No node signed the reply to a query.
    QuerySignatureMissing,
    /// The signature of a node over the reply to a query does not verify.
    QuerySignatureInvalid {
        /// The node as text.
        node: String,
        /// What is wrong with the signature, or with the node's key.
        problem: String,
    },
    /// The reply to a query is signed by somebody who is no node of the subnet. Principal as text.
    QuerySignatureUnknownNode(String),
    /// The reply to a query was signed too long ago, or in the future.
    QuerySignatureStale {
        /// When the node signed.
        signed_at_ns: u64,
        /// Time of the check.
        now_ns: u64,
        /// How far apart the two may be.
        limit_ns: u64,
    },
    /// The messages of a reply are not in the order of their nonces.
    NoncesNotAscending {
        /// The nonce of a message.
        previous: u64,
        /// The nonce of the one behind it.
        got: u64,
    },
}

/// The result of the core's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Shorthand for [`Error::Malformed`].
    pub fn malformed(what: &'static str, problem: impl Into<String>) -> Self {
        Self::Malformed { what, problem: problem.into() }
    }

    /// Shorthand for [`Error::KeyUnusable`].
    pub(crate) fn key_unusable(problem: impl Into<String>) -> Self {
        Self::KeyUnusable(problem.into())
    }

    /// Shorthand for [`Error::SignatureInvalid`].
    pub(crate) fn signature_invalid(problem: impl Into<String>) -> Self {
        Self::SignatureInvalid(problem.into())
    }
}

/// Fails with [`Error::TooLarge`] where there is more of something than its limit.
pub(crate) fn check_limit(what: &'static str, size: usize, limit: usize, unit: &'static str) -> Result<()> {
    if size > limit {
        return Err(Error::TooLarge { what, size: size as u64, limit: limit as u64, unit });
    }
    Ok(())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Error {}
