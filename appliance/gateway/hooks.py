"""The hooks of plugins in the data plane. A hook that no plugin implements is None, and then costs one comparison."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Self

from appliance.crypto import Request
from appliance.protocol.events import Call


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
    """A connection: its id, the address and path it came by, the wire generation, the canister and the client.

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

    @classmethod
    def of(cls, call: Request | Call) -> Self:
        """A call as plugins see it."""
        return cls(call.method_name, call.arg, call.request_id.hex() if isinstance(call, Request) else None)


@dataclass(frozen=True, slots=True)
class CanisterMessage:
    """A message of a canister that was delivered. ``frame`` is the complete WebSocket frame with its proof."""

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
    """An event of the gateway as a whole or of a session: ``kind`` is a word with a dot, e.g. ``session.opened``."""

    kind: str
    at_ns: int
    facts: Mapping[str, object] = field(default_factory=dict)


HealthCheck = Callable[[str], Awaitable[bool]]
"""Whether the gateway is healthy, by the path of the check."""
PluginDecision = Awaitable[None]
"""Raises RefusedByPlugin where a plugin refuses, and nothing else."""


@dataclass(slots=True)
class Hooks:
    """The hooks that plugins implement; callers check for None first.

    Hooks that decide are awaited; all others return at once and never raise.
    """

    admit: Callable[[Visit], PluginDecision] | None = None
    """Whether to accept a WebSocket."""
    open: Callable[[Who], PluginDecision] | None = None
    """Whether to make a client's verified opening call, which registers it with its canister."""
    client_message: Callable[[Who, ClientMessage], PluginDecision] | None = None
    """Whether to relay a call of a client whose session is open or opening."""
    canister_message: Callable[[Who, CanisterMessage], None] | None = None
    """A message was delivered to a client."""
    close: Callable[[Who, Ending], None] | None = None
    """An accepted WebSocket has ended."""
    event: Callable[[Happening], None] | None = None
    """An event was published."""

    def bind(self, other: "Hooks") -> None:
        """Take over the hooks of ``other``. In place, because every connection holds this object."""
        for each in fields(Hooks):
            setattr(self, each.name, getattr(other, each.name))
