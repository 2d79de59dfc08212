"""One connected client: its session, its outbox and its relay queue."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol, assert_never

from appliance.config.schema import Gateway as Settings
from appliance.crypto import Request
from appliance.errors import CanisterRefused, GatewayError, RefusedByPlugin, Rejected
from appliance.gateway.hooks import CanisterMessage, ClientMessage, Hooks, Who
from appliance.gateway.limits.rate_limits import ClientKey, LimitExceeded, Limits
from appliance.gateway.outbox import Outbox
from appliance.gateway.recording.recorder import SAMPLED, Recorder, RelayedCall
from appliance.gateway.recording.timeline import PollRecord, Timeline
from appliance.gateway.relay import RelayQueue
from appliance.gateway.tasks import Tasks
from appliance.ic.principal import Principal
from appliance.protocol.events import Call, Event, Join, Opened, Poll, Relay, Send, VerificationFailed
from appliance.protocol.session import Delivery, Session, State

LARGE_MESSAGES = 8
"""Messages of the largest size that may wait for the IC; of small ones ``relay_queue`` may."""
FIRST_SAMPLED = 2
"""The first message after the opening one."""


class Origin(NamedTuple):
    """Where a connection comes from: the client's address, the path of its upgrade, and when (ns since 1970)."""

    address: str = ""
    path: str = "/"
    at_ns: int = 0


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
    clock: Callable[[], int]
    recorder: Recorder
    limits: Limits
    hooks: Hooks

    def limited(self, peer: "Peer", exceeded: LimitExceeded) -> None:
        """A peer sends more than is allowed. Raises RateLimited where that is enforced."""

    def join(self, join: Join, peer: "Peer") -> None:
        """Register. Raises a GatewayError if the client may not come in."""

    def poll(self, peer: "Peer", nonce: int | None) -> None:
        """See that the canister of this peer is polled, from this nonce on if it is not yet."""

    def opened(self, peer: "Peer") -> None:
        """The session of this peer is open."""

    def report_unverified(self, error: GatewayError, peer: "Peer") -> None:
        """Something of this peer did not verify, and is let through."""

    async def submit(self, call: Request | Call, peer: "Peer") -> bytes | None:
        """See a call of this peer, or for it, through. Raises GatewayError."""

    def accepted(self, peer: "Peer") -> None:
        """The canister accepted this peer's opening message."""

    async def last_words(self, peer: "Peer") -> None:
        """Wait for what the canister has queued for this peer, but not long."""


