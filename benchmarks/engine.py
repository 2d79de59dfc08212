"""What nodes cost the engine that they share: its memory for each client, claim and shared entry, and the commands that
heartbeats, openings, messages and ends take. Needs ``redis-server``.

``python -m benchmarks.engine [SESSIONS]``

Two nodes and a local IC in this process, with a Redis of their own. Nothing of it depends on how fast or how busy the
machine is, but for the CPU time, which other load makes longer.
"""

import asyncio
import contextlib
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from redis.asyncio import Redis

from appliance.client import Connection, Generation, connect
from appliance.config.schema import Config
from appliance.ic.key_file import create_identity
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong
from appliance.service import Service, serving
from benchmarks.shared_polls import new_event_loop, started

SESSIONS = 300
SECONDS = 10
"""Of each part in which nothing happens, and so the heartbeats of each node."""
SENT = ("evalsha", "publish")
"""What nodes send; a script that publishes counts in both. What scripts do besides costs no way there and back."""


class Reading(NamedTuple):
    """What the engine says of itself."""

    memory: int
    cpu_ms: float
    calls: Counter[str]
    at: float


async def read(redis: Redis) -> Reading:
    """Now."""
    info: dict[str, Any] = await redis.info("everything")
    calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in info.items() if name.startswith("cmdstat_")}
    cpu_s = info["used_cpu_user"] + info["used_cpu_sys"]
    return Reading(info["used_memory"], 1000 * cpu_s, Counter(calls), time.monotonic())


async def kinds(redis: Redis) -> Counter[str]:
    """Bytes of the keys of each kind, the word that follows the name of the cluster; entries are `entry`."""
    found: Counter[str] = Counter()
    async for key in redis.scan_iter(count=1000):
        kind = key.split(b":")[2].decode()
        found["entry" if kind == "poll" and await redis.type(key) == b"string" else kind] += (
            await redis.memory_usage(key, samples=0) or 0
        )
    return found


async def entries(redis: Redis) -> tuple[int, int]:
    """How many entries of shared polls there are, and their own bytes."""
    sizes = [await redis.strlen(key) async for key in redis.scan_iter("icws:main:poll:*", _type="string")]
    return len(sizes), sum(sizes)


def show(what: str, before: Reading, after: Reading, each: float = 1.0, per: str = "") -> None:
    """Print what was done between two readings: scripts and other commands that nodes sent, memory, CPU time."""
    calls = after.calls - before.calls
    sent = ", ".join(f"{calls[name] / each:.2f} {name}" for name in SENT if calls[name])
    memory, cpu = (after.memory - before.memory) / each, (after.cpu_ms - before.cpu_ms) / each
    print(f"{what:28} {sent}; {memory:+.0f} bytes, {cpu:.2f} ms of CPU{per}", flush=True)


