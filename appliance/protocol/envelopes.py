"""Opening the envelopes of clients, as strictly as the operator wants."""

from dataclasses import dataclass
from typing import Literal

from appliance.crypto import Request, Verifier, read_envelope_unverified
from appliance.errors import GatewayError

Mode = Literal["enforce", "report", "off"]
"""What verification does: refuse what fails, only report it, or not look."""


@dataclass(frozen=True, slots=True)
class Envelopes:
    """Opens frames that hold an envelope. ``mode`` says what happens to one that does not verify."""

    verifier: Verifier
    mode: Mode = "enforce"

    def open(self, frame: bytes, *, now_ns: int) -> tuple[Request, GatewayError | None]:
        """The request, and with mode ``report`` what is wrong with it.

        Raises an EnvelopeError, Malformed, TooLarge or KeyUnusable; with modes ``report`` and ``off`` only Malformed or
        TooLarge.
        """
        if self.mode == "off":
            return read_envelope_unverified(frame), None
        try:
            return self.verifier.open_envelope(frame, now_ns=now_ns), None
        except GatewayError as error:
            if self.mode == "enforce":
                raise
            return read_envelope_unverified(frame), error
