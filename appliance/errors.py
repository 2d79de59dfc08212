"""Everything that can go wrong, as one tree of exceptions.

A class holds the facts of the case as fields and makes the sentence a person reads from them. ``close_code`` is what a
socket is closed with when the error ends it: a registered code (RFC 6455 section 7.4.1 and the IANA registry) where one
fits, else 4000-4499 when the client should come back and 4500-4999 when coming back with the same thing is useless.
``reason`` is the short label that metrics and logs count by.

This module imports nothing of the package, because the native core raises these classes.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(eq=False)
class GatewayError(Exception):
    """Root of the tree. An instance of a subclass carries its facts as fields."""

    close_code: ClassVar[int] = 1011
    reason: ClassVar[str] = "internal"

    def __str__(self) -> str:
        return "the gateway failed"


# --- bytes that are not what they should be -------------------------------------------------------------------------


@dataclass(eq=False)
class Malformed(GatewayError):
    """Bytes that do not decode as what they should be, e.g. ``what="envelope"``, ``problem="duplicate key 'sender'"``."""

    what: str
    problem: str

    close_code = 4500
    reason = "malformed"

    def __str__(self) -> str:
        return f"malformed {self.what}: {self.problem}"


@dataclass(eq=False)
class TooLarge(GatewayError):
    """Something exceeds its budget; ``size`` and ``limit`` are in ``unit``."""

    what: str
    size: int
    limit: int
    unit: str = "bytes"

    close_code = 1009
    reason = "too_large"

    def __str__(self) -> str:
        return f"{self.what} has {self.size} {self.unit}, the limit is {self.limit}"


# --- certificates and hash trees ------------------------------------------------------------------------------------


@dataclass(eq=False)
class CertificateError(GatewayError):
    """What the IC answered cannot be trusted. Never the fault of a client."""

    reason = "certificate"

    def __str__(self) -> str:
        return "the certificate cannot be trusted"


@dataclass(eq=False)
class CertificateSignatureInvalid(CertificateError):
    """The BLS signature, a key or a point in it is not valid (IC interface specification, "Certificate")."""

    problem: str

    reason = "certificate_signature"

    def __str__(self) -> str:
        return f"certificate signature is not valid: {self.problem}"


@dataclass(eq=False)
class CertificateStale(CertificateError):
    """The certificate's time is too far in the past."""

    age_ns: int
    limit_ns: int

    reason = "certificate_stale"

    def __str__(self) -> str:
        return (
            f"certificate is {self.age_ns // 10**9} s old, the limit is {self.limit_ns // 10**9} s; is the clock right?"
        )


@dataclass(eq=False)
class CertificateFromFuture(CertificateError):
    """The certificate's time is too far in the future."""

    ahead_ns: int
    limit_ns: int

    reason = "certificate_future"

    def __str__(self) -> str:
        return (
            f"certificate is {self.ahead_ns // 10**9} s ahead of this clock, the limit is {self.limit_ns // 10**9} s; "
            "is the clock right?"
        )


@dataclass(eq=False)
class CertificateNotAuthorized(CertificateError):
    """The delegated subnet does not hold the canister (or is not the subnet) the certificate is asked about.

    ``subnet`` and ``subject`` are principals as text.
    """

    subnet: str
    subject: str

    reason = "certificate_not_authorized"

    def __str__(self) -> str:
        return f"subnet {self.subnet} may not certify for {self.subject}"


@dataclass(eq=False)
class CertificateRangesUnknown(CertificateError):
    """The delegation does not reveal which canisters its subnet holds."""

    subnet: str

    reason = "certificate_ranges_unknown"

    def __str__(self) -> str:
        return f"the delegation to subnet {self.subnet} does not show its canister ranges"


@dataclass(eq=False)
class CertificateNestedDelegation(CertificateError):
    """The certificate of a delegation has a delegation itself."""

    reason = "certificate_nested_delegation"

    def __str__(self) -> str:
        return "the certificate of a delegation must not have a delegation itself"


@dataclass(eq=False)
class PathUnknown(CertificateError):
    """The tree neither shows the path nor proves its absence. ``path`` is readable text, e.g. ``subnet/0x01ab``."""

    path: str

    reason = "path_unknown"

    def __str__(self) -> str:
        return f"the hash tree does not tell whether {self.path} exists"


