"""Rate limits that all nodes of a cluster count together: what this node tells the others, and what they say.

No client waits for another node. Each node decides by its own `Limiter`, which always counts. What it has allowed it
tells the engine of the cluster shortly after, for all keys at once; the answer is what all nodes together have used up,
and raises what the limiter knows. What was allowed is counted there even where it is more than the limit: so what
several nodes have allowed at the same moment is missing to all of them afterwards, and the rate holds in the long run.

Nothing here waits or does I/O; ``cluster.limits.rates`` carries it.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple

from appliance.gateway.limits.gcra import Limiter

NO_CLUSTER = "no cluster is configured"
Counted = Literal["cluster", "node", "dropped"]
"""``node``: by this node alone, since the engine is away or slow; ``dropped``: the same, because too many keys wait."""


class Used(NamedTuple):
    """Events of one key of a limit that this node has allowed, the first of them at ``since_ns``. ``name`` is that of
    the limit.
    """

    limiter: Limiter[Any]
    name: str
    key: Hashable
    events: int
    since_ns: int


@dataclass(slots=True)
class _Waiting:
    name: str
    events: int
    since_ns: int


class ClusterRates:
    """What this node has allowed and has not told the others. ``problem`` is why it counts alone, as a sentence, None
    while the others are heard.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        """``clock`` is that of the limiters."""
        self.problem: str | None = NO_CLUSTER
        self.counts: Counter[Counted] = Counter()
        """Events of limits that all nodes count, by who counted them."""
        self.most = 0
        """The most keys that wait."""
        self.delay_ns = 0
        """Time that it takes at most until an event is counted at the engine, and this node knows of it."""
        self._due: Callable[[], None] | None = None
        self._clock = clock
        self._waiting: dict[tuple[Limiter[Any], Hashable], _Waiting] = {}

    def __len__(self) -> int:
        """The keys that wait."""
        return len(self._waiting)

    def open(self, due: Callable[[], None]) -> None:
        """Keep what has to be told from now on; ``due`` is called when something begins to wait."""
        self._due, self.problem = due, None

    def close(self, problem: str) -> None:
        """Keep nothing, since nobody could be told."""
        self._due, self.problem = None, problem
        self._waiting.clear()

    def add(self, limiter: Limiter[Any], name: str, key: Hashable, events: int) -> None:
        """Have the others told of events of a key that this node has allowed."""
        if self._due is None:
            self.counts["node"] += events
        elif (waiting := self._waiting.get((limiter, key))) is not None:
            self.counts["cluster" if self.problem is None else "node"] += events
            waiting.events += events
        elif len(self._waiting) >= self.most:
            self.counts["dropped"] += events
        else:
            self.counts["cluster" if self.problem is None else "node"] += events
            self._waiting[limiter, key] = _Waiting(name, events, self._clock())
            if len(self._waiting) == 1:
                self._due()

    def take(self, most: int) -> list[Used]:
        """What has waited longest, for as many keys: it is being told now."""
        taken = list(islice(self._waiting.items(), most))
        for at, _ in taken:
            del self._waiting[at]
        return [
            Used(limiter, waiting.name, key, waiting.events, waiting.since_ns)
            for (limiter, key), waiting in taken
            if limiter.is_shared
        ]

    def learn(self, told: Sequence[Used], levels: Sequence[float], nodes: int) -> None:
        """What all nodes together, so many, have used up of these keys, in events, with what this one told.

        The engine counts events later than this node, and the answer takes time, too. What time gave back meanwhile is
        taken off: a client that uses one node alone is never refused for what it used there.

        Nodes cannot have used up more than a burst each, and what is given back before they know of each other. Another
        node may have come since they were counted. Whatever the engine says above that lets nobody wait.
        """
        now_ns = self._clock()
        for (limiter, _, key, _, since_ns), level in zip(told, levels, strict=True):
            waiting = self._waiting.get((limiter, key))
            own = 0 if waiting is None else waiting.events
            back = limiter.limit.rate * max(self.delay_ns, now_ns - since_ns) / 1e9
            most = (nodes + 1) * (limiter.limit.burst + 2 * back)
            limiter.learn(key, max(0.0, level + own - back), most=most, now_ns=now_ns)
