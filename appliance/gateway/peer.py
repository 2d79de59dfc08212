"""One connected client: its session, its outbox and its relay queue."""

import secrets
from typing import Protocol, assert_never

from appliance.config.schema import Gateway as Settings
from appliance.crypto import Request
from appliance.errors import CanisterRefused, GatewayError, Rejected
from appliance.gateway.outbox import Outbox
from appliance.gateway.relay import RelayQueue
from appliance.gateway.tasks import Tasks
from appliance.protocol.events import Doubted, Event, Join, Opened, Relay, Send
from appliance.protocol.session import Session, State

LARGE_MESSAGES = 8
"""Messages of the largest size that may wait for the IC; of small ones ``relay_queue`` may."""


class Shell(Protocol):
    """The connection around a peer."""

    def close(self, error: Exception) -> None:
        """Close the socket for this reason; the first one counts. Never raises."""

    def joined(self) -> None:
        """The opening message was accepted."""

    def opened(self) -> None:
        """The session is open."""


class Home(Protocol):
    """The gateway, as its peers know it."""

    tasks: Tasks

    def join(self, join: Join, peer: "Peer") -> None:
        """Register. Raises a GatewayError if the client may not come in."""

    def opened(self, peer: "Peer") -> None:
        """The canister answered this peer."""

    def doubt(self, error: GatewayError, peer: "Peer") -> None:
        """Something of this peer did not verify, and is let through."""

    async def submit(self, request: Request, peer: "Peer") -> bytes | None:
        """See a call of this peer through. Raises GatewayError."""

    def accepted(self, peer: "Peer") -> None:
        """The canister accepted this peer's opening message."""

    async def last_words(self, peer: "Peer") -> None:
        """Wait for what the canister has queued for this peer, but not long."""


class Peer:
    """Acts on the events of one session. A member of the hub from ``Join`` until the gateway lets it leave."""

    __slots__ = ("_home", "_refused", "_shell", "delivered", "id", "join", "outbox", "relays", "session", "was_doubted")

    def __init__(self, session: Session, outbox: Outbox, *, shell: Shell, home: Home, settings: Settings) -> None:
        self.id = secrets.token_hex(4)
        self.session = session
        self.outbox = outbox
        self.relays = RelayQueue(
            self._relay,
            self.fail,
            limit=settings.relay_queue,
            limit_bytes=LARGE_MESSAGES * settings.max_frame,
            tasks=home.tasks,
        )
        self.join: Join | None = None
        self.delivered = 0
        self.was_doubted = False
        self._refused = False
        self._shell = shell
        self._home = home

    @property
    def is_open(self) -> bool:
        """Whether the canister has sent something."""
        return self.session.is_open

    @property
    def is_known(self) -> bool:
        """Whether the canister may have registered this client, so that it has to be told of its leaving."""
        return self.join is not None and not self._refused

    def connect(self) -> None:
        """The WebSocket is established. Raises GatewayError."""
        self._perform_all(self.session.connect())

    def receive(self, frame: bytes, *, now_ns: int) -> None:
        """A binary message came. Raises GatewayError."""
        self._perform_all(self.session.receive(frame, now_ns=now_ns))

    def receive_text(self) -> None:
        """A text message began. Raises GatewayError."""
        self._perform_all(self.session.receive_text())

    def deliver(self, frame: bytes) -> None:
        """Send a message of the canister. Never raises and never waits."""
        try:
            self.outbox.put(frame)
            self.delivered += 1
            if self.session.state is not State.OPEN:
                self._perform_all(self.session.delivered())
        except Exception as error:  # a client's trouble stays its own
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Close the socket for this reason."""
        self._shell.close(error)

    def perform(self, event: Event) -> None:
        """Do what the session wants done. Raises GatewayError."""
        match event:
            case Send(frame):
                self.outbox.put(frame)
            case Join():
                self._home.join(event, self)
                self.join = event
                self._shell.joined()
            case Relay(request):
                self.relays.put(request)
            case Opened():
                self._shell.opened()
                self._home.opened(self)
            case Doubted(error):
                self._home.doubt(error, self)
            case _:
                assert_never(event)

    def _perform_all(self, events: list[Event]) -> None:
        for event in events:
            self.perform(event)

    async def _relay(self, request: Request) -> None:
        opening = self.join is not None and request is self.join.request
        try:
            reply = await self._home.submit(request, self)
            self.session.answered(request.method_name, reply)
        except (CanisterRefused, Rejected) as error:
            if opening:
                self._refused = isinstance(error, CanisterRefused) or error.certified
            else:
                await self._home.last_words(self)
            raise
        if opening:
            self._home.accepted(self)