@dataclass(eq=False)
class PathAbsent(CertificateError):
    """The tree proves that a path which must be there is not."""

    path: str

    reason = "path_absent"

    def __str__(self) -> str:
        return f"the hash tree has no {self.path}"


@dataclass(eq=False)
class CertifiedDataMismatch(CertificateError):
    """The digest of the tree that came along is not the canister's certified data."""

    canister: str

    reason = "certified_data_mismatch"

    def __str__(self) -> str:
        return f"the tree is not the one that canister {self.canister} certified"


@dataclass(eq=False)
class MessageNotCertified(CertificateError):
    """The tree has another hash for the message of this key."""

    key: str

    reason = "message_not_certified"

    def __str__(self) -> str:
        return f"the content of message {self.key} is not what the canister certified"


# --- requests signed by clients -------------------------------------------------------------------------------------


@dataclass(eq=False)
class EnvelopeError(GatewayError):
    """A request that the IC would not accept from its sender."""

    close_code = 4501
    reason = "envelope"

    def __str__(self) -> str:
        return "the envelope is not acceptable"


@dataclass(eq=False)
class EnvelopeExpired(EnvelopeError):
    """``ingress_expiry`` has passed. Both in nanoseconds since 1970."""

    expiry_ns: int
    now_ns: int

    close_code = 4503
    reason = "envelope_expired"

    def __str__(self) -> str:
        late_s = (self.now_ns - self.expiry_ns) / 1e9
        return f"the envelope expired {late_s:.0f} s ago; is the client's clock right?"


@dataclass(eq=False)
class EnvelopeTooFarAhead(EnvelopeError):
    """``ingress_expiry`` lies beyond what the IC accepts."""

    expiry_ns: int
    now_ns: int
    limit_ns: int

    close_code = 4503
    reason = "envelope_too_far_ahead"

    def __str__(self) -> str:
        ahead_s = (self.expiry_ns - self.now_ns) / 1e9
        return (
            f"the envelope expires in {ahead_s:.0f} s, the limit is {self.limit_ns // 10**9} s; "
            "is the client's clock right?"
        )


@dataclass(eq=False)
class SignatureInvalid(EnvelopeError):
    """The signature over the request, a delegation or a first message does not verify."""

    problem: str

    close_code = 4502
    reason = "signature"

    def __str__(self) -> str:
        return f"signature does not verify: {self.problem}"


@dataclass(eq=False)
class SenderMismatch(EnvelopeError):
    """``sender`` is not the principal of ``sender_pubkey``. Both are principals as text."""

    sender: str
    key_principal: str

    close_code = 4504
    reason = "sender_mismatch"

    def __str__(self) -> str:
        return f"sender {self.sender} is not the principal of its key, {self.key_principal}"


@dataclass(eq=False)
class DelegationInvalid(EnvelopeError):
    """The delegation chain does not hold: too long, cyclic, too many targets, permissions."""

    problem: str

    close_code = 4505
    reason = "delegation"

    def __str__(self) -> str:
        return f"the delegation chain does not hold: {self.problem}"


@dataclass(eq=False)
class DelegationExpired(DelegationInvalid):
    """A delegation has expired."""

    reason = "delegation_expired"


@dataclass(eq=False)
class CanisterNotTargeted(DelegationInvalid):
    """The delegation chain is limited to other canisters."""

    reason = "delegation_target"


# --- keys and Candid ------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class KeyUnusable(GatewayError):
    """A key file or key encoding that cannot be used."""

    problem: str

    reason = "key"

    def __str__(self) -> str:
        return f"the key cannot be used: {self.problem}"


@dataclass(eq=False)
class CandidError(GatewayError):
    """Candid that does not decode or encode as the type says, or a type that does not parse."""

    problem: str

    close_code = 4500
    reason = "candid"

    def __str__(self) -> str:
        return f"Candid: {self.problem}"


@dataclass(eq=False)
class CanisterRefused(GatewayError):
    """A canister method answered ``Err``: the canister's own words."""

    method: str
    text: str

    close_code = 4102
    reason = "canister_refused"

    def __str__(self) -> str:
        return f"{self.method}: {self.text}"
