"""Calls and queries that the IC or a canister did not answer as needed."""

import re

from appliance.errors.base import GatewayError

_BEFORE = re.compile(
    r"(?:IC\d{4}: )?(?:Error from Canister [a-z0-9-]+: )?"
    r"(?:Canister called `ic0\.trap` with message: |Canister trapped explicitly: )?"
)
_BEHIND = re.compile(r"\.?\s*\n?(?:Consider gracefully handling|Canister Backtrace:|See documentation:).*", re.DOTALL)
_QUOTED = re.compile(r"(?:[Pp]anicked at )?'(.*)'(?:, \S+:\d+:\d+)?", re.DOTALL)


def _own_words(message: str) -> str:
    """What a canister said, out of the message of a replica; all of a message that has another form."""
    words = _BEHIND.sub("", _BEFORE.sub("", message, count=1)).strip()
    quoted = _QUOTED.fullmatch(words)
    return (quoted[1] if quoted else words) or message


class IcError(GatewayError, close_code=4101, reason="ic"):
    """A call or query failed at the IC."""


class IcUnreachable(IcError, reason="ic_unreachable"):
    """No usable answer: no connection, time-out, or a temporary HTTP status (408, 425, 429, 5xx). Retrying may help.

    ``retry_after_s``: no endpoint may be asked before that; None where another one may, or the same one at once.
    """

    endpoint: str
    problem: str
    retry_after_s: float | None = None
    sentence = "{endpoint} does not answer: {problem}"


class IcRefused(IcError, reason="ic_refused"):
    """An endpoint answered with HTTP 300 to 499, a web page, or another 2xx than the IC's. It proves nothing."""

    endpoint: str
    status: int
    text: str
    sentence = "{endpoint} refused the request with HTTP {status}: {text}"

    @property
    def blames_request(self) -> bool:
        """Whether the status says that the request is at fault, so that an honest endpoint may have sent it."""
        return self.status in (400, 413, 422)


class Rejected(IcError, close_code=4102, reason="rejected"):
    """The IC or the canister rejected the call or query (interface specification, "Reject codes"). Raise a subclass."""

    reject_code: int
    message: str
    error_code: str | None = None
    sentence = "rejected ({_codes}): {message}"

    @property
    def close_reason(self) -> str:
        """The canister's own words first: what the IC puts before and behind them would fill a close frame."""
        return f"{_own_words(self.message)} ({self._codes})"

    @property
    def _codes(self) -> str:
        return f"{self.reject_code}, {self.error_code}" if self.error_code else str(self.reject_code)


class CertifiedReject(Rejected):
    """A certificate proves the rejection."""


class UncertifiedReject(Rejected):
    """An endpoint reports the rejection without proof; another endpoint may answer otherwise."""

    sentence = "rejected ({_codes}), uncertified: {message}"


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
