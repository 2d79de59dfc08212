"""Bytes that came from the IC and are not what they should be. Never the fault of a client.

The decoders raise `Malformed`, `TooLarge` and `CandidError` whoever sent the bytes, and these close a client's socket
for good. Bytes of the IC are therefore read inside of ``reading_reply``.
"""

from contextlib import AbstractContextManager

from appliance.errors.base import Malformed, TooLarge
from appliance.errors.envelope import CandidError
from appliance.errors.ic import IcError

__all__ = ["NOT_DECODED", "ReplyError", "ReplyMalformed", "ReplyTooLarge", "reading_reply", "reply_error"]


class ReplyError(IcError, reason="reply"):
    """A reply of the IC cannot be used. Raise a subclass."""


class ReplyMalformed(ReplyError, reason="reply_malformed"):
    """A reply of the IC does not decode as ``what`` it should be."""

    what: str
    problem: str
    sentence = "malformed {what}: {problem}"


class ReplyTooLarge(ReplyError, reason="reply_too_large"):
    """A part of a reply of the IC exceeds its budget; ``size`` and ``limit`` are in ``unit``."""

    what: str
    size: int
    limit: int
    unit: str = "bytes"
    sentence = "{what} has {size} {unit}, the limit is {limit}"


NOT_DECODED = (Malformed, TooLarge, CandidError)
"""What decoders raise."""


def reply_error(error: Malformed | TooLarge | CandidError, what: str = "Candid") -> ReplyError:
    """What a decoder has raised, as the fault of the IC. ``what`` was being decoded, where it is Candid."""
    if isinstance(error, Malformed):
        return ReplyMalformed(error.what, error.problem)
    if isinstance(error, TooLarge):
        return ReplyTooLarge(error.what, error.size, error.limit, error.unit)
    return ReplyMalformed(what, error.problem)


def reading_reply(what: str = "Candid") -> AbstractContextManager[None]:
    """Turn what decoders raise inside into a ReplyError. ``what`` is being decoded, where it is Candid."""
    return _READING_CANDID if what == "Candid" else _Reading(what)


class _Reading(AbstractContextManager[None]):
    """A class, of which one object may be entered many times. On the paths of messages the same is written out with
    ``reply_error``: entering and leaving a context are three calls.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, NOT_DECODED):
            raise reply_error(error, self._what) from error


_READING_CANDID = _Reading("Candid")
