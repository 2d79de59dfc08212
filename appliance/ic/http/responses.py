"""Whether an HTTP response is an answer of the IC (interface specification, "HTTPS Interface")."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from appliance.crypto import PollAnswer
from appliance.errors import IcRefused, IcUnreachable

SHOWN_TEXT = 500  # characters of an error body that are kept

_ANSWERS = frozenset({200, 202})
_TRY_AGAIN = frozenset({408, 425, 429})  # beside all of 5xx


class Reply(NamedTuple):
    """An answer with a status of the IC's: 200, or 202 without a result."""

    status: int
    body: bytes
    answer: PollAnswer | None = None
    """What was read of it on its way."""


def read_response(
    url: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    answer: PollAnswer | None = None,
    *,
    clock: Callable[[], float] = time.time,
) -> Reply:
    """The reply in a response of the endpoint ``url``. ``clock`` is seconds since 1970.

    Raises IcUnreachable for a status that means "try again", and IcRefused for another one that is not the IC's and for
    a text where the IC sends CBOR.
    """
    if answer is not None:
        return Reply(status, body, answer)
    if status in _ANSWERS:
        content_type = headers.get("Content-Type", "").strip().lower()
        if content_type.startswith("text/") and body:
            kind = content_type.split(";")[0].strip()
            raise IcRefused(url, status, f"it answers {kind}; is it an endpoint of the IC?")
        return Reply(status, body)
    text = body[: 4 * SHOWN_TEXT].decode(errors="replace").strip()[:SHOWN_TEXT]
    if status >= 500 or status in _TRY_AGAIN:
        problem = f"HTTP {status}: {text}" if text else f"HTTP {status}"
        raise IcUnreachable(url, problem, read_retry_after(headers.get("Retry-After", ""), now_s=clock()))
    raise IcRefused(url, status, text or headers.get("Location", ""))


def read_retry_after(text: str, *, now_s: float) -> float | None:
    """Seconds, from a number or a date (RFC 9110 section 10.2.3); None where there is none or it makes no sense."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        # Without a time zone the date is in UTC, not in the zone of this machine.
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None
