"""Verification of client messages, as strict as the operator configures it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from appliance.crypto import Request, Verifier, read_envelope_unverified
from appliance.errors import GatewayError

Mode = Literal["enforce", "report", "off"]
"""Whether a message that fails verification is refused, only reported, or not verified at all."""

T = TypeVar("T")


@dataclass(slots=True)
class Envelopes:
    """Verifies and decodes signed messages of clients. Both fields may be changed, for all sessions at once."""

    verifier: Verifier
    mode: Mode = "enforce"

    def open(self, frame: bytes, *, now_ns: int) -> tuple[Request, GatewayError | None]:
        """Return the request of a frame that holds an envelope, and with mode ``report`` the error of its verification.

        Raises an EnvelopeError, Malformed, TooLarge or KeyUnusable; with modes ``report`` and ``off`` only Malformed or
        TooLarge.
        """
        return self.check(
            lambda: self.verifier.open_envelope(frame, now_ns=now_ns), lambda: read_envelope_unverified(frame)
        )

    def open_if_cheap(self, frame: bytes, *, now_ns: int) -> tuple[Request, GatewayError | None] | None:
        """As ``open`` where that costs no more than a signature of an ordinary scheme; None where it may cost more."""
        if self.mode == "off":
            return read_envelope_unverified(frame), None
        try:
            request = self.verifier.open_envelope_if_cheap(frame, now_ns=now_ns)
        except GatewayError as error:
            if self.mode == "enforce":
                raise
            return read_envelope_unverified(frame), error
        return None if request is None else (request, None)

    def check(self, verify: Callable[[], T], read: Callable[[], T]) -> tuple[T, GatewayError | None]:
        """Return the result of ``verify`` or ``read`` as the mode says, and with ``report`` the error of ``verify``.

        Raises the errors of ``verify`` with mode ``enforce``, and those of ``read`` otherwise.
        """
        if self.mode == "off":
            return read(), None
        try:
            return verify(), None
        except GatewayError as error:
            if self.mode == "enforce":
                raise
            return read(), error
