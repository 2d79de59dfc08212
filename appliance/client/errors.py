"""What a client finds wrong, and how a connection can end: one class per fact, all of the package's one tree.

Whatever a gateway does wrong ends the connection: a client that went on would trust what it cannot verify. The close
codes are those of the JavaScript SDK, so that operators see the same ones from every client.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.errors import GatewayError, TextFrame

_MAX_SHOWN = 40  # characters of a gateway's text in a sentence


@dataclass(eq=False)
class ClientError(GatewayError):
    """Root of what the client SDK raises itself."""

    close_code = 4000
    reason = "client"

    @property
    def orderly(self) -> bool:
        """Whether one side wanted the end, and nothing went wrong."""
        return False

    def __str__(self) -> str:
        return "the connection to the canister failed"


@dataclass(eq=False)
class MessageError(ClientError):
    """A message that the gateway must not have sent. ``expected`` is the sequence number that was due."""

    expected: int

    reason = "message"

    def __str__(self) -> str:
        return f"message {self.expected} of the canister is not acceptable"


@dataclass(eq=False)
class MessageUntrusted(MessageError):
    """The message does not prove that the canister sent it; ``cause`` says why (a CertificateError or Malformed)."""

    cause: GatewayError

    reason = "message_untrusted"

    def __str__(self) -> str:
        return f"message {self.expected} cannot be trusted: {self.cause}"


@dataclass(eq=False)
class SequenceGap(MessageError):
    """Messages were left out or overtaken: ``received`` came where ``expected`` was due."""

    received: int

    reason = "sequence_gap"

    def __str__(self) -> str:
        missing = self.received - self.expected
        return f"message {self.received} came where {self.expected} was due: {missing} lost or overtaken"


@dataclass(eq=False)
class SequenceRepeated(MessageError):
    """A message that was here before came again."""

    received: int

    reason = "sequence_repeated"

    def __str__(self) -> str:
        return f"message {self.received} came again where {self.expected} was due"


@dataclass(eq=False)
class MessageForOther(MessageError):
    """A genuine message of the canister for another client. Both keys as ``<principal>_<nonce>``."""

    client: str
    this_client: str

    reason = "message_for_other"

    def __str__(self) -> str:
        return f"message {self.expected} is for client {self.client}, this one is {self.this_client}"


@dataclass(eq=False)
class MessageLate(MessageError):
    """The canister sent the message longer ago than the client accepts."""

    age_ns: int
    limit_ns: int

    reason = "message_late"

    def __str__(self) -> str:
        return (
            f"message {self.expected} was sent {self.age_ns // 10**9} s ago, the limit is {self.limit_ns // 10**9} s; "
            "is the clock right?"
        )


@dataclass(eq=False)
class ServiceMessageInvalid(MessageError):
    """A service message that does not decode or is out of place."""

    problem: str

    reason = "service_message"

    def __str__(self) -> str:
        return f"message {self.expected}, a service message: {self.problem}"


@dataclass(eq=False)
class AckInvalid(MessageError):
    """The canister acknowledges what was not sent, or less than before; ``sent`` and ``acked`` are the last of each."""

    last_incoming: int
    acked: int
    sent: int

    reason = "ack_invalid"

    def __str__(self) -> str:
        return (
            f"message {self.expected} acknowledges {self.last_incoming}, but {self.sent} were sent and {self.acked} "
            "acknowledged before"
        )


@dataclass(eq=False)
class OutOfTurn(ClientError):
    """Something came where something else was ``due``. Both as words for the sentence."""

    received: str
    due: str

    reason = "out_of_turn"

    def __str__(self) -> str:
        return f"{self.received} came where {self.due} was due"


@dataclass(eq=False)
class OtherGeneration(ClientError):
    """The gateway speaks another wire generation than the client's, ``generation``; ``received`` is what it sent."""

    received: str
    generation: str

    reason = "other_generation"

    def __str__(self) -> str:
        return (
            f"the gateway sent {self.received}, but this client speaks {self.generation}; is this the right wire path?"
        )


@dataclass(eq=False)
class UnexpectedText(TextFrame):
    """The gateway sent a text frame, which the client's wire generation does not have."""

    text: str
    generation: str

    def __str__(self) -> str:
        return (
            f"the gateway sent the text {shown(self.text)}, but {self.generation} has binary frames only; "
            "is this the right wire path?"
        )


@dataclass(eq=False)
class OpeningRefused(ClientError):
    """The gateway of v0 answered the first message with "0"."""

    reason = "opening_refused"

    def __str__(self) -> str:
        return "the canister did not take the client; is its key registered there?"


@dataclass(eq=False)
class AckTimeout(ClientError):
    """The canister did not acknowledge these messages of the client in time."""

    sequence_nums: Sequence[int]
    limit_ns: int

    reason = "ack_timeout"

    def __str__(self) -> str:
        first, last = self.sequence_nums[0], self.sequence_nums[-1]
        which = f"message {first}" if first == last else f"messages {first} to {last}"
        return f"{which} not acknowledged by the canister within {self.limit_ns / 1e9:g} s"


@dataclass(eq=False)
class NotOpen(ClientError):
    """The session is not open yet, or not any more."""

    state: str

    reason = "not_open"

    def __str__(self) -> str:
        return f"the session is {self.state}, not open"


@dataclass(eq=False)
class ClosedByCanister(ClientError):
    """The canister ended the session; ``why`` is its reason, e.g. ``KeepAliveTimeout``."""

    why: str

    reason = "closed_by_canister"

    def __str__(self) -> str:
        return f"the canister closed the session: {self.why}"


@dataclass(eq=False)
class ClosedByApplication(ClosedByCanister):
    """The canister ended the session because its application wanted to: nothing went wrong."""

    why: str = "ClosedByApplication"

    close_code = 4001
    reason = "closed_by_application"

    @property
    def orderly(self) -> bool:
        """Always."""
        return True


@dataclass(eq=False)
class ConnectionClosed(ClientError):
    """The socket is closed; ``code`` and ``text`` are those of the close frame (1006 without one)."""

    code: int
    text: str

    reason = "connection_closed"

    @property
    def orderly(self) -> bool:
        """Whether the close frame says so."""
        return self.code in (1000, 1001)

    @property
    def come_back(self) -> bool:
        """Whether a new connection may succeed: 4500 to 4999 say that it will not, and so do some registered codes."""
        return self.code not in (1002, 1003, 1007, 1008, 1009, 1010) and not 4500 <= self.code <= 4999

    def __str__(self) -> str:
        return f"connection closed ({self.code}): {self.text}" if self.text else f"connection closed ({self.code})"


@dataclass(eq=False)
class ConnectFailed(ClientError):
    """No WebSocket could be opened."""

    url: str
    problem: str

    reason = "connect_failed"

    def __str__(self) -> str:
        return f"cannot connect to {self.url}: {self.problem}"


def shown(text: str) -> str:
    """What a gateway wrote, quoted and cut for a sentence."""
    return repr(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…")
