"""Opening what clients have signed, as strictly as the operator wants."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from appliance.crypto import Request, Verifier, read_envelope_unverified
from appliance.errors import GatewayError

Mode = Literal["enforce", "report", "off"]
"""What verification does: refuse what fails, only report it, or not look."""

T = TypeVar("T")


@dataclass(slots=True)
class Envelopes:
    """Opens what clients have signed. ``mode`` says what happens to what does not verify. Both may be changed, for all
    sessions at once.
    """

    verifier: Verifier
    mode: Mode = "enforce"

    def open(self, frame: bytes, *, now_ns: int) -> tuple[Request, GatewayError | None]:
        """The request of a frame that holds an envelope, and with mode ``report`` what is wrong with it.

        Raises an EnvelopeError, Malformed, TooLarge or KeyUnusable; with modes ``report`` and ``off`` only Malformed or
        TooLarge.
        """
        return self.judge(
            lambda: self.verifier.open_envelope(frame, now_ns=now_ns), lambda: read_envelope_unverified(frame)
        )

    def judge(self, verify: Callable[[], T], read: Callable[[], T]) -> tuple[T, GatewayError | None]:
        """What ``verify`` returns; where it raises and the mode is not ``enforce``, what ``read`` returns and, with
        mode ``report``, what was raised.

        Raises what ``verify`` raises, else what ``read`` raises.
        """
        if self.mode == "off":
            return read(), None
        try:
            return verify(), None
        except GatewayError as error:
            if self.mode == "enforce":
                raise
            return read(), error
