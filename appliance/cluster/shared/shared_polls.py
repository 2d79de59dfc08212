"""The shared polls of one node: asks the engine for leases, and reads and writes entries.

Nothing here is waited for by a client. Where the engine is away, slow or full, leases end, and each node asks for
itself (``stream``).
"""

import asyncio
import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import structlog

from appliance.cluster.commands import Commands
from appliance.cluster.contact import Contact
from appliance.cluster.seal import Seal
from appliance.cluster.shared.demand import Demand
from appliance.cluster.shared.entries import queue_of
from appliance.cluster.shared.leases import LEASE_MS, Leases
from appliance.cluster.shared.stream import Stream
from appliance.config.cluster import Cluster
from appliance.errors import EngineAway
from appliance.gateway.polling.schedule import LoopWakeUp, WakeUp
from appliance.gateway.sharing import SharedQueue, SharingPoller
from appliance.gateway.tasks import Tasks
from appliance.ic.principal import Principal

_log = structlog.get_logger(__name__)

BEAT_S = LEASE_MS / 3000
"""Between two requests for leases."""
AT_ONCE = 500
"""Queues in one of them."""
READ_BYTES = 1024**2
"""Of entries that are read at once."""
LARGEST = 8
"""An entry has at most this part of ``cluster.memory``: one more than that would delete all others."""


class OwnNode(Protocol):
    """The node that shares polls (``cluster.node.Node``)."""

    incarnation: str
    settings: Cluster
    commands: Commands
    contact: Contact
    others: int
    """Living nodes beside it."""

    @property
    def seal(self) -> Seal:
        """What it proves with that it wrote something."""


class PollingGateway(Protocol):
    """The gateway that polls."""

    @property
    def poll_budget(self) -> float:
        """Polls a second that it may make."""


