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
    """Bytes that do not decode as ``what`` they should be."""

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
    """A key that cannot be used: of a file, or of a client that signs with it."""

    problem: str

    close_code = 4511
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


# --- the IC ---------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class IcError(GatewayError):
    """The IC did not do what it was asked."""

    close_code = 4101
    reason = "ic"

    def __str__(self) -> str:
        return "the IC did not answer as it should"


@dataclass(eq=False)
class IcUnreachable(IcError):
    """No usable answer: connection, time-out or a code that says "try again" (429, 5xx). Worth trying again."""

    endpoint: str
    problem: str
    retry_after_s: float | None = None

    reason = "ic_unreachable"

    def __str__(self) -> str:
        return f"{self.endpoint} does not answer: {self.problem}"


@dataclass(eq=False)
class IcRefused(IcError):
    """The endpoint refused the request itself (HTTP 4xx). Trying again is useless."""

    endpoint: str
    status: int
    text: str

    reason = "ic_refused"

    def __str__(self) -> str:
        return f"{self.endpoint} refused the request with HTTP {self.status}: {self.text}"


@dataclass(eq=False)
class Rejected(IcError):
    """The IC or the canister rejected the call or query (interface specification, "Reject codes").

    ``certified`` says whether the rejection was read from a certificate.
    """

    reject_code: int
    message: str
    error_code: str | None = None
    certified: bool = False

    close_code = 4102
    reason = "rejected"

    def __str__(self) -> str:
        code = f"{self.reject_code}, {self.error_code}" if self.error_code else str(self.reject_code)
        return f"rejected ({code}): {self.message}"


@dataclass(eq=False)
class CallExpired(IcError):
    """A call was not confirmed before its ingress expiry; it can no longer be executed unless it already was."""

    method: str
    last_problem: str

    reason = "call_expired"

    def __str__(self) -> str:
        return f"{self.method} was not taken by the IC before it expired: {self.last_problem}"


# --- sessions -------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class SessionError(GatewayError):
    """A client did what its protocol does not allow."""

    close_code = 4510
    reason = "protocol"

    def __str__(self) -> str:
        return "the protocol does not allow that"


@dataclass(eq=False)
class TextFrame(SessionError):
    """A text frame, where the protocol has binary frames only."""

    close_code = 1003
    reason = "text_frame"

    def __str__(self) -> str:
        return "text frames are not part of this protocol, send binary ones"


@dataclass(eq=False)
class WrongCanister(SessionError):
    """A message for another canister than the session's. Principals as text."""

    canister: str
    session_canister: str

    close_code = 4506
    reason = "wrong_canister"

    def __str__(self) -> str:
        return f"the message is for canister {self.canister}, this session is with {self.session_canister}"


@dataclass(eq=False)
class WrongMethod(SessionError):
    """A call of a method that is not allowed at this point of the session."""

    method: str
    expected: str

    close_code = 4507
    reason = "wrong_method"

    def __str__(self) -> str:
        return f"a call of {self.method!r} is not allowed here, expected {self.expected!r}"


@dataclass(eq=False)
class WrongSender(SessionError):
    """A message signed by another principal than the one that opened the session. Principals as text."""

    sender: str
    session_sender: str

    close_code = 4504
    reason = "wrong_sender"

    def __str__(self) -> str:
        return f"the message is from {self.sender}, this session was opened by {self.session_sender}"


@dataclass(eq=False)
class WrongGateway(SessionError):
    """The client opens with the principal of another gateway. Principals as text."""

    gateway: str
    this_gateway: str

    close_code = 4513
    reason = "wrong_gateway"

    def __str__(self) -> str:
        return f"the message names gateway {self.gateway}, this one is {self.this_gateway}"


@dataclass(eq=False)
class WrongGeneration(SessionError):
    """A client that speaks another wire generation than the one served here, or than its canister.

    ``spoken`` is what the client speaks and ``served`` what is served, both as words such as ``v1 or v2``; ``canister``
    is a principal as text, None where it is the address that does not fit.
    """

    spoken: str
    served: str
    canister: str | None = None

    close_code = 4514
    reason = "wrong_generation"

    def __str__(self) -> str:
        if self.canister is not None:
            return f"canister {self.canister} serves clients of {self.served}, this one speaks {self.spoken}"
        return f"this is an address of {self.served}, clients of {self.spoken} belong at {self._paths}"

    @property
    def _paths(self) -> str:
        return " or ".join(f"/{name}" for name in self.spoken.split(" or "))


@dataclass(eq=False)
class OutOfOrder(SessionError):
    """A message of the client repeats, overtakes or leaves out another; by their sequence numbers."""

    expected: int
    received: int

    close_code = 4515
    reason = "out_of_order"

    def __str__(self) -> str:
        return f"message {self.received} came where {self.expected} was due"


