"""What the data plane asks and tells plugins. A hook that nobody wants is None, and then costs a comparison."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class Visit:
    """A request to open a WebSocket, before it is answered.

    ``headers`` have lower-case names; of a name that comes several times the last counts. ``canister`` is the principal
    as text where the path names one.
    """

    address: str
    path: str
    headers: Mapping[str, str]
    generation: str
    canister: str | None


@dataclass(frozen=True, slots=True)
class Who:
    """A connection: its id, where it comes from, the wire generation, and who it is.

    ``canister`` and ``client`` are text, None before the client's opening message was verified.
    """

    session: str
    address: str
    path: str
    generation: str
    canister: str | None
    client: str | None


@dataclass(frozen=True, slots=True)
class ClientMessage:
    """A call that is about to go to the IC for a client. ``arg`` is Candid; ``request_id`` is hexadecimal, None for
    calls that the gateway signs."""

    method: str
    arg: bytes
    request_id: str | None


@dataclass(frozen=True, slots=True)
class CanisterMessage:
    """A message of a canister that was passed on. ``frame`` is the complete WebSocket frame with its proof."""

    nonce: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended: the close code that was sent (1006 where none was), ``cause`` as a sentence, ``reason``
    as the label of the error that ended it, None where no error did."""

    code: int
    cause: str
    reason: str | None
    seconds: float
    delivered: int


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that concerns more than one message: ``kind`` is a word with a dot, e.g. ``session.opened``."""

    kind: str
    at_ns: int
    facts: Mapping[str, object] = field(default_factory=dict)


Deciding = Awaitable[None]
"""Raises RefusedByPlugin where a plugin says no, and nothing else."""


@dataclass(slots=True)
class Hooks:
    """The hooks that are wanted. Whoever calls one looks for None first.

    The ones that decide are awaited; the ones that tell return at once, and never raise.
    """

    admit: Callable[[Visit], Deciding] | None = None
    """Whether to accept a WebSocket."""
    open: Callable[[Who], Deciding] | None = None
    """Whether to make a client's verified opening call, which registers it with its canister."""
    client_message: Callable[[Who, ClientMessage], Deciding] | None = None
    """Whether to relay a call of a client whose session is open or opening."""
    canister_message: Callable[[Who, CanisterMessage], None] | None = None
    """A message was passed on to a client."""
    close: Callable[[Who, Ending], None] | None = None
    """A WebSocket that was accepted is gone."""
    event: Callable[[Happening], None] | None = None
    """Something happened."""

    def bind(self, other: "Hooks") -> None:
        """Become as `other`, for everybody who holds this object."""
        for each in fields(Hooks):
            setattr(self, each.name, getattr(other, each.name))
