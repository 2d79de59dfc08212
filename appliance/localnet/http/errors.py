"""Errors that are answered by an HTTP status, with the texts of the replica (`rs/validator`, `rs/http_endpoints`).

Agents parse some of the texts, above all ``Invalid request expiry: ``, so they must not be reworded.
"""

from datetime import UTC, datetime

from appliance.errors import (
    CanisterNotTargeted,
    DelegationExpired,
    DelegationInvalid,
    EnvelopeExpired,
    EnvelopeTooFarAhead,
    GatewayError,
    KeyUnusable,
    Malformed,
    SenderMismatch,
    SignatureInvalid,
    TooLarge,
)

EXPIRY_WINDOW_NS = 330 * 10**9
"""How far ahead ``ingress_expiry`` may be: 5 minutes and 30 seconds of permitted drift."""


class HttpError(Exception):
    """The request is answered with this HTTP status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def utc(time_ns: int) -> str:
    """A time as the replica writes it, e.g. ``2025-05-01 23:55:18.005285297 UTC``."""
    seconds, rest = divmod(time_ns, 10**9)
    text = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
    if rest:
        digits = f"{rest:09}"
        text += "." + (digits[:3] if digits.endswith("000000") else digits[:6] if digits.endswith("000") else digits)
    return f"{text} UTC"


def http_error_of(error: GatewayError, *, now_ns: int) -> HttpError:
    """The answer to a request that the native core refused."""
    status = 413 if isinstance(error, TooLarge) and error.unit == "bytes" else 400
    return HttpError(status, _text_of(error, now_ns))


def _text_of(error: GatewayError, now_ns: int) -> str:
    match error:
        case EnvelopeExpired() | EnvelopeTooFarAhead():
            text = f"Invalid request expiry: {_expiry(error.expiry_ns, now_ns)}"
        case SignatureInvalid(problem):
            text = f"Invalid signature: Invalid basic signature: {problem}"
        case KeyUnusable(problem):
            text = f"Invalid signature: Invalid public key: {problem}"
        case SenderMismatch(sender, key_principal):
            text = f"The user id {sender} does not match the public key of {key_principal}"
        case DelegationExpired(problem):
            text = f"Invalid delegation expiry: Specified sender delegation has expired: {problem}"
        case CanisterNotTargeted(problem):
            text = f"Canister is not one of the delegation targets: {problem}"
        case DelegationInvalid(problem):
            text = f"Invalid delegation: {problem}"
        case Malformed():
            text = f"Failed to deserialize cbor request: {error}"
        case _:
            text = f"Malformed request: {error}"
    return text


def _expiry(expiry_ns: int, now_ns: int) -> str:
    return (
        "Specified ingress_expiry not within expected range: "
        f"Minimum allowed expiry: {utc(now_ns)}, "
        f"Maximum allowed expiry: {utc(now_ns + EXPIRY_WINDOW_NS)}, "
        f"Provided expiry:        {utc(expiry_ns)}"
    )
