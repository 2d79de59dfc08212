"""Tells the engine what this node has allowed of rates that all nodes count together, and hears what all have used."""

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from appliance.cluster.commands import Commands
from appliance.cluster.contact import Contact
from appliance.cluster.limits.levels import Levels, Spent
from appliance.cluster.seal import Seal
from appliance.config.cluster import Cluster
from appliance.errors import EngineAway
from appliance.gateway.limits.cluster_rates import ClusterRates, Used
from appliance.gateway.tasks import Tasks

AT_ONCE = 500
"""Keys in one command."""
FAILED_S = 0.25
"""Before the next command after one that the engine refused, because its memory is full for example."""
_PURPOSE = "rate limit"


class RatesNode(Protocol):
    """The node, as its rates use it."""

    commands: Commands
    settings: Cluster
    others: int

    @property
    def contact(self) -> Contact:
        """The contact with the engine."""

    @property
    def seal(self) -> Seal:
        """Makes the names of keys: the engine does not learn whose they are."""


class Rates:
    """One command is under way at a time, however late it is. Whoever is limited does not wait for it.

    ``counts`` are the commands by result: ``answered``, ``late`` and ``failed``.
    """

    def __init__(self, node: RatesNode, engine: Levels, tasks: Tasks, *, monotonic: Callable[[], float]) -> None:
        self.counts: Counter[str] = Counter()
        self.local: ClusterRates | None = None
        """What the gateway keeps, while the engine answers."""
        self._served: ClusterRates | None = None
        self._node = node
        self._engine = engine
        self._tasks = tasks
        self._monotonic = monotonic
        self._telling: asyncio.Task[None] | None = None
        self._told_at = -1e9

    def serve(self, local: ClusterRates) -> None:
        """Tell the others what a gateway allows, from now on."""
        self._served = local
        if self._node.contact.state == "joined":
            self.joined()
        else:
            self.away(self._node.contact.problem or "")

    def joined(self) -> None:
        """The engine answers."""
        if (local := self._served) is None:
            return
        if self.local is not local:
            self.local = local
            local.open(self._due)
        settings = self._node.settings
        local.most = settings.limit_keys
        local.delay_ns = round((settings.limit_interval + settings.limit_timeout) * 1e9)

    def away(self, problem: str) -> None:
        """The engine does not answer: this node counts alone."""
        self.local = None
        if self._served is not None:
            self._served.close(problem)

    @property
    def problem(self) -> str | None:
        """Why this node counts alone although it has joined, as a sentence."""
        return None if self.local is None else self.local.problem

    def _due(self) -> None:
        if self._telling is None:
            self._telling = self._tasks.start(self._tell_all())
            self._telling.add_done_callback(self._told)

    def _told(self, task: "asyncio.Task[None]") -> None:
        self._telling = None
        if task.cancelled():  # with the node, which ends
            self.away("this node has left its cluster")
        elif self.local is not None and len(self.local):  # the engine was away meanwhile, and is back
            self._due()

    async def _tell_all(self) -> None:
        while self.local is not None and len(self.local):
            wait_s = self._told_at + self._node.settings.limit_interval - self._monotonic()
            await asyncio.sleep(max(0.0, wait_s))
            if (local := self.local) is not None and (used := local.take(AT_ONCE)):
                self._told_at = self._monotonic()
                await self._tell(local, used)

    async def _tell(self, local: ClusterRates, used: Sequence[Used]) -> None:
        spent = [self._spent(each) for each in used]
        ended: asyncio.Event | None = None

        async def spend() -> Sequence[float]:
            nonlocal ended
            ended = asyncio.Event()
            try:
                return await self._engine.spend(spent)
            finally:
                ended.set()

        limit_s = self._node.settings.limit_timeout
        try:
            levels = await self._node.commands.run(spend, limit_s)
        except EngineAway as error:
            self.counts["late" if ended is not None and not ended.is_set() else "failed"] += 1
            if self.local is local:
                local.problem = str(error)
            if ended is None or ended.is_set():
                self._told_at += FAILED_S
            else:
                await ended.wait()
            return
        self.counts["answered"] += 1
        if self.local is local:
            local.problem = None
            local.learn(used, levels, self._node.others + 1)

    def _spent(self, used: Used) -> Spent:
        key = self._node.seal.tag(_PURPOSE, used.name.encode(), *_parts(used.key))
        return Spent(key, used.limiter.limit.rate, used.events)


def _parts(key: Hashable) -> list[bytes]:
    """A key of a limit: an address, a principal, a canister with a client, or the word for all."""
    return [str(each).encode() for each in (key if isinstance(key, tuple) else (key,))]
