"""Calls and queries that the IC or a canister did not answer as needed."""

from appliance.errors.base import GatewayError


class IcError(GatewayError, close_code=4101, reason="ic"):
    """The IC did not do what it was asked."""


class IcUnreachable(IcError, reason="ic_unreachable"):
    """No usable answer: connection, time-out or a code that says "try again" (429, 5xx). Worth trying again."""

    endpoint: str
    problem: str
    retry_after_s: float | None = None
    sentence = "{endpoint} does not answer: {problem}"


class IcRefused(IcError, reason="ic_refused"):
    """The endpoint refused the request itself (HTTP 4xx). Trying again is useless."""

    endpoint: str
    status: int
    text: str
    sentence = "{endpoint} refused the request with HTTP {status}: {text}"


class Rejected(IcError, close_code=4102, reason="rejected"):
    """The IC or the canister rejected the call or query (interface specification, "Reject codes"). Raise a subclass."""

    reject_code: int
    message: str
    error_code: str | None = None
    sentence = "rejected ({_codes}): {message}"

    @property
    def _codes(self) -> str:
        return f"{self.reject_code}, {self.error_code}" if self.error_code else str(self.reject_code)


class CertifiedReject(Rejected):
    """A certificate proves the rejection."""


class UncertifiedReject(Rejected):
    """An endpoint reports the rejection without proof, so that another endpoint may know better."""


class QueueTooLarge(IcError, reason="queue_too_large"):
    """The canister has more bytes in its queue than the IC lets through in a reply, from ``nonce`` on; so many messages
    had to be passed unread. A principal as text."""

    canister: str
    nonce: int
    passed: int = 0
    sentence = (
        "the queue of canister {canister} is too large for a reply of the IC from message {nonce} on; "
        "{passed} messages were passed unread; let the canister put fewer messages into a reply"
    )


class CallExpired(IcError, reason="call_expired"):
    """A call was not confirmed before its ingress expiry; it can no longer be executed unless it already was."""

    method: str
    last_problem: str
    sentence = "the IC did not accept {method} before it expired: {last_problem}"


class CanisterRefused(GatewayError, close_code=4102, reason="canister_refused"):
    """A canister method answered ``Err``; ``text`` is the canister's own."""

    method: str
    text: str
    sentence = "{method}: {text}"