@dataclass(eq=False)
class UntimelyMessage(SessionError):
    """A message of the client was signed too long ago, or in the future. Both in nanoseconds since 1970."""

    timestamp_ns: int
    now_ns: int
    limit_ns: int

    close_code = 4503
    reason = "untimely"

    def __str__(self) -> str:
        off_s = (self.now_ns - self.timestamp_ns) / 1e9
        when = f"{off_s:.0f} s ago" if off_s >= 0 else f"{-off_s:.0f} s ahead of this clock"
        return f"the message was signed {when}, the limit is {self.limit_ns // 10**9} s; is the client's clock right?"


@dataclass(eq=False)
class NotOpenYet(SessionError):
    """A message before the canister took the client."""

    waiting_for: str

    close_code = 4516
    reason = "not_open_yet"

    def __str__(self) -> str:
        return f"the session is not open yet, wait for the {self.waiting_for}"


@dataclass(eq=False)
class DuplicateClient(SessionError):
    """A client key that has an open connection already."""

    client: str

    close_code = 4508
    reason = "duplicate_client"

    def __str__(self) -> str:
        return f"client {self.client} is connected already"


@dataclass(eq=False)
class ClientLeaving(SessionError):
    """A client key whose connection before this one is gone, which its canister is being told."""

    client: str

    close_code = 4107
    reason = "client_leaving"

    def __str__(self) -> str:
        return f"the canister is being told that client {self.client} has left, come back in a moment"


@dataclass(eq=False)
class ReplayedEnvelope(SessionError):
    """A signed message that was used before."""

    request_id: str

    close_code = 4512
    reason = "replayed"

    def __str__(self) -> str:
        return f"the message {self.request_id[:16]}… was used before"


@dataclass(eq=False)
class CanisterNotServed(SessionError):
    """A canister that the configuration does not let in. A principal as text."""

    canister: str

    close_code = 4509
    reason = "canister_not_served"

    def __str__(self) -> str:
        return f"this gateway does not serve canister {self.canister}"


# --- sockets that have to end ---------------------------------------------------------------------------------------


@dataclass(eq=False)
class SlowClient(GatewayError):
    """A client does not read: its outbox is full."""

    waiting: int
    limit: int

    close_code = 4100
    reason = "slow_client"

    def __str__(self) -> str:
        return f"{self.waiting} bytes wait for this client, the limit is {self.limit}"


@dataclass(eq=False)
class RelayQueueFull(GatewayError):
    """A client sends faster than the IC takes its messages; ``limit`` is in ``unit``."""

    limit: int
    unit: str = "messages"

    close_code = 4104
    reason = "relay_queue_full"

    def __str__(self) -> str:
        return f"{self.limit} {self.unit} wait to be relayed already"


@dataclass(eq=False)
class RateLimited(GatewayError):
    """A client does more than is allowed: ``what`` it does, the ``rate`` as text, and the time until it may again."""

    what: str
    rate: str
    burst: int
    delay_ns: int

    close_code = 4108
    reason = "rate_limited"

    def __str__(self) -> str:
        number, _, time = self.rate.partition("/")
        delay = f"{-(-self.delay_ns // 10**6) / 1000:.3f}".rstrip("0").rstrip(".")
        return f"the limit is {number} {self.what}/{time}, {self.burst} at once; come back in {delay} s"


@dataclass(eq=False)
class OpenTimeout(GatewayError):
    """The session was not open in time; ``waiting_for`` says what was missing."""

    limit_s: float
    waiting_for: str

    close_code = 4105
    reason = "open_timeout"

    def __str__(self) -> str:
        return f"no {self.waiting_for} within {self.limit_s:g} s"


@dataclass(eq=False)
class PingTimeout(GatewayError):
    """The client does not answer pings."""

    limit_s: float

    close_code = 4106
    reason = "ping_timeout"

    def __str__(self) -> str:
        return f"no pong within {self.limit_s:g} s"


@dataclass(eq=False)
class RefusedByPlugin(GatewayError):
    """A plugin said no, for good. ``text`` is what the plugin wants the client to be told."""

    plugin: str
    text: str

    close_code = 4518
    reason = "refused_by_plugin"

    def __str__(self) -> str:
        return self.text


@dataclass(eq=False)
class PostponedByPlugin(RefusedByPlugin):
    """A plugin said not now."""

    retry_after_s: float

    close_code = 4110
    reason = "postponed_by_plugin"

    def __str__(self) -> str:
        return f"{self.text}; come back in {self.retry_after_s:g} s"


@dataclass(eq=False)
class PluginUnavailable(RefusedByPlugin):
    """A plugin that has to be asked does not answer."""

    text: str = "what has to allow this does not answer at the moment, try again later"

    close_code = 1013
    reason = "plugin_unavailable"


