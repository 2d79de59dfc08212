"""The gateway: owns the hub, the pollers and all background work."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Self

import structlog

from appliance.config.schema import Canister, Config
from appliance.crypto import Request, Verifier
from appliance.errors import (
    CanisterNotServed,
    CanisterPaused,
    CanisterRefused,
    CanisterRemoved,
    GatewayError,
    GatewayStopping,
    WrongCanister,
    WrongGeneration,
)
from appliance.gateway.change import ImmediateChange
from appliance.gateway.connections import ConnectionRegistry
from appliance.gateway.drain import Drain, Pacing
from appliance.gateway.hooks import Hooks
from appliance.gateway.hub import Hub
from appliance.gateway.ic import Ic
from appliance.gateway.limits.rate_limits import LimitExceeded, Limits, client_key
from appliance.gateway.peer import Peer
from appliance.gateway.polling.cursor import Cursor
from appliance.gateway.polling.poller import Poller
from appliance.gateway.polling.replies import Replies
from appliance.gateway.polling.wake_up import LoopWakeUp, WakeUp
from appliance.gateway.recording.counters import Counters
from appliance.gateway.recording.event_bus import EventBus
from appliance.gateway.recording.recorder import Recorder
from appliance.gateway.tasks import Tasks
from appliance.ic.principal import Principal
from appliance.protocol.envelopes import Envelopes
from appliance.protocol.events import Call, Join
from appliance.protocol.generations import SESSIONS
from appliance.protocol.session import Session, Terms

_log = structlog.get_logger(__name__)

FAREWELLS = 64
"""``ws_close`` calls under way at the same time."""
CURSORS = 10_000
"""Canisters whose place in the queue is remembered while nobody is there."""
CLOSING_SHARE = 0.7
"""Of the time for stopping: for closing sockets. The rest is for telling the canisters."""
LAST_WORDS = 3
"""Polls that a refused client waits for: the replica that answers one may be behind the one that refused."""


class Gateway:
    """The data plane without sockets. An async context: leaving it says farewell for all that left, within
    ``drain.deadline``, and leaves no task behind. Whatever holds sockets must have closed them before.
    """

    def __init__(
        self,
        config: Config,
        *,
        ic: Ic,
        verifier: Verifier,
        principal: Principal,
        clock: Callable[[], int] = time.time_ns,
        alarm: Callable[[], WakeUp] = LoopWakeUp,
    ) -> None:
        """``principal`` is the one that ``ic`` signs with; ``clock`` is nanoseconds since 1970."""
        self.config = config
        self.principal = principal
        self.clock = clock
        self.counters = Counters()
        self.recorder = Recorder()
        self.timelines = self.recorder.timelines
        self.limits = Limits(config)
        self.hooks = Hooks()
        self.event_bus = EventBus(clock)
        self.hub = Hub()
        self.connections = ConnectionRegistry()
        self.tasks = Tasks()
        self.pollers: dict[Principal, Poller] = {}
        self.stopping = False
        self.drain: Drain | None = None
        self.canister_drains: dict[Principal, Drain] = {}
        self._ic = ic
        self._alarm = alarm
        self._verifier = verifier
        self._terms = Terms(principal, Envelopes(verifier, config.verification.envelopes))
        self._replies = Replies(
            verifier, config.verification.certificates, self.counters, clock=clock, recorder=self.recorder
        )
        self._poller_tasks: dict[Principal, asyncio.Task[None]] = {}
        self._cursors: dict[Principal, Cursor] = {}
        self._farewells = asyncio.Semaphore(FAREWELLS)
        self._departing = 0
        self._leaving: dict[tuple[Principal, bytes], set[asyncio.Task[None]]] = {}
        self._deadline: float | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def departing(self) -> int:
        """Clients that are gone and whose canister is not told yet."""
        return self._departing

    @property
    def verifier(self) -> Verifier:
        """What verifies now; another configuration may bring another one."""
        return self._verifier

    def session(self, generation: str) -> Session:
        """A new session of a wire generation, by its name."""
        return SESSIONS[generation](self._terms)

    @property
    def is_accepting(self) -> bool:
        """Whether further clients are let in: the gateway neither stops nor is drained."""
        return not self.stopping and self.drain is None

    def begin_stop(self) -> float:
        """Let nobody in any more. Returns the seconds that are left for stopping; calling again counts on."""
        self.stopping = True
        now = asyncio.get_running_loop().time()
        if self._deadline is None:
            self._deadline = now + self.config.drain.deadline
        return max(0.0, self._deadline - now)

    async def stop(self) -> None:
        """Wait for all farewells, within what is left of the time, then end all background work."""
        left_s = self.begin_stop()
        for canister_id in list(self.pollers):
            self._stop_polling(canister_id)
        unfinished = await self.tasks.finish(left_s)
        if unfinished:
            _log.warning("stopped before all was done", tasks=unfinished)

    # --- what operators ask for -------------------------------------------------------------------------------------

    async def prepare(self, new: Config) -> ImmediateChange:
        """Get ready to follow another configuration. Has changed nothing yet."""
        verifier, old = self._verifier, self.config.verification
        if new.verification.max_certificate_age != old.max_certificate_age:
            age_ns = round(new.verification.max_certificate_age * 1e9)
            verifier = Verifier(verifier.root_key, max_age_ns=age_ns, max_ahead_ns=age_ns)
        return ImmediateChange(lambda: self.follow(new, verifier))

    def follow(self, new: Config, verifier: Verifier) -> None:
        """Follow another configuration from now on. Sessions of canisters that are not served any more are drained."""
        old, self.config = self.config, new
        self._verifier = self._terms.envelopes.verifier = self._replies.verifier = verifier
        self._terms.envelopes.mode = new.verification.envelopes
        self._replies.mode = new.verification.certificates
        self.limits.follow(new)
        for canister_id in self.hub.canisters():
            self._follow_canister(old.canister(canister_id), new.canister(canister_id), canister_id)

    def _follow_canister(self, old: Canister | None, new: Canister | None, canister_id: Principal) -> None:
        if new is None or (old is not None and ("v0" in old.generation) != ("v0" in new.generation)):
            self.drain_canister(canister_id, lambda: CanisterRemoved(str(canister_id)))
        elif old is None and (drain := self.canister_drains.pop(canister_id, None)) is not None:
            drain.cancel()  # it is served again
        if (poller := self.pollers.get(canister_id)) is not None:
            poller.follow(self.config.polling_of(canister_id))
            if new is not None and new.paused != poller.is_paused:
                poller.pause() if new.paused else poller.resume()

    def start_drain(self, pacing: Pacing, *, retry_after_s: float | None = None) -> Drain:
        """Let nobody in and close every session at this pace. The drain that was under way is replaced."""
        if self.drain is not None:
            self.drain.cancel()
        self.drain = drain = Drain(lambda: self.connections, lambda: GatewayStopping(retry_after_s), pacing)
        self.tasks.start(drain.run())
        return drain

    async def wind_down(self) -> None:
        """Close every session by the policy of the configuration, before stopping: ``grace`` passes first, and some of
        the time until ``deadline`` is left for telling the canisters.
        """
        policy = self.config.drain
        self._deadline = asyncio.get_running_loop().time() + policy.grace + policy.deadline
        pacing = Pacing(policy.rate, policy.grace, policy.grace + CLOSING_SHARE * policy.deadline)
        await self.start_drain(pacing).wait()

    def cancel_drain(self) -> bool:
        """Let clients in again; those that were closed stay so. Returns whether there was a drain."""
        drain, self.drain = self.drain, None
        if drain is not None:
            drain.cancel()
        return drain is not None

    def drain_canister(
        self, canister_id: Principal, reason: Callable[[], GatewayError], pacing: Pacing | None = None
    ) -> Drain:
        """Close the sessions of one canister at a pace, that of the configuration if none is given."""
        policy = self.config.drain
        drain = Drain(
            lambda: list(self.hub.members(canister_id).values()),
            reason,
            pacing or Pacing(policy.rate, 0.0, policy.deadline),
        )
        if (before := self.canister_drains.get(canister_id)) is not None:
            before.cancel()
        self.canister_drains[canister_id] = drain
        self.tasks.start(drain.run()).add_done_callback(lambda _: self._drained(canister_id, drain))
        return drain

    def _drained(self, canister_id: Principal, drain: Drain) -> None:
        if self.canister_drains.get(canister_id) is drain:
            del self.canister_drains[canister_id]

    # --- what peers ask for (peer.Home) -----------------------------------------------------------------------------

    def join(self, join: Join, peer: Peer) -> None:
        """Register a verified client.

        Raises GatewayStopping, WrongCanister, CanisterNotServed, WrongGeneration, CanisterPaused, RateLimited,
        CanisterFull, DuplicateClient, ClientLeaving or ReplayedEnvelope.
        """
        if not self.is_accepting:
            raise GatewayStopping
        if peer.canister_id not in (None, join.canister_id):
            raise WrongCanister(str(join.canister_id), str(peer.canister_id))
        canister = self.config.canister(join.canister_id)
        if canister is None:
            raise CanisterNotServed(str(join.canister_id))
        if join.generation not in canister.generation:
            raise WrongGeneration(join.generation, " or ".join(canister.generation), str(canister.id))
        if canister.paused:
            raise CanisterPaused(str(canister.id))
        peer.limited_as = client_key(join)
        if (exceeded := self.limits.message(peer.limited_as)) is not None:
            self.limited(peer, exceeded)
        self.hub.join(join, peer, limit=canister.max_clients, now_ns=self.clock())
        self.counters.joined += 1

    def limited(self, peer: Peer, exceeded: LimitExceeded) -> None:
        """A client sends more than is allowed. Raises RateLimited where that is enforced."""
        exceeded.record(peer.timeline, self.event_bus, self.clock())
        if exceeded.is_enforced:
            raise exceeded.error()

    def poll(self, peer: Peer, nonce: int | None) -> None:
        """See that the canister of a registered client is polled."""
        canister = None if peer.join is None else self.config.canister(peer.join.canister_id)
        if canister is None or canister.id in self.pollers:
            return
        cursor = self._cursor(canister.id)
        if nonce is not None:
            cursor.follow(nonce)
        self._start_polling(canister, cursor)

    def opened(self, peer: Peer) -> None:
        """From here on messages flow."""
        self.counters.opened += 1
        self.event_bus.publish("session.opened", **asdict(peer.who))
        join = peer.join
        _log.info("session open", peer=peer.id, canister=join and str(join.canister_id), client=join and join.client)

    def report_unverified(self, error: GatewayError, peer: Peer) -> None:
        """Count what verification would have refused, and log it once for each client."""
        self.counters.unverified[error.reason] += 1
        if not peer.was_reported:
            peer.was_reported = True
            _log.warning("a client's message does not verify", peer=peer.id, cause=str(error))

    async def submit(self, call: Request | Call, peer: Peer) -> bytes | None:
        """See a call of a client, or for it, through, and poll its canister then. Raises GatewayError."""
        try:
            if peer.join is not None and call is peer.join.opening:
                reply = await self._open(peer.join, call)
            else:
                reply = await self._send(call)
        except GatewayError as error:
            self.counters.failed_relays[error.reason] += 1
            raise
        self.counters.relayed += 1
        if (poller := self._poller_of(peer)) is not None:
            poller.nudge()
        return reply

    async def _open(self, join: Join, call: Request | Call) -> bytes | None:
        while leaving := self._leaving.get((join.canister_id, join.after)):
            await asyncio.wait(leaving)
        poller = self.pollers.get(join.canister_id)
        async with poller.opening() if poller is not None else contextlib.nullcontext():
            return await self._send(call)

    async def _send(self, call: Request | Call) -> bytes | None:
        if isinstance(call, Call):
            return await self._ic.call(call.canister_id, call.method_name, call.arg)
        return await self._ic.submit(call)

    def accepted(self, peer: Peer) -> None:
        """The canister accepted this client: a first message is due."""
        poller = self._poller_of(peer)
        if poller is not None and peer.join is not None and not peer.timeline.delivered:
            poller.expect(peer.join.client_key, peer.first_nonce)

    async def last_words(self, peer: Peer) -> None:
        """Poll until this peer gets something, a few times at most."""
        delivered = peer.timeline.delivered
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.polling.timeout):
                for _ in range(LAST_WORDS):
                    poller = self._poller_of(peer)
                    if poller is None or peer.timeline.delivered > delivered:
                        return
                    await poller.drained()

    # --- release ----------------------------------------------------------------------------------------------------

    def leave(self, peer: Peer) -> None:
        """Forget a peer whose connection is gone, once. Its canister is told when its calls are settled."""
        peer.has_left = True
        if (join := peer.join) is None:
            return
        if (poller := self._poller_of(peer)) is not None:
            poller.expect_no_more(join.client_key)
        if self.hub.leave(join):
            self._stop_polling(join.canister_id)
        self._departing += 1
        task = self.tasks.start(self._depart(join, peer))
        if join.after:
            self._leaving.setdefault((join.canister_id, join.after), set()).add(task)
        task.add_done_callback(lambda task: self._departed(join, task))

    def _departed(self, join: Join, task: "asyncio.Task[None]") -> None:
        self._departing -= 1
        self.hub.forget(join)
        if (leaving := self._leaving.get((join.canister_id, join.after))) is not None:
            leaving.discard(task)
            if not leaving:
                del self._leaving[join.canister_id, join.after]

    async def _depart(self, join: Join, peer: Peer) -> None:
        await peer.relays.settled()
        if not peer.is_known or (call := peer.session.close_call()) is None:
            return
        try:
            async with self._farewells:
                reply = await self._send(call)
            peer.session.answered(call.method_name, reply)
        except CanisterRefused as error:
            _log.debug("canister had forgotten the client", client=join.client, cause=str(error))
        except GatewayError as error:
            self.counters.failed_farewells[error.reason] += 1
            _log.warning("canister could not be told of a client's leaving", client=join.client, cause=str(error))
            return
        self.counters.farewells += 1

    # --- pollers ----------------------------------------------------------------------------------------------------

    def _poller_of(self, peer: Peer) -> Poller | None:
        return self.pollers.get(peer.join.canister_id) if peer.join is not None else None

    def _start_polling(self, canister: Canister, cursor: Cursor) -> None:
        canister_id = canister.id
        poller = Poller(
            canister_id,
            SESSIONS[canister.generation[-1]].generation,
            source=self._ic,
            replies=self._replies,
            members=lambda: self.hub.members(canister_id),
            cursor=cursor,
            polling=self.config.polling_of(canister_id),
            counters=self.counters,
            alarm=self._alarm(),
            clock=self.clock,
            recorder=self.recorder,
            event_bus=self.event_bus,
            answers_with_end="v1" in canister.generation,
        )
        self.pollers[canister_id] = poller
        self._poller_tasks[canister_id] = self.tasks.start(poller.run())

    def _stop_polling(self, canister_id: Principal) -> None:
        if (poller := self.pollers.pop(canister_id, None)) is not None:
            poller.end()
            self._poller_tasks.pop(canister_id).cancel()

    def _cursor(self, canister_id: Principal) -> Cursor:
        cursor = self._cursors.pop(canister_id, None) or Cursor()
        while len(self._cursors) >= CURSORS:
            del self._cursors[next(iter(self._cursors))]
        self._cursors[canister_id] = cursor
        return cursor