class Peer:
    """Acts on the events of one session. A member of the hub from ``Join`` until the gateway lets it leave.

    ``canister_id`` is the only canister it may join, None for any. ``first_nonce`` is the first message of the canister
    that may be for it. ``limited_as`` is who it is to the rate limits, None before it joined. ``timeline`` counts what
    came and went.
    """

    __slots__ = (
        *("_home", "_refused", "_shell", "bytes_in", "canister_id", "first_nonce", "has_left", "id", "join"),
        *("limited_as", "origin", "outbox", "relays", "session", "timeline", "was_reported"),
    )

    def __init__(
        self,
        session: Session,
        outbox: Outbox,
        *,
        shell: Shell,
        home: Home,
        settings: Settings,
        canister_id: Principal | None = None,
        origin: Origin = Origin(),  # noqa: B008 - a value
        timeline: Timeline | None = None,
    ) -> None:
        self.timeline = timeline or Timeline(origin.at_ns)
        self.id = self.timeline.id
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
        self.limited_as: ClientKey | None = None
        self.canister_id = canister_id
        self.origin = origin
        self.bytes_in = 0
        self.first_nonce = 0
        self.has_left = False
        self.was_reported = False
        self._refused = False
        self._shell = shell
        self._home = home

    @property
    def is_open(self) -> bool:
        """Whether its session is open."""
        return self.session.is_open

    @property
    def is_known(self) -> bool:
        """Whether the canister may have registered this client, so that it has to be told of its leaving."""
        return self.join is not None and not self._refused

    @property
    def who(self) -> Who:
        """What plugins are told of it."""
        origin, timeline = self.origin, self.timeline
        return Who(self.id, origin.address, origin.path, self.session.name, timeline.canister, timeline.client)

    def connect(self) -> None:
        """The WebSocket is established. Raises GatewayError."""
        self._perform_all(self.session.connect())

    def receive(self, frame: bytes, *, now_ns: int) -> None:
        """A binary message came. Raises GatewayError."""
        self.bytes_in += len(frame)
        self.timeline.frame(now_ns, len(frame))
        if self.limited_as is not None and (exceeded := self._home.limits.message(self.limited_as)) is not None:
            self._home.limited(self, exceeded)
        if self.timeline.frames % SAMPLED == FIRST_SAMPLED:
            receive = partial(self.session.receive, frame, now_ns=now_ns)
            self._perform_all(self._home.recorder.measured(receive, now_ns))
        else:
            self._perform_all(self.session.receive(frame, now_ns=now_ns))

    def receive_text(self) -> None:
        """A text message began. Raises GatewayError."""
        self._perform_all(self.session.receive_text())

    def deliver(self, frame: bytes, nonce: int, polled: PollRecord) -> None:
        """Send a message of the canister. Never raises and never waits."""
        if nonce < self.first_nonce:
            return  # of an earlier session of the same client key
        try:
            if self.session.state is State.OPEN:
                self.outbox.put(frame)
            else:
                self._perform_all(self.session.delivered(Delivery(frame, nonce)))
            self.timeline.deliver(polled, nonce, len(frame))
            if polled.trace is not None:
                self._home.recorder.traced(self.timeline, polled, nonce, len(frame))
        except Exception as error:  # a client's trouble stays its own
            self.fail(error)
            return
        if (tell := self._home.hooks.canister_message) is not None:
            tell(self.who, CanisterMessage(nonce, frame))

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
                self.timeline.joined(self._home.clock(), str(event.canister_id), event.client)
                self._shell.joined()
            case Poll(nonce):
                self.first_nonce = nonce or 0
                self._home.poll(self, nonce)
            case Relay(call):
                self.relays.put(call, self._home.clock())
            case Opened():
                self.timeline.opened(self._home.clock())
                self._shell.opened()
                self._home.opened(self)
            case VerificationFailed(error):
                self.timeline.doubted(self._home.clock(), str(error))
                self._home.report_unverified(error, self)
            case _:
                assert_never(event)

    def _perform_all(self, events: list[Event]) -> None:
        for event in events:
            self.perform(event)

    async def _relay(self, call: Request | Call, size: int, since_ns: int) -> None:
        if self.join is not None and call is self.join.opening:
            await self._relay_opening(call, size, since_ns)
            return
        if (decide := self._home.hooks.client_message) is not None:
            await decide(self.who, _told(call))
        try:
            self._act(self.session.answered(call.method_name, await self._submit(call, size, since_ns)))
        except (CanisterRefused, Rejected):
            await self._home.last_words(self)
            raise

    async def _relay_opening(self, call: Request | Call, size: int, since_ns: int) -> None:
        try:
            if (decide := self._home.hooks.open) is not None:
                await decide(self.who)
            self._act(self.session.answered(call.method_name, await self._submit(call, size, since_ns)))
        except GatewayError as error:
            self._refused = _never_ran(error)
            self._act(self.session.refused())
            raise
        if not self.has_left:
            self._home.accepted(self)

    async def _submit(self, call: Request | Call, size: int, since_ns: int) -> bytes | None:
        recorder, clock = self._home.recorder, self._home.clock
        relayed = RelayedCall(call, size, since_ns, clock())
        recorder.relaying(self.timeline, relayed)
        try:
            reply = await self._home.submit(call, self)
        except GatewayError as error:
            recorder.failed(self.timeline, relayed, error, clock())
            raise
        recorder.answered(self.timeline, relayed, reply, clock())
        return reply

    def _act(self, events: list[Event]) -> None:
        """Perform what follows from an answer, unless nobody is there any more."""
        if not self.has_left:
            self._perform_all(events)


def _told(call: Request | Call) -> ClientMessage:
    """What plugins are told of a call."""
    request_id = call.request_id.hex() if isinstance(call, Request) else None
    return ClientMessage(call.method_name, call.arg, request_id)


def _never_ran(error: GatewayError) -> bool:
    """Whether the canister cannot have registered the client."""
    if isinstance(error, Rejected):
        return error.certified
    return isinstance(error, CanisterRefused | RefusedByPlugin)
