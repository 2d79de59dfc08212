"""One node of a cluster: keeps the contact with the engine, and asks it for what the gateway needs to know.

Nothing here is needed for messages to flow. Where the engine does not answer in time, the gateway is told that nobody
knows, and goes on: an opening is relayed without its claim, a close call that only the engine can allow waits, and
other nodes poll at their own pace.
"""

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import assert_never

import structlog

from appliance.cluster import rings
from appliance.cluster.claims.claiming import Claiming
from appliance.cluster.claims.closing import Closing
from appliance.cluster.commands import Commands
from appliance.cluster.contact import LIVING_S, SETTLE_S, Contact
from appliance.cluster.doorbell import Doorbell
from appliance.cluster.engine import (
    DEAD_MS,
    FACTS,
    MAX_CLAIM_MS,
    Beat,
    BeatAnswer,
    Facts,
    GivenUp,
    Joined,
    NameHeld,
    NodeInfo,
    NodeRecord,
    OtherFacts,
)
from appliance.cluster.limits.rates import Rates
from appliance.cluster.local_node import LocalNode
from appliance.cluster.pauses import Pauses
from appliance.cluster.registry.engine import ClusterEngine
from appliance.cluster.registry.own import OwnClients
from appliance.cluster.registry.peers import Answering
from appliance.cluster.registry.returning import Returning
from appliance.cluster.registry.speaking import Speaking, address_tag
from appliance.cluster.requests.requests import Requests
from appliance.cluster.seal import Seal
from appliance.cluster.shared.shared_polls import SharedPolls
from appliance.config.cluster import Cluster
from appliance.errors import ClusterError, ClusterMismatch, EngineAway, GatewayError, NodeNameTaken
from appliance.gateway.nodes import Claim, Holding, Known, Place
from appliance.gateway.polling.schedule import LoopWakeUp, WakeUp
from appliance.gateway.tasks import Tasks
from appliance.ic.principal import Principal

_log = structlog.get_logger(__name__)

CONFIRM_S = 900.0
"""Between two times that all places of this node are confirmed at the engine: a quarter of ``engine.HELD_MS``."""
CONFIRMED_AT_ONCE = 500
"""Places in one command."""
FINISH_S = 1.0
"""For commands that are under way at the end."""