class SharedPolls:
    """``counts`` are the entries by what became of them (``stream``). ``gateway`` is set before anything is shared."""

    def __init__(
        self,
        node: OwnNode,
        engine: Leases,
        tasks: Tasks,
        *,
        clock: Callable[[], float] = time.monotonic,
        wake_up: Callable[[], WakeUp] = LoopWakeUp,
        new_epoch: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """``clock`` is monotonic, in seconds."""
        self.counts: Counter[str] = Counter()
        self.gateway: PollingGateway | None = None
        self._node = node
        self._engine = engine
        self._tasks = tasks
        self._clock = clock
        self._wake_up = wake_up()
        self._new_epoch = new_epoch
        self._demand = Demand()
        self._streams: dict[bytes, Stream] = {}
        self._beating: asyncio.Task[None] | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._is_on = False

    def share(self, gateway: Principal, canister_id: Principal, poller: SharingPoller) -> SharedQueue:
        """See ``gateway.nodes.Nodes``."""
        stream = Stream(
            queue_of(gateway, canister_id),
            poller,
            self._node.seal,
            self.counts,
            new_epoch=self._new_epoch,
            clock=self._clock,
            has_work=self._work,
            closed=self._close,
            audit_s=lambda: self._node.settings.audit_interval,
            max_entry=lambda: self._node.settings.memory // LARGEST,
        )
        self._streams[stream.queue] = stream
        if self._beating is None:
            self._beating = self._tasks.start(self._beat_on())
        return stream

    def _close(self, stream: Stream) -> None:
        if self._streams.get(stream.queue) is stream:
            del self._streams[stream.queue]

    @property
    def roles(self) -> Counter[str]:
        """How many canisters this node asks for others (``asking``), for itself alone (``alone``), or lets another node
        ask (``following``); ``ended``: for itself, because the shared polls of the canister were found to be broken.
        """
        return Counter("ended" if each.problem else each.role for each in self._streams.values())

    @property
    def problem(self) -> str | None:
        """Why the polls of a canister are not shared any more, as a sentence."""
        problems = [each.problem for each in self._streams.values() if each.problem is not None]
        if not problems:
            return None
        which = "a canister" if len(problems) == 1 else f"{len(problems)} canisters"
        return f"this node polls {which} by itself, since shared polls did not arrive as they should: {problems[0]}"

    # --- leases -------------------------------------------------------------------------------------------------------

    async def _beat_on(self) -> None:
        while True:
            await self._wake_up.wait(BEAT_S)
            try:
                await self.beat()
            except Exception as error:  # whatever it is, leases must not be kept for good
                _log.error("the polls of the cluster cannot be shared", exc_info=error)
                self._stand_alone()

    async def beat(self) -> None:
        """Ask for leases, and see what they bring."""
        streams = list(self._streams.values())
        node, settings = self._node, self._node.settings
        others = node.others if node.contact.state == "joined" else 0
        demand = sum(each.poller.demand for each in streams)
        budget = self.gateway.poll_budget if self.gateway is not None else 0.0
        self._demand = self._demand.after(settings.share_polls, demand * (others + 1), budget, self._clock())
        if not others or not self._demand.is_on:
            self._stand_alone()
            return
        self._is_on = True
        if self._hearing is None:
            self._hearing = self._tasks.start(self._hear())
        self._end_leases()
        shared = [each for each in self._streams.values() if each.is_shared()]
        for start in range(0, len(shared), AT_ONCE):
            if not await self._lease(shared[start : start + AT_ONCE]):
                break
        self._end_leases()

    def _end_leases(self) -> None:
        for each in list(self._streams.values()):
            self._ended(each, each.beat())

    def _wait_s(self) -> float:
        """How long the engine may take for its answer: until the first lease ends."""
        ends = min((each.follows_until for each in self._streams.values()), default=math.inf)
        return max(0.0, min(LEASE_MS / 1000, ends - self._clock()))

    async def _lease(self, streams: Sequence[Stream]) -> bool:
        """Returns whether the engine has answered."""
        wanted = [each.wanted() for each in streams]
        own, until = self._node.incarnation, self._clock() + LEASE_MS / 1000
        try:
            leases = await self._node.commands.run(lambda: self._engine.lease(own, wanted), self._wait_s())
        except EngineAway:
            return False  # `beat` ends the leases when their time has passed
        for stream, want, lease in zip(streams, wanted, leases, strict=True):
            if self._streams.get(stream.queue) is stream and stream.leased(want, lease, own, until):
                self._read(stream)
            elif stream.has_unwritten:  # it was got before the engine knew that this node asks
                self._work(stream)
        return True

    def _stand_alone(self) -> None:
        if not self._is_on:
            return
        self._is_on = False
        for each in self._streams.values():
            each.stand_alone()
        if self._hearing is not None:
            self._hearing.cancel()

    def _ended(self, stream: Stream, problem: str | None) -> None:
        if problem is not None:
            canister_id = Principal(stream.queue[1 + stream.queue[0] :])
            _log.warning("polls of a canister are not shared any more", canister=str(canister_id), cause=problem)

    # --- entries ------------------------------------------------------------------------------------------------------

    async def _hear(self) -> None:
        own = asyncio.current_task()
        try:
            await self._engine.hear(self._heard)
        except EngineAway:
            pass  # until the next beat, which finds what was not heard
        finally:
            if self._hearing is own:
                self._hearing = None

    def _heard(self, queue: bytes) -> None:
        stream = self._streams.get(queue)
        if stream is not None and stream.role == "following":
            self._read(stream)

    def _read(self, stream: Stream) -> None:
        stream.again = True
        if not stream.is_busy:
            stream.is_busy = True
            self._tasks.start(self._read_on(stream))

    async def _read_on(self, stream: Stream) -> None:
        try:
            while stream.again and stream.role == "following":
                stream.again = False
                asked = stream.epoch, stream.number
                # Not one of the commands that are given up after a time: each queue waits for one answer, and no client
                # does. Its lease ends meanwhile (`beat`).
                found = await self._engine.entries(stream.queue, *asked, max_bytes=READ_BYTES)
                self._ended(stream, stream.came(asked, found))
                stream.again |= found.epoch == stream.epoch and found.last > stream.number
        except EngineAway:
            pass
        finally:
            stream.is_busy = False
            if stream.has_unwritten:  # it became the one that asks meanwhile
                self._work(stream)

    def _work(self, stream: Stream) -> None:
        if stream.is_urgent:
            self._wake_up.set()
        elif not stream.is_busy:
            stream.is_busy = True
            self._tasks.start(self._write_on(stream))

    async def _write_on(self, stream: Stream) -> None:
        try:
            while (entry := stream.next_unwritten()) is not None:
                epoch, (number, content) = stream.epoch, entry
                put = partial(self._engine.put, self._node.incarnation, stream.queue, epoch, number, content)
                is_done = False
                try:
                    memory = self._node.settings.memory
                    is_done = await self._node.commands.run(partial(put, memory=memory), LEASE_MS / 1000)
                except EngineAway:
                    pass
                stream.wrote(epoch, number, is_done=is_done)
        finally:
            stream.is_busy = False
