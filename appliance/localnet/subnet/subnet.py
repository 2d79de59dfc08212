"""A subnet of several replicas that make blocks."""

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from appliance.localnet.replica.replica import Replica
from appliance.localnet.replica.rounds import ROUND_INSTRUCTIONS, ROUND_LIMIT
from appliance.localnet.state.clock import Clock, TimerHandle
from appliance.localnet.subnet.conditions import Conditions
from appliance.localnet.subnet.draws import Draws
from appliance.localnet.subnet.ingress_pools import IngressPools
from appliance.localnet.subnet.node import LaggingNode
from appliance.localnet.subnet.snapshot import Snapshot

BLOCK_CALLS = 1000
"""Calls of users in one block, as on the IC, and messages that one block executes."""


class Subnet:
    """Makes a block every ``block_time_s`` while it is entered, and implements `replica.node.Nodes`.

    The replicas of a subnet are the same state machine, so one ``replica`` executes for all. What differs is when each
    of them receives a call and when it knows a state. ``latest`` is the state after the last block.
    """

    def __init__(self, replica: Replica, conditions: Conditions) -> None:
        self.call_wait_s = conditions.call_wait_s
        self._replica = replica
        self._clock: Clock = replica.clock
        self._conditions = conditions
        self._draws = Draws(conditions.seed)
        self._pools = IngressPools(conditions.gossip_s, self._draws)
        self.latest = Snapshot(replica, replica.state.new_version(), None)
        self.nodes = [LaggingNode(number, replica, self._pools, self.latest) for number in range(conditions.replicas)]
        self._block_ns = round(conditions.block_time_s * 1e9)
        self._next_block_ns = 0
        self._requests = 0
        self._blocks = 0
        self._timers: dict[object, TimerHandle] = {}
        self._new_block = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        timers, self._timers = self._timers, {}
        for timer in timers.values():
            timer.cancel()
        await self._replica.rounds.stop()  # its timer for tasks of canisters, which blocks do not need

    def start(self) -> None:
        """Begin to make blocks. Needs a running event loop, unless the clock is one that tests move."""
        self.publish()
        self._next_block_ns = self._clock.now_ns() + self._block_ns
        self._at(self._next_block_ns, self._on_block_time)

    def pick(self) -> LaggingNode:
        """The node that the next request meets: a random one."""
        self._requests += 1
        return self.nodes[self._draws.index(len(self.nodes), "request", self._requests)]

    def publish(self) -> None:
        """Let every replica know the state as it is now: a canister was made past consensus, by the program that runs
        this network."""
        self._keep_state()
        for node in self.nodes:
            node.learn(self.latest)

    def make_block(self) -> None:
        """Execute the calls that the maker of this block has received, and certify the state after them."""
        now_ns = self._clock.now_ns()
        self._blocks += 1
        # Requests of clients with an unmoved clock are accepted, so their expiry is compared with an unmoved clock.
        self._pools.remove_expired(now_ns=now_ns - self._clock.ahead_ns)
        maker = self._draws.index(len(self.nodes), "block maker", self._blocks)
        for call in self._pools.take(maker, now_ns=now_ns, limit=BLOCK_CALLS):
            self._replica.ingress.add(call)
            self._replica.executor.enqueue(call)
        self._execute()
        self._keep_state()
        for node in self.nodes:
            self._teach(node, now_ns)
        self._new_block.set()
        self._new_block = asyncio.Event()

    async def settle(self) -> None:
        """Wait until every call that was accepted and every timer that is due has been executed."""
        replica = self._replica
        while self._pools or replica.executor or replica.rounds.is_due():
            await self._new_block.wait()

    # --- steps ---

    def _execute(self) -> None:
        replica = self._replica
        limit = replica.executor.instructions + ROUND_INSTRUCTIONS
        replica.rounds.run_one()
        for _ in range(BLOCK_CALLS // ROUND_LIMIT - 1):
            if not replica.executor or replica.executor.instructions > limit:
                break
            replica.rounds.run_one()

    def _keep_state(self) -> None:
        self.latest = Snapshot(self._replica, self._replica.state.new_version(), self.latest)

    def _teach(self, node: LaggingNode, now_ns: int) -> None:
        snapshot, most_s = self.latest, self._conditions.lag_blocks * self._conditions.block_time_s
        lag_ns = round(self._draws.uniform((0.0, most_s), "lag", node.number, self._blocks) * 1e9)
        if lag_ns:
            self._at(now_ns + lag_ns, partial(node.learn, snapshot))
        else:
            node.learn(snapshot)

    def _on_block_time(self) -> None:
        now_ns = self._clock.now_ns()
        self._next_block_ns += self._block_ns
        if self._next_block_ns <= now_ns:  # a clock that was moved by hours makes one block, not thousands
            self._next_block_ns = now_ns + self._block_ns
        self._at(self._next_block_ns, self._on_block_time)
        self.make_block()

    def _at(self, time_ns: int, callback: Callable[[], None]) -> None:
        """Call at a time, unless the subnet stops before."""
        key = object()

        def call() -> None:
            self._timers.pop(key, None)
            callback()

        self._timers[key] = self._clock.call_at(time_ns, call)
