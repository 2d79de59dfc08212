"""One connected client: its session, its outbox and its relay queue."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import assert_never

from appliance.crypto import Request
from appliance.errors import (
    CanisterRefused,
    GatewayError,
    MessagesLost,
    OpeningOutdated,
    Rejected,
)
from appliance.gateway.calls.outcomes import never_ran
from appliance.gateway.calls.queued import QueuedCall
from appliance.gateway.connection_handle import ConnectionHandle, ConnectionSource
from appliance.gateway.hooks import CanisterMessage, ClientMessage, Who
from appliance.gateway.limits.rate_limits import ClientKey
from appliance.gateway.outbox import Outbox
from appliance.gateway.peer_services import PeerServices
from appliance.gateway.recording.recorder import SAMPLED, RelayedCall
from appliance.gateway.recording.timeline import PollRecord, Timeline
from appliance.gateway.relay import RelayQueue
from appliance.ic.principal import Principal
from appliance.protocol.events import Call, Deliver, Event, Join, Opened, Poll, Relay, Send, VerificationFailed, Verify
from appliance.protocol.frames import Delivery
from appliance.protocol.session import Session, State

FIRST_SAMPLED = 2
"""The first message after the opening one."""
NOT_YET = 1 << 65
"""``first_nonce`` until the opening message leaves. More than any nonce."""
NOT_NAMED = 1 << 64
"""``first_nonce`` until it is known: canisters of v0 name it in the answer to the opening call. More than any nonce."""


class Peer:
    """Acts on the events of one session. A member of the hub from ``Join`` until the gateway lets it leave.

    ``canister_id`` is the only canister it may join, None for any. ``first_nonce`` is the first message of the canister
    that may be for it, ``sequence_num`` the number of the last that it got. ``is_first_use`` is set once its opening
    message is known not to be used elsewhere, ``is_journaled`` once the journal has it. ``limited_as`` is its key in
    the rate limits, None before it joined. ``timeline`` counts its messages.
    """

    __slots__ = (
        "_connection",
        "_is_throttled",
        "_refused",
        "_services",
        "_verification",
        "bytes_in",
        "canister_id",
        "first_nonce",
        "has_left",
        "id",
        "is_first_use",
        "is_journaled",
        "join",
        "joined_ns",
        "limited_as",
        "outbox",
        "relays",
        "sequence_num",
        "session",
        "source",
        "timeline",
        "was_reported",
    )

    def __init__(
        self,
        session: Session,
        outbox: Outbox,
        *,
        connection: ConnectionHandle,
        services: "PeerServices[Peer]",
        canister_id: Principal | None = None,
        source: ConnectionSource = ConnectionSource(),  # noqa: B008 - a value
        timeline: Timeline | None = None,
    ) -> None:
        self.timeline = timeline or Timeline(source.at_ns)
        self.id = self.timeline.id
        self.session = session
        self.outbox = outbox
        self.relays = RelayQueue(
            self, services.config, connection, paces=services.paces, tasks=services.tasks, clock=services.clock
        )
        self.join: Join | None = None
        self.limited_as: ClientKey | None = None
        self.canister_id = canister_id
        self.source = source
        self.bytes_in = 0
        self.first_nonce = NOT_YET
        self.sequence_num = 0
        self.has_left = False
        self.was_reported = False
        self.is_first_use = False
        self.is_journaled = False
        self.joined_ns = 0
        self._refused = False
        self._is_throttled = False
        self._verification: asyncio.Task[None] | None = None
        self._connection = connection
        self._services = services

    @property
    def gateway(self) -> Principal:
        """The principal of the gateway in its session."""
        return self.session.context.gateway

    @property
    def is_open(self) -> bool:
        """Whether its session is open."""
        return self.session.is_open

    @property
    def is_known(self) -> bool:
        """Whether the canister may have registered this client, so that a close call is due when it leaves. A copy
        of an opening message does not count: the call would end the session elsewhere. The first message tells.
        """
        return self.join is not None and not self._refused and (self.is_first_use or self.sequence_num > 0)

    @property
    def who(self) -> Who:
        """The connection as plugins see it."""
        source, timeline = self.source, self.timeline
        return Who(self.id, source.address, source.path, self.session.name, timeline.canister, timeline.client)

    def connect(self) -> None:
        """The WebSocket is established. Raises GatewayError."""
        self._perform_all(self.session.connect())

    def receive(self, frame: bytes, *, now_ns: int) -> None:
        """Process a binary message of the client. Raises GatewayError."""
        self.bytes_in += len(frame)
        self.timeline.frame(now_ns, len(frame))
        # Before the signature is checked: a flood must not cost more than a look into a table.
        if self.limited_as is not None and (exceeded := self._services.limits.message(self.limited_as)) is not None:
            self._services.limit_exceeded(self, exceeded)
        if self.timeline.frames % SAMPLED == FIRST_SAMPLED:
            receive = partial(self.session.receive, frame, now_ns=now_ns)
            self._perform_all(self._services.recorder.measured(receive, now_ns))
        else:
            self._perform_all(self.session.receive(frame, now_ns=now_ns))

    def receive_text(self) -> None:
        """Process the beginning of a text message. Raises GatewayError."""
        self._perform_all(self.session.receive_text())

    def deliver(self, frame: bytes, nonce: int, sequence_num: int, polled: PollRecord) -> bool:
        """Send a message of the canister. Never raises and never waits. Returns False where it is not delivered: the
        client had it before, or it is not of this session, or the client is closed: one before is missing, or too slow.
        """
        if nonce < self.first_nonce:  # for an earlier session of the same client key, whose last messages come late
            return self.first_nonce == NOT_NAMED and self._keep(Delivery(frame, nonce, sequence_num, polled))
        if sequence_num <= self.sequence_num:
            return False
        if sequence_num != self.sequence_num + 1:
            self.fail(MessagesLost(self.timeline.canister or ""))
            return False
        self.sequence_num = sequence_num
        try:
            if self.session.state is State.OPEN:  # as the session would do it, without the cost of events
                self.outbox.put(frame)
            else:
                self._perform_all(self.session.delivered(Delivery(frame, nonce, sequence_num, polled)))
            self.timeline.deliver(polled, nonce, len(frame))
            if polled.trace is not None:
                self._services.recorder.traced(self.timeline, polled, nonce, len(frame))
        except Exception as error:  # the poller delivers to all clients, and one must not stop it for the others
            self.fail(error)
            return False
        if (notify := self._services.hooks.canister_message) is not None:
            notify(self.who, CanisterMessage(nonce, frame))
        return True

    def _keep(self, delivery: Delivery) -> bool:
        """Leave a message to the session, which does not know yet whether it is its own. Its number counts later.
        Returns False where the client is closed.
        """
        try:
            if not self.outbox.reserve(len(delivery.frame)):
                return False
            self._perform_all(self.session.delivered(delivery))
        except Exception as error:  # as in ``deliver``
            self.fail(error)
            return False
        return True

    def begins_with(self, written_ns: int, certified_ns: int) -> bool:
        """See hub.Member."""
        # By the time of the IC alone: when the client joined, that was not less than what a reply of now has, minus the
        # time since. A client of v0 signs no opening of one use.
        joined_at_ns = certified_ns - (self._services.clock() - self.joined_ns)
        limit_ns = round(self._services.config.verification.max_opening_age * 1e9)
        age_ns = joined_at_ns - written_ns
        if age_ns <= limit_ns or self.session.name == "v0":
            return True
        self.forgotten(OpeningOutdated(age_ns, limit_ns))
        return False

    def expect_messages(self) -> None:
        """The opening message leaves. What the canister wrote before is for a session that began with a copy of it."""
        self.first_nonce = NOT_NAMED if self.session.name == "v0" else 0

    def fail(self, error: Exception) -> None:
        """Close the socket for this reason."""
        self._connection.close(error)

    def forgotten(self, error: Exception) -> None:
        """Close the socket for this reason, and make no close call: the canister does not know this client any more.
        A close call by its principal would end the session that replaced this one.
        """
        self._refused = True
        self.fail(error)

    def perform(self, event: Event) -> None:
        """Act on one event of the session. Raises GatewayError."""
        match event:
            case Send(frame):
                self.outbox.put(frame)
            case Join():
                self._services.join(event, self)
                self.join = event  # only now: whoever was not registered must not be taken out when it leaves
                self.joined_ns = self._services.clock()
                self.timeline.joined(self.joined_ns, str(event.canister_id), event.client)
                self._connection.joined()
            case Poll(nonce):
                if nonce is not None:
                    self.first_nonce = nonce
                    self.outbox.release()  # what the session has kept comes next, or was not its own
                self._services.poll(self, nonce)
            case Relay(call):
                self.relays.put(call, self._services.clock(), alone=self._is_opening(call))
            case Deliver(delivery):
                self.deliver(*delivery)
            case Opened():
                self.timeline.opened(self._services.clock())
                self._connection.opened()
                self._services.opened(self)
            case Verify(work, size):
                self._start_verification(work, size)
            case VerificationFailed(error):
                self.timeline.doubted(self._services.clock(), str(error))
                self._services.report_unverified(error, self)
            case _:
                assert_never(event)

    def forget_message(self) -> None:
        """Drop the message that is being verified: the client is closed, and nothing of it counts any more."""
        if self._verification is not None:
            self._verification.cancel()

    def leave(self) -> None:
        """The connection is gone."""
        self.has_left = True
        self.forget_message()

    def _start_verification(self, work: Callable[[int], object], size: int) -> None:
        """Have a message verified off the loop, while no further one is read: their order is kept."""
        self._verification = self._services.tasks.start(self._verify(work))
        # Not by the coroutine itself: cancelled before its first step, it never runs.
        self._verification.add_done_callback(lambda _: self._verification_ended(size))
        self._hold_reading()
        self._connection.hold(size)

    async def _verify(self, work: Callable[[int], object]) -> None:
        services = self._services
        try:
            # The time is taken when a thread has it: it may have expired while it waited.
            opened = await services.verification.run(self.source.address, lambda: work(services.clock()))
            self._perform_all(self.session.verified(opened))
        except Exception as error:  # whatever it is, it ends this client and no other
            self.fail(error)

    def _verification_ended(self, size: int) -> None:
        self._verification = None
        self._connection.hold(-size)
        self._hold_reading()

    def _hold_reading(self) -> None:
        """Read messages of the client unless one is being verified or its relay queue is full."""
        if self._verification is not None or self._is_throttled:
            self._connection.pause_reading()
        else:
            self._connection.resume_reading()

    def _perform_all(self, events: list[Event]) -> None:
        for event in events:
            self.perform(event)

    # --- relaying (relay.RelayingPeer) ------------------------------------------------------------------------------

    async def relay(self, queued: QueuedCall) -> None:
        """Make a call and act on its answer. Raises what the client is to be closed for."""
        # One coroutine for all of it: each one between a call and its answer costs at every step of that.
        services, call, is_opening = self._services, queued.call, self._is_opening(queued.call)
        try:
            if is_opening:
                if (admit := services.hooks.open) is not None:
                    await admit(self.who)
            elif (decide := services.hooks.client_message) is not None:
                await decide(self.who, ClientMessage.of(call))
            relayed = RelayedCall(call, queued.size, queued.queued_ns, services.clock())
            services.recorder.relaying(self.timeline, relayed)
            try:
                reply = await services.submit(queued, self)
            except GatewayError as error:
                services.relayed(self, error)
                services.recorder.failed(self.timeline, relayed, error, services.clock())
                raise
            services.relayed(self)
            services.recorder.answered(self.timeline, relayed, reply, services.clock())
            self._act(self.session.answered(call.method_name, reply))
        except GatewayError as error:
            if is_opening:
                self._refused |= never_ran(error)  # it may have been replaced meanwhile
                self._act(self.session.refused())
            elif isinstance(error, CanisterRefused | Rejected):
                # The canister may have queued a close message that says why; it must arrive before the socket closes.
                await services.flush_before_close(self)
            raise
        if is_opening:
            self._opening_accepted()

    def _opening_accepted(self) -> None:
        if self.join is not None:
            self.join = self.join.without_opening()
        if not self.has_left:
            self._services.accepted(self)

    async def confirm(self, queued: QueuedCall) -> bool:
        """Whether a replica is known to have a call that is under way. Raises nothing."""
        return await self._services.confirm(queued)

    def pause_reading(self) -> None:
        """Read no more messages of the client for now."""
        self._is_throttled = True
        self._hold_reading()

    def resume_reading(self) -> None:
        """Read messages again."""
        self._is_throttled = False
        self._hold_reading()

    def _is_opening(self, call: Request | Call) -> bool:
        return self.join is not None and call is self.join.opening

    def _act(self, events: list[Event]) -> None:
        """Act on the events of an answer, unless the client has left meanwhile: its outbox and its key are released."""
        if not self.has_left:
            self._perform_all(events)
