"""The doorbell of a node: rings the other nodes for canisters that something was sent to, tells them of endpoints that
asked to be left alone, and listens to them.

What other nodes tell this one alone comes by the same connection.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from appliance.cluster import rings
from appliance.cluster.commands import Commands
from appliance.cluster.engine import Engine
from appliance.cluster.requests.numbers import Numbers, Seen
from appliance.cluster.requests.pieces import Forged
from appliance.cluster.seal import Seal
from appliance.errors import EngineAway, Malformed
from appliance.gateway.tasks import Tasks
from appliance.ic.principal import Principal

_log = structlog.get_logger(__name__)

RUNG_WITHIN_S = 0.002
"""Rings within this go into one message."""
DEAF_BEATS = 4
"""Own rings that were not heard in a row, after which the doorbell is connected anew."""
MAX_AGE_NS = 300 * 10**9
"""How long before the start of this process a ring may have been made: it knows of no earlier copies."""
MAX_PAUSE_BEATS = 5
"""Between two attempts to listen that fail in a row: they begin with one heartbeat and double."""


class Ringing(Protocol):
    """The node whose doorbell it is (``cluster.node.Node``)."""

    commands: Commands
    incarnation: str
    timeout_s: float

    @property
    def seal(self) -> Seal:
        """What this node proves with that it wrote something."""


class Doorbell:
    """``counts`` has the rings by result, also those that are not believed; ``problem`` is why what this node rings
    does not come back to it, as it should with each heartbeat: a sentence, or None.
    """

    def __init__(
        self,
        node: Ringing,
        engine: Engine,
        tasks: Tasks,
        *,
        numbers: Numbers,
        heard: Callable[[Principal], None],
        told: Callable[[bytes], None],
        paused: Callable[[rings.Pause], None],
    ) -> None:
        """``heard`` gets each canister that another node rings for, ``paused`` each endpoint that asked it to be left
        alone, ``told`` what is for this node alone.
        """
        self.counts: Counter[str] = Counter()
        self.problem: str | None = None
        self._node = node
        self._engine = engine
        self._tasks = tasks
        self._numbers = numbers
        self._seen = Seen(floor=numbers.next() - MAX_AGE_NS)
        self._told = told
        self._nudge = heard
        self._paused = paused
        self._waiting = rings.Waiting()
        self._ringing: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._unheard = 0
        self._failures = 0
        self._pause = 0

    @property
    def _sender(self) -> bytes:
        return bytes.fromhex(self._node.incarnation)

    def reconnect(self) -> None:
        """Be told what is for this process of the node from now on: it has another incarnation."""
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None

    def ring(self, canister_id: Principal) -> None:
        """Ring for a canister within ``RUNG_WITHIN_S``, together with others."""
        self._waiting.add(canister_id)
        if self._ringing is None:
            self._ringing = self._tasks.start(self._ring())
            self._ringing.add_done_callback(self._rung)

    def pause(self, pause: rings.Pause) -> None:
        """Tell of an endpoint at once."""
        self._tasks.start(self._tell_of(pause))

    def beat(self) -> None:
        """Keep the doorbell connected. Each heartbeat rings it for no canister, and has to be heard here as well: that
        a connection is healthy proves nothing about the way through the engine.
        """
        if self._listening is not None and self._unheard >= DEAF_BEATS:
            self.problem = f"nothing was heard in {self._unheard} heartbeats"
            _log.warning("the doorbell of the cluster is not heard, and is connected anew")
            self._listening.cancel()
            self._listening = None
        if self._pause:
            self._pause -= 1
        elif self._listening is None:
            self._unheard = 0
            self._listening = self._tasks.start(self._listen_on())
        self._unheard += 1
        self._tasks.start(self._ring_for(()))

    def clear(self) -> None:
        """Ring for nothing that waits: the engine is away."""
        self._waiting.clear()

    def stop(self) -> None:
        """Ring no more."""
        if self._ringing is not None:
            self._ringing.cancel()

    async def _ring(self) -> None:
        """Ring for all that waits; one message is under way at a time."""
        await asyncio.sleep(RUNG_WITHIN_S)
        while self._waiting:
            await self._ring_for(self._waiting.take())

    def _rung(self, _: "asyncio.Task[None]") -> None:
        self._ringing = None

    async def _ring_for(self, canister_ids: Sequence[bytes]) -> None:
        is_sent = await self._send(rings.encode(self._node.seal, self._sender, self._numbers.next(), canister_ids))
        self.counts["sent" if is_sent else "lost"] += bool(canister_ids)  # each heartbeat rings for none

    async def _tell_of(self, pause: rings.Pause) -> None:
        await self._send(rings.encode_pause(self._node.seal, self._sender, self._numbers.next(), pause))

    async def _send(self, message: bytes) -> bool:
        try:
            await self._node.commands.run(lambda: self._engine.ring(message), self._node.timeout_s)
        except EngineAway as error:
            self.problem = str(error)  # the other nodes poll at their own pace
            self._waiting.clear()
            return False
        return True

    async def _listen_on(self) -> None:
        own = asyncio.current_task()
        try:
            await self._engine.listen(self._node.incarnation, self._heard, self._told)
        except EngineAway as error:
            self.problem = str(error)
            self._failures += 1
            self._pause = min(2 ** min(self._failures - 1, 16), MAX_PAUSE_BEATS)
        finally:
            if self._listening is own:
                self._listening = None

    def _heard(self, message: bytes) -> None:
        try:
            ring = rings.decode(self._node.seal, message)
        except Malformed:
            self.counts["malformed"] += 1
            return
        except Forged:
            self.counts["forged"] += 1
            return
        if not self._seen.add(ring.sender, ring.number):
            self.counts["replayed"] += 1
            return
        if ring.sender == self._sender:
            self._unheard, self._failures, self.problem = 0, 0, None
            return
        if ring.pause is not None:
            self._paused(ring.pause)
        self.counts["heard"] += bool(ring.canister_ids)
        for canister_id in ring.canister_ids:
            self._nudge(canister_id)
