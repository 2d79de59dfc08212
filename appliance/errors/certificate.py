"""Certificates and hash trees of the IC that cannot be trusted."""

from appliance.errors.reply import ReplyError


class CertificateError(ReplyError, reason="certificate"):
    """An answer of the IC cannot be trusted. Raise a subclass."""


class CertificateSignatureInvalid(CertificateError, reason="certificate_signature"):
    """The BLS signature, a key or a point in it is not valid (IC interface specification, "Certificate")."""

    problem: str
    sentence = "certificate signature is not valid: {problem}"


class CertificateStale(CertificateError, reason="certificate_stale"):
    """The certificate's time is too far in the past."""

    age_ns: int
    limit_ns: int
    sentence = "certificate is {age_s:.0f} s old, the limit is {limit_s:.0f} s; is the clock right?"


class CertificateFromFuture(CertificateError, reason="certificate_future"):
    """The certificate's time is too far in the future."""

    ahead_ns: int
    limit_ns: int
    sentence = "certificate is {ahead_s:.0f} s ahead of this clock, the limit is {limit_s:.0f} s; is the clock right?"


class CertificateNotAuthorized(CertificateError, reason="certificate_not_authorized"):
    """The delegated subnet may not certify for a canister or another subnet. Both are principals as text."""

    subnet: str
    subject: str
    sentence = "subnet {subnet} may not certify for {subject}"


class CertificateRangesUnknown(CertificateError, reason="certificate_ranges_unknown"):
    """The delegation does not reveal which canisters its subnet holds."""

    subnet: str
    sentence = "the delegation to subnet {subnet} does not show its canister ranges"


class CertificateNestedDelegation(CertificateError, reason="certificate_nested_delegation"):
    """The certificate of a delegation has a delegation itself."""

    sentence = "the certificate of a delegation must not have a delegation itself"


class PathUnknown(CertificateError, reason="path_unknown"):
    """The tree neither shows the path nor proves its absence. ``path`` is readable text, e.g. ``subnet/0x01ab``."""

    path: str
    sentence = "the hash tree neither shows {path} nor proves its absence"


class PathAbsent(CertificateError, reason="path_absent"):
    """The tree proves that a required path is absent."""

    path: str
    sentence = "the hash tree has no {path}"


class CertifiedDataMismatch(CertificateError, reason="certified_data_mismatch"):
    """The digest of a hash tree is not the canister's certified data."""

    canister: str
    sentence = "the hash tree does not match the certified data of canister {canister}"


class MessageNotCertified(CertificateError, reason="message_not_certified"):
    """The certified hash for this key is not the hash of the message."""

    key: str
    sentence = "the content of message {key} does not match the hash that the canister certified"
