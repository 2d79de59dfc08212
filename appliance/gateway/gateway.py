"""The data plane without sockets: services for peers, orders of operators, and everything that they share."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict
from typing import Any, Self

import structlog

from appliance.config.schema import Canister, Config
from appliance.crypto import Verifier
from appliance.errors import CanisterPaused, GatewayError, GatewayStopping, WrongCanister, WrongGeneration
from appliance.gateway.absences import Absences
from appliance.gateway.calls.budget import CallBudget
from appliance.gateway.calls.pace import Paces
from appliance.gateway.calls.queued import QueuedCall
from appliance.gateway.calls.scheduler import Kind
from appliance.gateway.change import ImmediateChange
from appliance.gateway.client_verification import ClientVerification
from appliance.gateway.close_calls import CloseCalls
from appliance.gateway.connections import ConnectionRegistry
from appliance.gateway.drain import Drain, Pacing
from appliance.gateway.epochs import Epoch, Epochs
from appliance.gateway.hooks import Hooks
from appliance.gateway.hub import Hub
from appliance.gateway.ic import Ic
from appliance.gateway.journal.journal import Journal, NoJournal
from appliance.gateway.limits.descriptors import possible_calls
from appliance.gateway.limits.rate_limits import LimitExceeded, Limits, client_key
from appliance.gateway.nodes import Alone, Nodes
from appliance.gateway.openings import Openings
from appliance.gateway.peer import Peer
from appliance.gateway.polling.flush import flush
from appliance.gateway.polling.poller import Poller
from appliance.gateway.polling.schedule import LoopWakeUp, WakeUp
from appliance.gateway.recording.event_bus import EventBus
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.recording.recorder import Recorder
from appliance.gateway.successions import Successions
from appliance.gateway.tasks import Tasks
from appliance.ic.principal import Principal
from appliance.protocol.envelopes import Envelopes
from appliance.protocol.events import Join
from appliance.protocol.generations import SESSIONS
from appliance.protocol.session import Session

_log = structlog.get_logger(__name__)

CLOSING_SHARE = 0.7
"""Of the time for stopping: for closing sockets. The rest is for the close calls, which take seconds on the mainnet."""
HAND_ON_S = 3.0
"""For close calls that are under way when the last socket is closed, where the next process makes the rest."""


class Gateway:
    """Owns hub, pollers, limits and all background work. An async context: leaving it waits for all close calls, within
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
        wake_up: Callable[[], WakeUp] = LoopWakeUp,
        journal: Journal | NoJournal | None = None,
        nodes: Nodes | None = None,
    ) -> None:
        """``principal`` is the one that ``ic`` signs with; ``clock`` is nanoseconds since 1970. Clients that the
        ``journal`` knows from earlier processes are reported to their canisters once the context is entered. ``nodes``
        are the others that serve as one with this, None if it is alone.
        """
        self.config = config
        self.clock = clock
        self.counters = Counters()
        self.recorder = Recorder()
        self.timelines = self.recorder.timelines
        self.limits = Limits(config)
        self.hooks = Hooks()
        self.event_bus = EventBus(clock, lambda: self.config.canister_names)
        self.hub = Hub()
        self.connections = ConnectionRegistry()
        self.tasks = Tasks()
        self.paces = Paces()
        self.budget = CallBudget(config.relay, possible_calls)
        self.verification = ClientVerification(config.verification.share_per_ip)
        self.stopping = False
        self.winding_down = False
        self.drain: Drain | None = None
        self.canister_drains: dict[Principal, Drain] = {}
        self.verifier = verifier
        self.nodes: Nodes = nodes or Alone()
        self.epochs = Epochs(
            config,
            envelopes=Envelopes(verifier, config.verification.envelopes),
            hub=self.hub,
            tasks=self.tasks,
            counters=self.counters,
            recorder=self.recorder,
            event_bus=self.event_bus,
            budget=self.budget,
            clock=clock,
            wake_up=wake_up,
            nodes=self.nodes,
        )
        self.epochs.begin(principal, ic, journal or NoJournal())
        self._successions = Successions()
        self._absences = Absences(clock)
        self._close_calls = CloseCalls(
            hub=self.hub, tasks=self.tasks, counters=self.counters, nodes=self.nodes, successions=self._successions
        )
        self._openings = Openings(
            epochs=self.epochs, close_calls=self._close_calls, nodes=self.nodes, successions=self._successions
        )
        self._deadline: float | None = None

    async def __aenter__(self) -> Self:
        self.epochs.current.take_over()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def pending_close_calls(self) -> int:
        """Clients that are gone and whose close call is not done."""
        return self._close_calls.pending

    @property
    def principal(self) -> Principal:
        """The principal of sessions that begin now."""
        return self.epochs.current.principal

    @property
    def journal(self) -> Journal | NoJournal:
        """The journal of sessions that begin now."""
        return self.epochs.current.journal

    @property
    def pollers(self) -> Mapping[Principal, Poller]:
        """The running pollers by canister."""
        return self.epochs.pollers

    def session(self, generation: str) -> Session:
        """A new session of a wire generation, by its name. Its peer has to `leave` in the end."""
        self.epochs.current.sessions += 1
        return SESSIONS[generation](self.epochs.current.context)

    @property
    def is_accepting(self) -> bool:
        """Whether further clients are admitted: the gateway neither stops nor is drained."""
        return not self.stopping and self.drain is None

    def begin_stop(self) -> float:
        """Admit nobody any more. Returns the seconds that are left for stopping; a later call does not extend them."""
        self.stopping = True
        self.budget.drain(True)
        now = asyncio.get_running_loop().time()
        if self._deadline is None:
            self._deadline = now + self.config.drain.deadline
        return max(0.0, self._deadline - now)

    def hurry(self) -> None:
        """Leave no more time for stopping: close calls that are not done by now are left to the next process."""
        self._deadline = asyncio.get_running_loop().time()

    async def stop(self) -> None:
        """Wait for all close calls, within the time that is left, then end all background work."""
        left_s = self.begin_stop()
        for epoch in self.epochs:
            epoch.stop()
        for drain in filter(None, (self.drain, *self.canister_drains.values())):
            drain.cancel()  # nobody is left to close, and it may still be in its grace
        if unfinished := await self.tasks.finish(left_s):
            _log.warning("stopped before all was done", tasks=unfinished)
        for epoch in self.epochs:
            await epoch.journal.close()

    # --- orders of operators ----------------------------------------------------------------------------------------

    async def prepare(self, new: Config, *, may_return: bool = False) -> ImmediateChange:
        """Prepare to follow another configuration, which may be a step of several; changes nothing yet."""
        verifier, old = self.verifier, self.config.verification
        if new.verification.max_certificate_age != old.max_certificate_age:
            age_ns = round(new.verification.max_certificate_age * 1e9)
            verifier = Verifier(verifier.root_key, max_age_ns=age_ns, max_ahead_ns=age_ns)
        return ImmediateChange(lambda: self.follow(new, verifier, may_return=may_return))

    def follow(self, new: Config, verifier: Verifier, *, may_return: bool = False) -> None:
        """Follow another configuration from now on. Sessions of canisters that are no longer served are drained."""
        old, self.config = self.config, new
        self._absences.follow(old, new, self.hub.canisters() if may_return else None)
        self.verifier = verifier
        self.epochs.follow(new, verifier)
        self.limits.follow(new)
        self.verification.share = new.verification.share_per_ip
        self.budget.follow(new.relay)
        for canister_id in self.hub.canisters():
            self._follow_canister(old.canister(canister_id), new.canister(canister_id), canister_id)

    def _follow_canister(self, old: Canister | None, new: Canister | None, canister_id: Principal) -> None:
        is_removed = new is None and (old is not None or canister_id not in self.canister_drains)
        # v0 has a queue format of its own: one poller cannot read for sessions of v0 and of the others.
        has_other_format = new and old and ("v0" in old.generation) != ("v0" in new.generation)
        if is_removed or has_other_format:
            self.drain_canister(canister_id, *self._absences.parting(canister_id, self.config.drain))
        elif new is not None and old is None and (drain := self.canister_drains.pop(canister_id, None)) is not None:
            drain.cancel()  # served again: whoever was not closed yet may stay
        for epoch in self.epochs:
            if has_other_format:  # whoever comes now begins a new poller, and does not wait for the end of the drain
                epoch.pollers.forget(canister_id)
            elif new is not None:
                epoch.pollers.follow(canister_id, self.config.polling_of(canister_id), is_paused=new.paused)

    def rotate(self, principal: Principal, ic: Ic, journal: Journal | NoJournal) -> bool:
        """Begin sessions in the name of another principal, which ``ic`` signs with. Those that are there keep theirs.
        Returns whether ``ic`` and ``journal`` are used: not where sessions with this principal are left of earlier.
        """
        is_new = not self.epochs.resume(principal)
        if is_new:
            self.epochs.begin(principal, ic, journal).take_over()
        return is_new

    def start_drain(self, pacing: Pacing, *, retry_after_s: float | None = None) -> Drain:
        """Admit nobody and close every session at this pace. A drain that is under way is replaced."""
        if self.drain is not None:
            self.drain.cancel()
        self.budget.drain(True)
        self.drain = drain = Drain(lambda: self.connections, lambda: GatewayStopping(retry_after_s), pacing)
        self.tasks.start(drain.run())
        return drain

    async def wind_down(self, *, with_grace: bool = True) -> None:
        """Close every session by the policy of the configuration, before stopping: ``grace`` passes first, and part of
        the time until ``deadline`` is left for the close calls.
        """
        policy = self.config.drain
        grace_s = policy.grace if with_grace else 0.0
        self.winding_down = True
        self._deadline = asyncio.get_running_loop().time() + grace_s + policy.deadline
        await self.start_drain(Pacing(policy.rate, grace_s, grace_s + CLOSING_SHARE * policy.deadline)).wait()

    def hand_on(self) -> None:
        """Leave close calls to the next process, which finds them in the journal, instead of waiting for all."""
        limit = asyncio.get_running_loop().time() + HAND_ON_S
        self._deadline = limit if self._deadline is None else min(limit, self._deadline)

    def cancel_drain(self) -> bool:
        """Admit clients again; closed sessions stay closed. Returns whether there was a drain."""
        drain, self.drain = self.drain, None
        self.budget.drain(self.stopping)
        if drain is not None:
            drain.cancel()
        return drain is not None

    def drain_canister(
        self, canister_id: Principal, reason: Callable[[], GatewayError], pacing: Pacing | None = None
    ) -> Drain:
        """Close the sessions of one canister at a pace, by default that of the configuration."""
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
        if self.canister_drains.get(canister_id) is drain:  # it may have been replaced meanwhile
            del self.canister_drains[canister_id]

    # --- services for peers (peer_services.PeerServices) -------------------------------------------------------------

    def join(self, join: Join, peer: Peer) -> None:
        """Register a verified client.

        Raises GatewayStopping, WrongCanister, CanisterNotServed, CanisterUnlisted, WrongGeneration, CanisterPaused,
        RateLimited, PrincipalFull, CanisterFull, DuplicateClient, ClientLeaving, ReplayedEnvelope or EnvelopeExpired.
        """
        if not self.is_accepting:
            raise GatewayStopping
        if peer.canister_id not in (None, join.canister_id):
            raise WrongCanister(str(join.canister_id), str(peer.canister_id))
        canister = self.config.canister(join.canister_id)
        if canister is None:
            raise self._absences.error(join.canister_id)
        if join.generation not in canister.generation:
            raise WrongGeneration(join.generation, " or ".join(canister.generation), str(canister.id))
        if canister.paused:
            raise CanisterPaused(str(canister.id))
        peer.limited_as = client_key(join)
        # An opening counts as a message: with a new connection for each, a client would otherwise have no limit.
        if (exceeded := self.limits.message(peer.limited_as)) is not None:
            self.limit_exceeded(peer, exceeded)
        self.limits.check_held(peer.limited_as)
        is_strict = self.config.verification.envelopes == "enforce"
        self.hub.join(join, peer, limit=canister.max_clients, now_ns=self.clock(), refuse_expired=is_strict)
        self.counters.joined += 1

    def limit_exceeded(self, peer: Peer, exceeded: LimitExceeded) -> None:
        """Record that a client exceeds a limit. Raises RateLimited where the limit is enforced."""
        exceeded.record(peer.timeline, self.event_bus, self.clock())
        if exceeded.is_enforced:
            raise exceeded.error()

    def poll(self, peer: Peer, nonce: int | None) -> None:
        """Start polling the canister of a registered client, unless it is polled already."""
        canister = None if peer.join is None else self.config.canister(peer.join.canister_id)
        pollers = self._epoch_of(peer).pollers
        if canister is not None and canister.id not in pollers:
            pollers.start(canister, self.config.polling_of(canister.id), nonce)

    def opened(self, peer: Peer) -> None:
        """Record that a session is open."""
        self.counters.opened += 1
        if (join := peer.join) is not None:
            self._successions.opened(join, peer)
            if not peer.is_journaled:
                self.tasks.start(self._openings.add_to_journal(join, peer))
        self.event_bus.publish("session.opened", **asdict(peer.who))
        _log.info("session open", peer=peer.id, canister=join and str(join.canister_id), client=join and join.client)

    def report_unverified(self, error: GatewayError, peer: Peer) -> None:
        """Count a message that enforced verification would have refused, and log it once for each client."""
        self.counters.unverified[error.reason] += 1
        if not peer.was_reported:
            peer.was_reported = True
            _log.warning("a client's message does not verify", peer=peer.id, cause=str(error))

    def submit(self, queued: QueuedCall, peer: Peer) -> Coroutine[Any, Any, bytes | None]:
        """Make a call of a client, or for it. Raises GatewayError."""
        if (join := peer.join) is not None and queued.call is join.opening:
            return self._openings.send(join, queued, peer)
        return self._epoch_of(peer).calls.send(queued, Kind.MESSAGE, b"" if join is None else join.client_key)

    def relayed(self, peer: Peer, error: GatewayError | None = None) -> None:
        """Poll the canister of a call that was answered."""
        if error is not None:
            self.counters.failed_relays[error.reason] += 1
            return
        self.counters.relayed += 1
        if (join := peer.join) is not None:
            if (poller := self._epoch_of(peer).pollers.get(join.canister_id)) is not None:
                poller.nudge()
            self.nodes.ring(join.canister_id)

    async def confirm(self, queued: QueuedCall) -> bool:
        """Whether a replica is known to have a call of a client that is under way. Raises nothing."""
        return await self.epochs.current.calls.confirm(queued)

    def accepted(self, peer: Peer) -> None:
        """Expect a first message for a client that the canister accepted, unless it was delivered before the reply."""
        poller = self._poller_of(peer)
        if poller is not None and peer.join is not None and not peer.timeline.delivered:
            poller.expect(peer.join.client_key, peer.first_nonce)

    async def flush_before_close(self, peer: Peer) -> None:
        """Wait, for a few polls at most, for messages that the canister has queued for this peer."""
        timeout_s = self.config.polling.timeout
        await flush(lambda: self._poller_of(peer), lambda: peer.timeline.delivered, timeout_s)

    def leave(self, peer: Peer) -> None:
        """Release everything of a peer whose connection is gone; once. ``ws_close`` is called when its calls have
        ended (``close_calls``).
        """
        peer.leave()
        epoch = self._epoch_of(peer)
        if (join := peer.join) is None:
            self.epochs.release(epoch)
            return
        self._successions.left(join, peer)
        if (poller := self._poller_of(peer)) is not None:
            poller.expect_no_more(join.client_key)
        self.hub.leave(join)
        if not epoch.members(join.canister_id):
            epoch.pollers.stop(join.canister_id)
        self._close_calls.start(join, peer, epoch).add_done_callback(lambda _: self.epochs.release(epoch))

    def _epoch_of(self, peer: Peer) -> Epoch:
        return self.epochs.of(peer.session.context.gateway)

    def _poller_of(self, peer: Peer) -> Poller | None:
        return self._epoch_of(peer).pollers.get(peer.join.canister_id) if peer.join is not None else None
