"""Nodes that poll one canister and share it: real pollers and shared polls over an engine in memory, on a virtual
clock. Only the bytes of the IC are left out: an answer is the number of a page.
"""

import asyncio
import itertools
import random
from collections import Counter
from typing import Any

from appliance.cluster.commands import Commands
from appliance.cluster.contact import Contact
from appliance.cluster.seal import Seal
from appliance.cluster.shared.shared_polls import SharedPolls
from appliance.config.cluster import Cluster
from appliance.crypto import CandidTypes, SigningKey
from appliance.errors import CanisterSilent, Malformed, MessagesLost
from appliance.gateway.polling.queue_position import QueuePosition
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.tasks import Tasks
from appliance.ic.identity import KeyIdentity
from appliance.ic.queries import UNSIGNED, EndpointReply
from tests.cluster.board import Board, MemoryEngine
from tests.gateway.bench import ManualWakeUp, plain_poller
from tests.gateway.clients import GATEWAY
from tests.gateway.polling.queue_model import Message, Page, State

ARG = CandidTypes("(record {nonce: nat64})")
SEAL = Seal(KeyIdentity(SigningKey.generate("ed25519")), "main")
START_NS = 10**18


class Client:
    """A client at a node. It is told where it may have missed something, as a peer tells it; what must never happen is
    kept in ``World.violations``, since a poller goes on after any exception.
    """

    def __init__(self, world: "World", key: bytes, life: int) -> None:
        self.world = world
        self.key = key
        self.life = life
        self.sent = 0
        self.received = 0
        self.told = False

    @property
    def is_open(self) -> bool:
        return bool(self.received)

    def begins_with(self, written_ns: int, certified_ns: int) -> bool:
        return True

    def deliver(self, frame: bytes, nonce: int, sequence_num: int, polled: Any) -> bool:
        if self.told:
            return False
        if sequence_num <= self.received:
            self.world.violations.append(f"{self.key!r} got message {sequence_num} after {self.received}")
            return False
        if sequence_num > self.received + 1:
            self.fail(MessagesLost("the canister"))
            return False
        self.received = sequence_num
        return True

    def fail(self, error: Exception) -> None:
        self.told = True
        # Nothing is missing in a queue here, and the canister knows its client; it writes no acknowledgements.
        if self.life == self.world.now.life and not isinstance(error, CanisterSilent):
            self.world.violations.append(f"{self.key!r} was told: {error}")

    forgotten = fail


