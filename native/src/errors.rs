//! The core's errors as the classes of `appliance/errors/`.

use icws_core::Error;
use pyo3::import_exception;
use pyo3::prelude::*;

macro_rules! classes {
    ($($name:ident),* $(,)?) => { $(import_exception!(appliance.errors, $name);)* };
}

classes!(
    CandidError,
    CanisterNotTargeted,
    CanisterRefused,
    CertificateFromFuture,
    CertificateNestedDelegation,
    CertificateNotAuthorized,
    CertificateRangesUnknown,
    CertificateSignatureInvalid,
    CertificateStale,
    CertifiedDataMismatch,
    ClientKeyMismatch,
    DelegationExpired,
    DelegationInvalid,
    EnvelopeExpired,
    EnvelopeTooFarAhead,
    ForeignQueue,
    HoleInReply,
    KeyUnusable,
    Malformed,
    MessageNotCertified,
    NoncesNotAscending,
    PathAbsent,
    PathUnknown,
    QuerySignatureInvalid,
    QuerySignatureMissing,
    QuerySignatureStale,
    QuerySignatureUnknownNode,
    SenderMismatch,
    SignatureInvalid,
    TooLarge,
);

/// The exception to raise for an error of the core.
pub fn raise(error: Error) -> PyErr {
    match error {
        Error::Malformed { what, problem } => Malformed::new_err((what, problem)),
        Error::TooLarge { what, size, limit, unit } => TooLarge::new_err((what, size, limit, unit)),
        Error::CertificateSignatureInvalid(problem) => CertificateSignatureInvalid::new_err((problem,)),
        Error::CertificateStale { age_ns, limit_ns } => CertificateStale::new_err((age_ns, limit_ns)),
        Error::CertificateFromFuture { ahead_ns, limit_ns } => CertificateFromFuture::new_err((ahead_ns, limit_ns)),
        Error::CertificateNotAuthorized { subnet, subject } => CertificateNotAuthorized::new_err((subnet, subject)),
        Error::CertificateRangesUnknown(subnet) => CertificateRangesUnknown::new_err((subnet,)),
        Error::CertificateNestedDelegation => CertificateNestedDelegation::new_err(()),
        Error::PathUnknown(path) => PathUnknown::new_err((path,)),
        Error::PathAbsent(path) => PathAbsent::new_err((path,)),
        Error::CertifiedDataMismatch(canister) => CertifiedDataMismatch::new_err((canister,)),
        Error::MessageNotCertified(key) => MessageNotCertified::new_err((key,)),
        Error::EnvelopeExpired { expiry_ns, now_ns } => EnvelopeExpired::new_err((expiry_ns, now_ns)),
        Error::EnvelopeTooFarAhead { expiry_ns, now_ns, limit_ns } => {
            EnvelopeTooFarAhead::new_err((expiry_ns, now_ns, limit_ns))
        }
        Error::SignatureInvalid(problem) => SignatureInvalid::new_err((problem,)),
        Error::SenderMismatch { sender, key_principal } => SenderMismatch::new_err((sender, key_principal)),
        Error::DelegationInvalid(problem) => DelegationInvalid::new_err((problem,)),
        Error::DelegationExpired(problem) => DelegationExpired::new_err((problem,)),
        Error::CanisterNotTargeted(problem) => CanisterNotTargeted::new_err((problem,)),
        Error::KeyUnusable(problem) => KeyUnusable::new_err((problem,)),
        Error::Candid(problem) => CandidError::new_err((problem,)),
        Error::CanisterRefused { method, text } => CanisterRefused::new_err((method, text)),
        Error::ClientKeyMismatch(key) => ClientKeyMismatch::new_err((key,)),
        Error::ForeignQueue { key, gateway } => ForeignQueue::new_err((key, gateway)),
        Error::HoleInReply { expected, got } => HoleInReply::new_err((expected, got)),
        Error::QuerySignatureMissing => QuerySignatureMissing::new_err(()),
        Error::QuerySignatureInvalid { node, problem } => QuerySignatureInvalid::new_err((node, problem)),
        Error::QuerySignatureUnknownNode(node) => QuerySignatureUnknownNode::new_err((node,)),
        Error::QuerySignatureStale { signed_at_ns, now_ns, limit_ns } => {
            QuerySignatureStale::new_err((signed_at_ns, now_ns, limit_ns))
        }
        Error::NoncesNotAscending { previous, got } => NoncesNotAscending::new_err((previous, got)),
    }
}

/// A [`CandidError`] that the shell finds itself.
pub fn candid_error(problem: String) -> PyErr {
    raise(Error::Candid(problem))
}