class Bench:
    """Two nodes, a Redis, and a local IC with one canister for each generation."""

    def __init__(self, folder: Path, net: Localnet, redis: Redis) -> None:
        self.folder, self.net, self.redis = folder, net, redis
        self.gateway = create_identity(folder / "identity.pem").principal
        generations: tuple[Generation, ...] = ("v2", "v1")
        self.canisters: dict[Generation, Principal] = {
            each: net.create_canister(PingPong(generation=each, gateway=self.gateway)) for each in generations
        }

    def node(self, name: str, share_polls: str) -> contextlib.AbstractAsyncContextManager[Service]:
        """A gateway of the cluster."""
        facts = {"share_polls": share_polls, "timeout": "10s", "peer": f"unix:{self.folder}/{name}.sock"}
        gateway = {"listen": "127.0.0.1:0", "identity": self.folder / "identity.pem", "journal": self.folder / name}
        listed = [{"id": str(each), "generation": name} for name, each in self.canisters.items()]
        return serving(
            Config.model_validate(
                {
                    "gateway": {**gateway, "max_connections": 2000},
                    "rate_limits": {"connections_per_ip": {"mode": "off"}},
                    "network": {"url": self.net.url, "root_key": self.net.root_key.hex()},
                    "canisters": listed,
                    "cluster": {"url": f"unix://{self.folder}/redis.sock", "node": name, **facts},
                }
            )
        )

    async def sessions(self, node: Service, generation: Generation, count: int) -> list[Connection[Any]]:
        """Clients of a node."""
        url, canister = f"{node.listener.url}/{generation}", self.canisters[generation]
        options = {"network_url": self.net.url, "message_type": APP_MESSAGE}
        return [await connect(url, canister, **options) for _ in range(count)]

    async def part(self, what: str, do: Callable[[], Awaitable[object]], each: float, per: str) -> Reading:
        """Do something and show what it took, without what heartbeats take meanwhile."""
        before = await read(self.redis)
        await do()
        await asyncio.sleep(2)
        after = await read(self.redis)
        beats = Counter({name: round(self.idle[name] * (after.at - before.at)) for name in SENT})
        show(what, before, after._replace(calls=after.calls - beats), each, per)
        return after

    async def rest(self, what: str) -> None:
        """Show what a second takes in which nothing happens."""
        before = await read(self.redis)
        await asyncio.sleep(SECONDS)
        after = await read(self.redis)
        seconds = after.at - before.at
        self.idle = {name: (after.calls - before.calls)[name] / seconds for name in SENT}
        show(what, before, after, 2 * seconds, " a second of a node")


async def talk(clients: Sequence[Connection[Any]]) -> None:
    """One message of each client after the other, and its answer."""
    for client in clients:
        await client.send({"text": "hello", "timestamp": 0})
        while "hello" not in (await client.receive()).value["text"]:
            pass


async def measure(count: int, share_polls: str) -> None:
    """Print all of it, with polls that are shared or not."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        command = ["redis-server", "--port", "0", "--unixsocket", f"{folder}/redis.sock", "--save", ""]
        await stack.enter_async_context(started(*command))
        net = await stack.enter_async_context(Localnet())
        redis = await stack.enter_async_context(Redis.from_url(f"unix://{folder}/redis.sock"))
        bench = Bench(folder, net, redis)
        first, second = [await stack.enter_async_context(bench.node(name, share_polls)) for name in "ab"]
        await asyncio.sleep(5)
        print(f"\ncluster.share_polls: {share_polls}")
        await bench.rest("two nodes, no client")
        if share_polls == "always":
            clients = [*await bench.sessions(first, "v2", 1), *await bench.sessions(second, "v2", 1)]
            await asyncio.sleep(3)
            await bench.rest("one canister, no messages")
            await bench.part("messages, one by one", lambda: talk(clients[:1] * count), count, " each")
            number, size = await entries(redis)
            print(f"entries                      {number} of {size / max(1, number):.0f} bytes each")
        else:
            for generation in bench.canisters:
                await of_sessions(bench, first, generation, count)
        for kind, size in sorted((await kinds(redis)).items()):
            print(f"{kind:28} {size} bytes at the end")


async def of_sessions(bench: Bench, node: Service, generation: Generation, count: int) -> None:
    """What sessions of a generation take."""
    clients: list[Connection[Any]] = []
    before = await kinds(bench.redis)

    async def open_all() -> None:
        clients.extend(await bench.sessions(node, generation, count))

    async def close_all() -> None:
        for client in clients:
            await client.close()

    await bench.part(f"{generation}: opened", open_all, count, " each")
    grown = await kinds(bench.redis)
    for kind in grown:
        if grown[kind] - before[kind] > count:
            print(f"{generation}: {kind:24} {(grown[kind] - before[kind]) / count:.0f} bytes each")
    await bench.rest(f"{generation}: {count} idle sessions")
    await bench.part(f"{generation}: messages, one by one", lambda: talk(clients), count, " each")
    await bench.part(f"{generation}: left", close_all, count, " each")


async def main(count: int) -> None:
    """Both ways."""
    for share_polls in ("never", "always"):
        await measure(count, share_polls)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else SESSIONS))