class Node:
    """Implements ``gateway.nodes.Nodes``. ``claims`` counts the claims by result."""

    def __init__(
        self,
        engine: ClusterEngine,
        settings: Cluster,
        *,
        name: str,
        facts: Facts,
        info: NodeInfo,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
        wake_up: Callable[[], WakeUp] = LoopWakeUp,
        jitter: Callable[[], float] = random.random,
        settle_s: float = SETTLE_S,
        seal: Seal,
    ) -> None:
        """``clock`` is ns since 1970."""
        self.name = name
        self.cluster = settings.name
        self.settings = settings
        self.incarnation = secrets.token_hex(rings.SENDER_BYTES)
        self.contact = Contact("away", monotonic(), problem="it was not asked yet")
        self.commands = Commands(settings.commands)
        self.seals = [seal]
        self.timeout_s = settings.timeout
        self.returned = 0
        """Times that this node was given up and noticed it."""
        self.others = 0
        """Living nodes beside this one, when last asked."""
        self._engine, self._facts, self._info = engine, facts, info
        self._clock = clock
        self._monotonic = monotonic
        self._jitter = jitter
        self._tasks = Tasks()
        self.requests = Requests(self, engine, self._tasks, clock=clock)
        self.pauses = Pauses(self, host=info.host, monotonic=monotonic)
        self.doorbell = Doorbell(
            self,
            engine,
            self._tasks,
            numbers=self.requests.numbers,
            heard=self._nudge,
            told=self.requests.told,
            paused=self.pauses.heard,
        )
        self.polls = SharedPolls(self, engine, self._tasks, clock=monotonic)
        self.share = self.polls.share
        self.rates = Rates(self, engine, self._tasks, monotonic=monotonic)
        self._wake_up = wake_up()
        self._gateway: LocalNode | None = None
        self._beats, self._replaces = 0, ""
        self._confirmed_at: float | None = None
        self._is_confirmed = False
        self._was_beat_at = self._pruned_at = monotonic()
        self.own = OwnClients(self, engine.registry, self._tasks, settings.registry)
        self.speaking = Speaking(
            self, engine.registry, self._tasks, is_settled=lambda: self._closing.is_settled, monotonic=monotonic
        )
        self._claiming = Claiming(self, engine, self.own, clock=clock, monotonic=monotonic, unplaced=self._unplaced)
        self._returning = Returning(self, self.own, self.speaking, self._claiming.places)
        self.answering = Answering(lambda: self.seals, lambda: self.incarnation)
        self._closing: Closing = Closing(
            self, engine, self.own, self._tasks, monotonic=monotonic, settle_s=settle_s, at_once=settings.commands // 2
        )

    @property
    def seal(self) -> Seal:
        """What this node proves with that it wrote something."""
        return self.seals[0]

    def follow(self, settings: Cluster) -> None:
        """Use these settings from now on, except for the address: this node answers where it began to, and a worker
        nowhere, whatever the configuration names.
        """
        self.settings = settings.model_copy(update={"peer": self.settings.peer})

    def follow_seal(self, seal: Seal) -> None:
        """Prove with another identity from now on, and believe the earlier ones."""
        self.seals.insert(0, seal)
        self.own.restart(self._known())

    # --- the contact ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Join the cluster, and leave it in the end. An engine that is away does not keep the node from starting.

        Raises EngineUnsuitable, ClusterMismatch, NodeNameTaken or PeerAddressUnusable.
        """
        beating: asyncio.Task[None] | None = None
        async with self.answering.at(self.settings.peer):
            try:
                await self._first_contact()
                beating = self._tasks.start(self._beat_on())
                yield
            finally:
                if beating is not None:
                    beating.cancel()
                await self._leave()

    def serve(self, gateway: LocalNode) -> None:
        """Nudge this gateway, and confirm its places, from now on."""
        self._gateway = self.polls.gateway = self.pauses.gateway = gateway
        self.rates.serve(gateway.rates)

    def describe(self, *, draining: bool, revision: int, failing: str) -> None:
        """Say this of this node from the next heartbeat on (see NodeInfo)."""
        self._info = replace(self._info, draining=draining, revision=revision, failing=failing)

    async def _first_contact(self) -> None:
        try:
            await self._attempt()
        except NodeNameTaken:
            # By a process that lives, or by one that was killed a moment ago: only its heartbeats tell which.
            await self._wake_up.wait(LIVING_S)
            try:
                await self._attempt()
            except EngineAway as error:
                self._failed(error)
        except EngineAway as error:
            self._failed(error)

    async def _beat_on(self) -> None:
        while True:
            await self._wake_up.wait(self.contact.wait_s(self._jitter()))
            try:
                await self._attempt()
            except ClusterError as error:
                self._failed(error)
            except Exception as error:  # whatever it is, the node must not lose its contact for good
                _log.error("the contact with the engine failed", exc_info=error)
                self._failed(EngineAway(type(error).__name__))

    async def _attempt(self) -> None:
        """Have one heartbeat answered, and what belongs to it. Raises ClusterError."""
        if self.contact.state != "joined":
            await self.commands.run(self._engine.connect, self.timeout_s, is_vital=True)
        await self._returning.go_on(self._gateway)
        told = self._claiming.unclaimed.until_ns
        beat = self._next_beat()
        sent = self._monotonic()
        answer = await self.commands.run(lambda: self._engine.beat(beat), self.timeout_s, is_vital=True)
        now, before = self._monotonic(), self.contact
        if isinstance(answer, GivenUp):
            await self._return()
            raise EngineAway("this node was given up, and begins anew")
        joined = self._check(answer)
        self._was_beat_at = sent
        self._claiming.time.answered(joined.engine_ms, sent=sent, at=now)
        self.contact = before.joined(now, was_known=joined.was_known)
        self._replaces = self._returning.former = ""
        self._claiming.unclaimed.told(told)
        if self.contact is not before:
            _log.info("joined the cluster", cluster=self.cluster, node=self.name)
            self._confirmed_at, self._is_confirmed = None, False
            self.own.restart(self._known())
        self.doorbell.beat()
        self.rates.joined()
        if self._confirmed_at is None or now - self._confirmed_at >= CONFIRM_S:
            self._confirmed_at = now
            await self._confirm()
            self._is_confirmed = True
            self.own.confirm()
        self.own.ledger.limit = self.settings.registry
        await self._closing.report()
        await self.own.flush()
        if self._gateway is not None:
            await self.speaking.look(self._gateway, self.settings.give_up_after)
        living = {each.incarnation for each in await self._all() if each.silent_ms <= DEAD_MS}
        self.others = len(living - {self.incarnation})

    def _next_beat(self) -> Beat:
        self._beats += 1
        info = self._info if self._gateway is None else replace(self._info, sessions=self._gateway.sessions)
        if (peer := self.settings.peer) is not None:
            info = replace(info, peer=peer, peer_tag=address_tag(self.seal, self.name, self.incarnation, peer))
        doubt_ms = min(max(0, -(-(self._claiming.unclaimed.until_ns - self._clock()) // 10**6)), MAX_CLAIM_MS)
        is_confirmed = self._gateway is None or self._is_confirmed
        return Beat(self.name, self.incarnation, self._beats, self._facts, info, self._replaces, doubt_ms, is_confirmed)

    def _check(self, answer: BeatAnswer) -> Joined:
        """Raises ClusterMismatch, NodeNameTaken, and EngineAway for an answer that is none."""
        match answer:
            case Joined():
                return answer
            case OtherFacts(theirs):
                for what, own, other in zip(FACTS, self._facts, theirs, strict=True):
                    if own != other:
                        raise ClusterMismatch(self.cluster, what, str(own), str(other))
                raise EngineAway("it names no other facts")
            case NameHeld(value):
                self._replaces = value if self._gateway is None else ""
                raise NodeNameTaken(self.cluster, self.name)
            case GivenUp():
                raise EngineAway("it names a process that begins")
            case _:
                assert_never(answer)

    async def _return(self) -> None:
        """Others gave this process up while it was cut off, or stood still. End the sessions whose canisters they told,
        and go on as another process of this node. Raises EngineAway.
        """
        ended = await self._returning.end_told(self.incarnation, self._gateway)
        self.returned += 1
        self._returning.former = self.incarnation
        self.incarnation = secrets.token_hex(rings.SENDER_BYTES)
        self.doorbell.reconnect()
        self._confirmed_at = None
        _log.warning("this node was given up by the others, and begins anew", node=self.name, sessions=ended)

    def _failed(self, error: ClusterError) -> None:
        before = self.contact
        self.contact = before.failed(self._monotonic(), str(error), is_refused=not isinstance(error, EngineAway))
        if self.contact.state != before.state or before.failures == 0:
            _log.warning("this node goes on without its cluster", cluster=self.cluster, cause=str(error))
        self._is_confirmed = False
        self.doorbell.clear()
        self.rates.away(str(error))
        if (now := self._monotonic()) - self._pruned_at >= CONFIRM_S:  # with the engine, `_confirm` does
            self._pruned_at = now
            self._claiming.places.forget_others(set(self._held()), now)

    async def _confirm(self) -> None:
        """Confirm every place of this node, also those that the engine may have lost or given to another."""
        held = self._claiming.held(list(self._held()))
        for start in range(0, len(held), CONFIRMED_AT_ONCE):
            part = held[start : start + CONFIRMED_AT_ONCE]
            await self.commands.run(
                partial(self._engine.hold, self.name, self.incarnation, part), self.timeout_s, is_vital=True
            )

    async def _all(self) -> Sequence[NodeRecord]:
        return await self.commands.run(self._engine.nodes, self.timeout_s, is_vital=True)

    async def _leave(self) -> None:
        self.doorbell.stop()
        if self.contact.state == "joined":
            with suppress(EngineAway):
                leave = self._engine.leave
                await self.commands.run(lambda: leave(self.name, self.incarnation), FINISH_S, is_vital=True)
        await self._tasks.cancel()
        await self.commands.finish(FINISH_S)
        await self._engine.close()

    @property
    def spoken_for(self) -> Counter[str]:
        """Clients of nodes that are given up, by result."""
        return self.speaking.counts + self.own.counts

    async def nodes(self) -> Sequence[NodeRecord]:
        """Every node of the cluster. Raises EngineAway."""
        if self.contact.state != "joined":
            raise EngineAway(self.contact.problem or "")
        return await self._all()

    # --- for the gateway (gateway.nodes.Nodes) ----------------------------------------------------------------------

    async def claim(self, claim: Claim, late: Callable[[GatewayError | None], None]) -> bool:
        """See Nodes."""
        return await self._claiming.claim(claim, self.settings.claim_timeout, late)

    @property
    def claims(self) -> Counter[str]:
        """Claims by result."""
        return self._claiming.counts

    def _unplaced(self) -> None:
        """The engine may not know of a place: a heartbeat confirms it, at once."""
        self._confirmed_at = None
        self._wake_up.set()

    async def release(self, place: Place) -> Holding:
        """See Nodes."""
        if self.contact.state == "joined" and self._monotonic() - self._was_beat_at > self.settings.give_up_after / 2:
            return "unknown"  # it stood still, and others may have spoken for it: the next heartbeat tells
        if not place.group:
            return "free"
        return await self._closing.release(place)

    def released(self, place: Place) -> None:
        """See Nodes."""
        if place.group:
            self._closing.released(place)

    def know(self, known: Known) -> None:
        """See Nodes."""
        self.own.know(known, self._claiming.places.since(known.place))

    def forget(self, canister_id: Principal, client_key: bytes) -> None:
        """See Nodes."""
        self.own.forget(canister_id, client_key)

    async def may_tell(self, known: Known) -> Holding:
        """See Nodes."""
        return await self._closing.may_tell(known)

    def have_told(self, known: Known, *, is_told: bool) -> None:
        """See Nodes."""
        self.own.have_told(known, is_told=is_told)

    def _held(self) -> Iterable[Place]:
        return () if self._gateway is None else self._gateway.held()

    def _known(self) -> Iterable[Known]:
        return () if self._gateway is None else self._gateway.known()

    def ring(self, canister_id: Principal) -> None:
        """See Nodes."""
        if self.contact.state == "joined" and self.others:
            self.doorbell.ring(canister_id)

    def _nudge(self, canister_id: Principal) -> None:
        if self._gateway is not None:
            self._gateway.nudge(canister_id)
