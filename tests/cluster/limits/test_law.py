"""What all nodes of a cluster together grant of a rate, on a virtual clock: however clients spread over them, however
long the engine takes within its time, and without it.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cluster.limits.level_board import LevelBoard
from appliance.cluster.limits.levels import Spent
from appliance.gateway.limits.cluster_rates import NO_CLUSTER, ClusterRates, Used
from appliance.gateway.limits.gcra import Limiter
from tests.gateway.limits.test_gcra import RateLimit

MS = 10**6
INTERVAL_MS, TIMEOUT_MS = 10, 20
DELAY_S = (INTERVAL_MS + TIMEOUT_MS) / 1000


@dataclass(frozen=True)
class ClusterLimit(RateLimit):
    scope: str = "cluster"


@dataclass
class World:
    """Nodes and an engine. ``way_ms`` says how long the next message takes, to the engine or back."""

    limit: ClusterLimit
    number: int
    way_ms: Callable[[], int]
    now_ms: int = 0
    is_away: bool = False
    board: LevelBoard = field(default_factory=lambda: LevelBoard(100))
    granted: list[tuple[int, int]] = field(default_factory=list)
    """When, and at which node."""
    refused: int = 0

    def __post_init__(self) -> None:
        self.order = count()
        self.due: list[tuple[int, int, Callable[[], None]]] = []
        self.nodes = [_Node(self, number) for number in range(self.number)]

    def after(self, ms: int, do: Callable[[], None]) -> None:
        heapq.heappush(self.due, (self.now_ms + ms, next(self.order), do))

    def pass_until(self, now_ms: int) -> None:
        while self.due and self.due[0][0] <= now_ms:
            self.now_ms, _, do = heapq.heappop(self.due)
            do()
        self.now_ms = now_ms

    @property
    def excess(self) -> float:
        """What all may grant beyond the rate."""
        return self.number * (self.limit.burst + 3 * self.limit.rate * DELAY_S + 1)

    def burst(self, node: int | None = None) -> float:
        """The most that was granted beyond the rate in any window, by all or by one node: as a bucket measures it."""
        level, most, before = 0.0, 0.0, 0
        for at, which in self.granted:
            if node in (None, which):
                level = max(0.0, level - (at - before) * self.limit.rate / 1000) + 1
                most, before = max(most, level), at
        return most


class _Node:
    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.limiter = Limiter[str](world.limit, now_ns=0)
        self.rates = ClusterRates(lambda: world.now_ms * MS)
        self.rates.most, self.rates.delay_ns = 100, round(DELAY_S * 1e9)
        if not world.is_away:
            self.rates.open(self.ask_soon)
        self.is_asking, self.asked_ms = False, -INTERVAL_MS

    def send(self) -> bool:
        if self.limiter.take("client", self.world.now_ms * MS):
            self.world.refused += 1
            return False
        self.world.granted.append((self.world.now_ms, self.number))
        self.rates.add(self.limiter, "messages_total", "client", 1)
        return True

    def ask_soon(self) -> None:
        if not self.is_asking:
            self.is_asking = True
            self.world.after(max(0, self.asked_ms + INTERVAL_MS - self.world.now_ms), self.ask)

    def ask(self) -> None:
        self.asked_ms = self.world.now_ms
        used = self.rates.take(10)
        self.world.after(self.world.way_ms(), lambda: self.spend(used))

    def spend(self, used: list[Used]) -> None:
        spent = [Spent(str(each.key).encode(), each.limiter.limit.rate, each.events) for each in used]
        levels = self.world.board.spend(spent, self.world.now_ms)
        self.world.after(self.world.way_ms(), lambda: self.learn(used, levels))

    def learn(self, used: list[Used], levels: list[float]) -> None:
        self.rates.learn(used, levels, self.world.number)
        self.is_asking = False
        if len(self.rates):
            self.ask_soon()


LIMITS = st.builds(ClusterLimit, st.sampled_from([0.5, 5.0, 50.0, 400.0]), st.sampled_from([1, 2, 5, 40]))
WAYS = st.lists(st.integers(0, TIMEOUT_MS // 2), min_size=1, max_size=7)
PAUSES = st.sampled_from([0, 0, 1, 3, 10, 29, 100, 700])
FLOOD = st.lists(st.tuples(PAUSES, st.integers(0, 4), st.sampled_from([1, 3, 50])), min_size=5, max_size=40)
"""Pause, node, and how many at once."""


def ways(given: list[int]) -> Callable[[], int]:
    numbers = count()
    return lambda: given[next(numbers) % len(given)]


def flooded(world: World, flood: list[tuple[int, int, int]]) -> World:
    for pause_ms, node, times in flood:
        world.pass_until(world.now_ms + pause_ms)
        for _ in range(times):
            world.nodes[node % world.number].send()
    return world


@given(LIMITS, st.integers(1, 5), WAYS, FLOOD)
def test_all_nodes_grant_no_more_than_the_rate_and_a_burst_each(limit: Any, number: int, way: Any, flood: Any) -> None:
    world = flooded(World(limit, number, ways(way)), flood)
    assert world.burst() <= world.excess


@pytest.mark.parametrize(("rate", "burst"), [(5.0, 1), (50.0, 5), (50.0, 200), (400.0, 1)])
@pytest.mark.parametrize("number", [2, 5])
def test_a_flood_at_all_nodes_gets_the_rate_of_one(rate: float, burst: int, number: int) -> None:
    world = World(ClusterLimit(rate, burst), number, ways([1, 4, 2, 10, 0]))
    length_ms = round(1000 * max(4, 3 * number * burst / rate))
    for now_ms in range(0, length_ms, 2):
        world.pass_until(now_ms)
        for node in world.nodes:
            node.send()
    assert world.burst() <= world.excess
    assert len(world.granted) >= 0.9 * rate * length_ms / 1000, "less than the rate is granted"


@given(LIMITS, st.integers(1, 5), FLOOD)
def test_without_the_engine_each_grants_at_most_its_own(limit: Any, number: int, flood: Any) -> None:
    world = flooded(World(limit, number, ways([0]), is_away=True), flood)
    for node in range(number):
        assert world.burst(node) <= limit.burst + 1e-6
    assert not world.board
    for node in world.nodes:
        assert node.rates.problem == NO_CLUSTER
        assert node.rates.counts["node"] == sum(which == node.number for _, which in world.granted)


@given(LIMITS, st.integers(1, 5), WAYS, FLOOD)
def test_who_uses_one_node_is_refused_nothing_that_it_would_grant_alone(
    limit: Any, number: int, way: Any, flood: Any
) -> None:
    at_one = [(pause_ms, 0, times) for pause_ms, _, times in flood]
    together = flooded(World(limit, number, ways(way)), at_one)
    alone = flooded(World(limit, number, ways(way), is_away=True), at_one)
    assert together.granted == alone.granted


def test_what_is_granted_while_the_engine_answers_is_added_to_its_answer() -> None:
    world = World(ClusterLimit(1.0, 100), 2, ways([0, 0, 5, 5, 5, 5]))
    for _ in range(50):
        world.nodes[1].send()
    world.pass_until(2)
    world.nodes[0].send()
    world.pass_until(8)
    for _ in range(40):
        world.nodes[0].send()
    world.pass_until(13)
    for _ in range(50):
        world.nodes[0].send()
    assert len(world.granted) == 100