@dataclass(eq=False)
class CanisterForgot(GatewayError):
    """The canister lost its clients (reinstalled, upgraded without keeping them). A principal as text."""

    canister: str

    close_code = 4103
    reason = "canister_forgot"

    def __str__(self) -> str:
        return f"canister {self.canister} has forgotten its clients, open a new connection"


@dataclass(eq=False)
class CanisterFull(GatewayError):
    """A canister has as many clients as the configuration allows."""

    canister: str
    limit: int

    close_code = 1013
    reason = "canister_full"

    def __str__(self) -> str:
        return f"canister {self.canister} has {self.limit} clients, which is the limit; try again later"


@dataclass(eq=False)
class CanisterPaused(GatewayError):
    """The operator has paused a canister. A principal as text."""

    canister: str

    close_code = 1013
    reason = "canister_paused"

    def __str__(self) -> str:
        return f"canister {self.canister} is paused at this gateway; try again later"


@dataclass(eq=False)
class CanisterRemoved(GatewayError):
    """The operator has taken a canister out of the configuration, or to v0 or from it. A principal as text."""

    canister: str

    close_code = 4517
    reason = "canister_removed"

    def __str__(self) -> str:
        return f"canister {self.canister} is not served here any more"


@dataclass(eq=False)
class ClosedByOperator(GatewayError):
    """The operator has closed the connection. ``code`` is the close code, ``text`` what the client is told."""

    text: str = "closed by the operator of the gateway"
    code: int = 4109

    close_code = 4109
    reason = "closed_by_operator"

    def __str__(self) -> str:
        return self.text


@dataclass(eq=False)
class GatewayStopping(GatewayError):
    """The gateway is going down or restarting; ``retry_after_s`` is when to come back, None for at once."""

    retry_after_s: float | None = None

    close_code = 1012
    reason = "stopping"

    def __str__(self) -> str:
        when = "" if self.retry_after_s is None else f" in {self.retry_after_s:g} s"
        return f"the gateway restarts, open a new connection{when}"


# --- what an operator did -------------------------------------------------------------------------------------------


@dataclass(eq=False)
class ConfigProblem:
    """One fault of a configuration: where it is, which key, what is wrong and what would be right."""

    place: str
    key: str
    problem: str

    def __str__(self) -> str:
        return f"{self.place}: {self.key}: {self.problem}" if self.key else f"{self.place}: {self.problem}"


@dataclass(eq=False)
class ConfigError(GatewayError):
    """A configuration that cannot be used. ``problems`` has every fault found, in file order."""

    problems: list[ConfigProblem]

    reason = "config"

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


@dataclass(eq=False)
class RestartNeeded(ConfigError):
    """A configuration that changes what only a start can change. ``problems`` has each such key."""

    reason = "restart_needed"


@dataclass(eq=False)
class ForceNeeded(ConfigError):
    """A configuration that would remove every canister while sessions are open."""

    reason = "force_needed"


@dataclass(eq=False)
class ReloadError(GatewayError):
    """What was asked of the configuration is not possible as things are. Nothing was changed."""

    reason = "reload"

    def __str__(self) -> str:
        return "the configuration cannot be changed now"


@dataclass(eq=False)
class ReloadFailed(ReloadError):
    """A part of the gateway could not follow a configuration that it was ready for."""

    reason = "reload_failed"

    def __str__(self) -> str:
        return (
            "a part of the gateway could not follow the configuration, so that the one before was put back; see the log"
        )


@dataclass(eq=False)
class EtagMismatch(ReloadError):
    """The configuration that runs is not the one that a change was made for. Both by their etag."""

    expected: str
    running: str

    reason = "etag_mismatch"

    def __str__(self) -> str:
        return f"the configuration has changed meanwhile: {self.running} runs, not {self.expected}; look at it again"


@dataclass(eq=False)
class ConfirmationPending(ReloadError):
    """A configuration runs on trial."""

    generation: int

    reason = "confirmation_pending"

    def __str__(self) -> str:
        return f"generation {self.generation} of the configuration runs on trial; confirm it or roll it back first"


@dataclass(eq=False)
class NothingToConfirm(ReloadError):
    """No configuration runs on trial."""

    reason = "nothing_to_confirm"

    def __str__(self) -> str:
        return "no configuration waits to be confirmed; was it rolled back already?"


@dataclass(eq=False)
class NothingToRollBackTo(ReloadError):
    """No other configuration is known to be good."""

    reason = "nothing_to_roll_back_to"

    def __str__(self) -> str:
        return "there is no other good generation of the configuration to roll back to"


@dataclass(eq=False)
class GenerationUnknown(ReloadError):
    """The history of the configuration does not have this generation, or not any more."""

    generation: int

    reason = "generation_unknown"

    def __str__(self) -> str:
        return f"generation {self.generation} of the configuration is not in the history"
