"""Nodes on a virtual clock, and what they are made of."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from appliance.cluster.engine import Facts, NodeInfo
from appliance.cluster.node import Node
from appliance.cluster.seal import Seal
from appliance.config.cluster import Cluster
from appliance.crypto import SigningKey
from appliance.errors import GatewayError
from appliance.gateway.limits.cluster_rates import ClusterRates
from appliance.gateway.nodes import Claim, Known, Place, Told
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from tests.cluster.board import Board, MemoryEngine

CANISTER = Principal.from_text("bkyz2-fmaaa-aaaaa-qaaaq-cai")
FACTS = Facts("aaaaa-aa", "00" * 32)
INFO = NodeInfo("1.0", "machine", 7, 10**18)
GATEWAY = Principal(b"gateway")
GROUP = Place(CANISTER, b"principal")
SEAL = Seal(KeyIdentity(SigningKey.generate("ed25519")), "main")
NOW_NS = 1_700_000_000 * 10**9


def claim(request_id: bytes = b"r" * 32, *, group: bytes = b"", client_key: bytes = b"key") -> Claim:
    return Claim(Place(CANISTER, group), "client", client_key, request_id, NOW_NS + 240 * 10**9)


class Alarm:
    """A wake-up that the test rings: the node beats when it says so."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._ringing = asyncio.Event()

    def set(self) -> None:
        self._ringing.set()

    async def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        await self._ringing.wait()
        self._ringing.clear()
        return True


class Local:
    """A gateway that remembers what it was told."""

    def __init__(self) -> None:
        self.nudged: list[Principal] = []
        self.paused: list[tuple[str, float]] = []
        self.places: list[Place] = []
        self.sessions = 0
        self.clients: dict[bytes, Known] = {}
        self.to_tell: list[Known] = []
        self.gave_up: list[str] = []
        self.poll_budget = 200.0
        self.rates = ClusterRates(lambda: NOW_NS)

    def nudge(self, canister_id: Principal) -> None:
        self.nudged.append(canister_id)

    def pause(self, url: str, seconds: float) -> None:
        self.paused.append((url, seconds))

    def held(self) -> Iterable[Place]:
        return self.places

    def known(self) -> Iterable[Known]:
        return list(self.clients.values())

    def end(self, was_told: Callable[[Known], Told], error: Callable[[], GatewayError], node: str) -> int:
        before = len(self.clients)
        self.clients = {key: each for key, each in self.clients.items() if was_told(each) == "no"}
        return before - len(self.clients)

    def tell(self, known: Known) -> bool:
        self.to_tell.append(known)
        return known.gateway == GATEWAY

    @property
    def untold(self) -> int:
        return len(self.to_tell)

    def given_up(self, node: str, **facts: object) -> None:
        self.gave_up.append(node)


class Beating:
    """A node with its clock, its alarm and its gateway."""

    def __init__(self, engine: MemoryEngine, name: str = "a", **options: Any) -> None:
        self.engine = engine
        self.now = 1000.0
        self.alarm = Alarm()
        self.local = Local()
        settings = Cluster.model_validate({"url": "redis://nowhere", "timeout": "60s", **options.pop("settings", {})})
        self.node = Node(
            engine,
            settings,
            name=name,
            facts=options.pop("facts", FACTS),
            info=INFO,
            seal=options.pop("seal", SEAL),
            clock=options.pop("clock", lambda: NOW_NS),
            monotonic=lambda: self.now,
            wake_up=lambda: self.alarm,
            jitter=lambda: 0.0,
            **options,
        )

    async def beat(self) -> None:
        """One more attempt, and what follows from it."""
        before = len(self.alarm.waits)
        self.alarm.set()
        await until(lambda: len(self.alarm.waits) > before)


@asynccontextmanager
async def beating(engine: MemoryEngine | None = None, name: str = "a", **options: Any) -> AsyncIterator[Beating]:
    it = Beating(engine or MemoryEngine(Board()), name, **options)
    async with it.node.running():
        it.node.serve(it.local)
        await until(lambda: it.alarm.waits)
        yield it


async def until(condition: Any) -> None:
    give_up_at = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up_at, "the condition never held"
        await asyncio.sleep(0)
