"""The engine that the sessions of all wire generations share: states, inputs and a table of the steps.

A session takes inputs and returns events to act on; it reads no clock and touches no socket. An input that its table
does not have is a violation, which raises and leaves the state as it was. A wire generation is one subclass.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Literal, NamedTuple

from appliance.errors import SessionError, TextFrame
from appliance.ic.principal import Principal
from appliance.protocol.envelopes import Envelopes
from appliance.protocol.events import Call, Event
from appliance.protocol.frames import Delivery

Generation = Literal[0, 1, 2]


class State(Enum):
    """The state of a session."""

    NEW = "new"
    """The socket is accepted, nothing was sent."""
    HELLO = "hello"
    """Waiting for the client's opening message."""
    OPENING = "opening"
    """The opening message is on its way to the canister."""
    OPEN = "open"
    """Messages flow."""

    # By identity, as it is compared. That of Enum is a Python function, and each message looks up its step.
    __hash__ = object.__hash__


class Input(Enum):
    """The inputs of a session."""

    CONNECT = "connect"
    OPENING = "opening message"
    MESSAGE = "message"
    OTHER = "other call"
    TEXT = "text frame"
    ACCEPTED = "canister accepts"
    DELIVERY = "message of the canister"

    __hash__ = object.__hash__


INLINE = 64 * 1024
"""Bytes of a message above which it is always verified off the loop: hashing 2 MiB takes milliseconds."""


class Step(NamedTuple):
    """One entry of the table: the action, on the session and the input's subject, and the state after it."""

    act: Callable[[Any, Any], list[Event]]
    then: State


Table = Mapping[tuple[State, Input], Step]


@dataclass(frozen=True, slots=True)
class SessionContext:
    """What sessions use of the gateway."""

    gateway: Principal
    envelopes: Envelopes


class Session(ABC):
    """The protocol of one connection.

    The methods that take an input return the events to act on, in order, or raise the GatewayError that the socket is
    to be closed with. After that, and after the connection is gone, only ``close_call`` may be called.
    """

    name: ClassVar[str]
    """The wire generation in configurations and paths."""
    generation: ClassVar[Generation]
    """The wire generation as the native core takes it."""
    opens_with: ClassVar[str]
    """The client's opening message in words, for the client that never sends it."""
    table: ClassVar[Table]

    __slots__ = ("context", "state")

    def __init__(self, context: SessionContext) -> None:
        self.context = context
        self.state = State.NEW

    @property
    def is_open(self) -> bool:
        """Whether messages flow."""
        return self.state is State.OPEN

    def connect(self) -> list[Event]:
        """The WebSocket is established."""
        return self.step(Input.CONNECT)

    @abstractmethod
    def receive(self, frame: bytes, *, now_ns: int) -> list[Event]:
        """A binary message of the client. If it is dear to verify, the only event is ``Verify``.

        Raises an EnvelopeError or a SessionError, Malformed, TooLarge, KeyUnusable or CandidError.
        """

    @abstractmethod
    def verified(self, opened: Any) -> list[Event]:
        """The result of the work of a ``Verify``. Raises as ``receive`` does."""

    def receive_text(self) -> list[Event]:
        """A text message of the client. Raises TextFrame where the generation has none."""
        return self.step(Input.TEXT)

    def delivered(self, delivery: Delivery) -> list[Event]:
        """A message of the canister for the client. Once the session is open it may also be sent without this call."""
        return self.step(Input.DELIVERY, delivery)

    @abstractmethod
    def answered(self, method: str, reply: bytes | None) -> list[Event]:
        """A relayed call was answered; ``reply`` is None where only its acceptance is known.

        Raises CanisterRefused with the canister's text, ReplyMalformed for an answer that does not decode.
        """

    def refused(self) -> list[Event]:
        """The opening failed. Returns what is sent to the client before the socket is closed."""
        return []

    @abstractmethod
    def close_call(self) -> Call | None:
        """The ``ws_close`` call for this client; None if the canister cannot know the client."""

    def step(self, what: Input, subject: object = None) -> list[Event]:
        """Perform the step of the table. Raises what the action raises, or the violation, and keeps the state then."""
        step = self.table.get((self.state, what))
        if step is None:
            raise self.violation(what, subject)
        events = step.act(self, subject)
        self.state = step.then
        return events

    def violation(self, what: Input, subject: object) -> SessionError:
        """The error for an input that the table does not have. Generations refine it."""
        return TextFrame() if what is Input.TEXT else SessionError()


def draw(session: type[Session]) -> str:
    """The table of a generation as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.NEW.value}"]
    lines += [
        f"    {state.value} --> {step.then.value}: {what.value} / {step.act.__name__.strip('_')}"
        for (state, what), step in session.table.items()
    ]
    return "\n".join(lines) + "\n"
