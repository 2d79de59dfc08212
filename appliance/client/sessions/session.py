"""A client's side of the protocol without I/O: bytes and time in, events out (IC-WebSocket wire generations).

Each generation is one class that fits `Session`; `connection` drives any of them.
"""

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Literal, Protocol, TypeAlias

Generation: TypeAlias = Literal["v0", "v1", "v2"]


class State(Enum):
    """The state of a session. The values are used in messages."""

    HANDSHAKE = "waiting for the gateway's handshake"
    OPENING = "waiting for the canister to accept the client"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True)
class Send:
    """Send this frame to the gateway, as one binary message."""

    frame: bytes


@dataclass(frozen=True)
class Opened:
    """The canister has accepted the client: from now on messages may be sent."""


@dataclass(frozen=True)
class Received:
    """A message of the canister's application, verified and in order."""

    content: bytes
    """As the application encoded it: Candid or raw bytes in v1 and v2, CBOR by convention in v0."""
    sequence_num: int
    """From 1 on for each connection; service messages of the protocol are counted too."""
    timestamp_ns: int
    """When the canister sent it."""
    certified_at_ns: int
    """The time of the certificate that it came with."""


Event: TypeAlias = Send | Opened | Received


@dataclass(frozen=True)
class Limits:
    """Time limits of a client, in nanoseconds. The defaults are those of v2; each session class has its own in
    ``limits``, to be taken as they are or through ``dataclasses.replace``."""

    open_ns: int = 60_000_000_000
    """From the opened socket to the gateway's handshake, and from there to the canister's open message; in v0 and v1,
    which have no handshake, from the opened socket to the answer."""
    ack_ns: int = 330_000_000_000
    """From a message to its acknowledgement: the canister's interval of 300 s and 30 s for the way. v0 has none."""
    message_age_ns: int = 300_000_000_000
    """From the canister's timestamp of a message to its arrival."""


class Session(Protocol):
    """The protocol of one connection. Whatever it raises from `receive` or `check` ends it."""

    generation: ClassVar[Generation]
    limits: ClassVar[Limits]
    """The limits of a session that is given no others."""

    @property
    def state(self) -> State:
        """The current state."""

    @property
    def unacknowledged(self) -> int:
        """How many sent messages the canister has not confirmed; always 0 in v0, which confirms none."""

    @property
    def deadline_ns(self) -> int | None:
        """When `check` will raise, unless something arrives before."""

    def start(self, *, now_ns: int) -> list[Event]:
        """Begin, once, when the socket is open. Raises NotOpen after the end."""

    def receive(self, frame: bytes | str, *, now_ns: int) -> list[Event]:
        """Take a message of the gateway: bytes are a binary, a str is a text one. Raises ClientError, Malformed or
        TextFrame."""

    def send(self, content: bytes, *, now_ns: int) -> Send:
        """Sign the next message for the canister. Raises NotOpen."""

    def check(self, *, now_ns: int) -> None:
        """Raise AckTimeout or OpenTimeout where a limit has passed."""

    def close(self) -> None:
        """End the session: nothing is received or sent after it."""