class Node:
    """A node with its poller. ``behind`` is how far behind the replica is that it asks; ``asked`` counts its polls."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.engine = MemoryEngine(world.board)
        self.commands = Commands(32)
        self.tasks = Tasks()
        self.incarnation = name.encode().hex().zfill(16)
        self.clients: dict[bytes, Client] = {}
        self.behind = 0
        self.asked = 0
        self.due_s = 0.0
        self.is_alive = True
        self.is_failing = False
        self.polls = SharedPolls(
            self,
            self.engine,
            self.tasks,
            clock=lambda: world.now_s,
            wake_up=ManualWakeUp,
            new_epoch=lambda: next(world.epochs).to_bytes(8, "big").hex(),
        )
        self.wake_up = ManualWakeUp()
        self.counters = Counters()
        self.position = QueuePosition()
        self.poller = plain_poller(
            2,
            source=self,
            replies=self,
            members=lambda: self.clients,
            position=self.position,
            counters=self.counters,
            wake_up=self.wake_up,
            clock=lambda: world.now_ns,
            share=lambda canister_id, poller: self.polls.share(GATEWAY, canister_id, poller),
        )

    # --- the node in its cluster (shared_polls.OwnNode) ---

    contact = Contact("joined", 0.0)
    seal = SEAL

    @property
    def settings(self) -> Cluster:
        return self.world.settings

    @property
    def others(self) -> int:
        return 0 if self.engine.is_away else len(self.world.nodes) - 1

    # --- the IC (gateway.ic.Source and polling.replies.Replies) ---

    signatures = UNSIGNED
    verified_by = None

    def queue(self, canister_id: bytes, generation: int) -> None:
        return None

    async def query_until(
        self, canister_id, method, arg, read, *, signatures, timeout_s=None, queue=None, keeps_body=False
    ):
        self.asked += 1
        if self.is_failing:
            raise Malformed("reply", "the way of this node to the IC is broken")
        nonce = ARG.decode(arg)[0]["nonce"]
        history = self.world.history
        page = history[max(0, len(history) - 1 - self.behind)].page(nonce, "v2", self.world.page_size)
        self.world.pages.append(page)
        body = (len(self.world.pages) - 1).to_bytes(8, "big")
        return await read(EndpointReply(body, "replica", 1, None, b"query", body))

    async def reread(self, canister_id, method, query, body, *, signatures):
        if query != b"query":
            raise Malformed("shared answer", "it is not about this query")
        return body, None

    async def open(self, arg: bytes, canister_id: bytes, generation: int) -> Page:
        return self.world.pages[int.from_bytes(arg, "big")]

    # --- what happens here ---

    async def turn(self) -> None:
        """One turn of the poller, if it is due."""
        poller = self.poller
        if not self.is_alive or (self.world.now_s < self.due_s and not self.wake_up._is_set):
            return
        if self.wake_up._is_set:
            self.wake_up._is_set, poller.pace = False, poller.pace.nudged()
        if not (poller._follows and await poller._follow()):
            await poller.poll()
            await rest()
        self.due_s = self.world.now_s + poller._left_s()

    async def beat(self) -> None:
        if self.is_alive:
            await self.polls.beat()
            await rest()

    async def open_client(self, key: bytes) -> None:
        world, client = self.world, Client(self.world, key, self.world.now.life)
        self.clients[key] = client
        world.clients.append(client)
        async with self.poller.opening():
            client.life = world.now.life
            world.write(client)
        self.poller.nudge()
        if not client.received:
            self.poller.expect(key, 0)

    def leave(self, key: bytes) -> None:
        client = self.clients.pop(key)
        client.told = True
        self.poller.expect_no_more(key)

    async def die(self) -> None:
        self.is_alive = False
        for client in self.clients.values():
            client.told = True
        await self.tasks.cancel()


class World:
    """``history`` has every state of the canister."""

    def __init__(self, names: str = "abc", *, page_size: int = 5, **settings: Any) -> None:
        self.board = Board()
        self.settings = Cluster.model_validate({"url": "redis://nowhere", "share_polls": "always", **settings})
        self.epochs = itertools.count(1)
        self.pages: list[Page] = []
        self.page_size = page_size
        self.history = [State(START_NS)]
        self.clients: list[Client] = []
        self.violations: list[str] = []
        self.now_s = 1000.0
        self.nodes = {name: Node(self, name) for name in names}

    @property
    def now(self) -> State:
        return self.history[-1]

    @property
    def now_ns(self) -> int:
        return START_NS + round(self.now_s * 1e9)

    def write(self, client: Client) -> None:
        """The canister writes to a client, if it knows it."""
        now = self.now
        if client.life != now.life:
            return
        client.sent += 1
        message = Message(now.life, len(now.queue), client.key, client.sent, now.time_ns + 1)
        self.history.append(State(now.time_ns + 1, now.life, 0, (*now.queue, message)))

    def restart(self) -> None:
        """The canister forgets everything."""
        self.history.append(State(self.now.time_ns + 1, self.now.life + 1))

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.board.now_ms = round(self.now_s * 1000)

    async def go_on(self, seconds: float, step_s: float = 0.05) -> None:
        """Let time pass, with all that happens in it."""
        for step in range(round(seconds / step_s)):
            self.pass_time(step_s)
            for node in self.nodes.values():
                if step * step_s % 0.5 < step_s:
                    await node.beat()
                await node.turn()

    @property
    def counts(self) -> Counter[str]:
        return sum((node.polls.counts for node in self.nodes.values()), Counter())

    @property
    def asking(self) -> list[str]:
        return [name for name, node in self.nodes.items() if node.is_alive and node.polls.roles["asking"]]

    async def close(self) -> None:
        assert not self.violations
        for node in self.nodes.values():
            await node.tasks.cancel()

    def missing(self) -> list[Client]:
        """Clients that the canister wrote to, and that got not all of it and were not told."""
        life = self.now.life
        return [each for each in self.clients if each.life == life and not each.told and each.received < each.sent]


async def rest() -> None:
    """Let whatever was begun end, or wait."""
    loop = asyncio.get_running_loop()
    for _ in range(12):
        await asyncio.sleep(0)
        if not loop._ready:  # type: ignore[attr-defined]
            return


def seeded(seed: int) -> random.Random:
    return random.Random(seed)
