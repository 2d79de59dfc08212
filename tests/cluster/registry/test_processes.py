"""Three gateways as processes of their own, a real Redis and a localnet with a canister of each generation: one is
killed, one stands still for too long, and one starts again meanwhile.
"""

import asyncio
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientSession, UnixConnector
from redis.asyncio import Redis

from appliance.crypto import SigningKey
from appliance.errors import NodeGivenUp
from appliance.ic.key_file import create_identity
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.dialect import WsInitParams
from tests.cli.processes import WORDS, icws, seen
from tests.cluster.redis_server import RedisServer, redis_server
from tests.gateway.journal.test_crash import Counting
from tests.gateway.players import Player, playing
from tests.network import Generation

GENERATIONS: tuple[Generation, ...] = ("v0", "v1", "v2")
PATIENCE_S = 100


class Asked(Counting):
    """Notes each close call, also of those that it does not know any more."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.asked: Counter[str] = Counter()

    def ws_close(self, env: Any, args: Any) -> Any:
        self.asked[repr(args)] += 1
        return super().ws_close(env, args)


class Street:
    """The localnet, its canisters and the nodes, which are started by name."""

    def __init__(self, folder: Path, net: Localnet, engine: RedisServer) -> None:
        principal = create_identity(folder / "identity.pem").principal
        self.folder = folder
        self.net = net
        self.engine = engine
        patient = WsInitParams(send_ack_interval_ms=3_600_000)  # the clients of these tests do not listen all the time
        self.canisters = {
            each: Asked(params=None if each == "v0" else patient, generation=each, gateway=principal)
            for each in GENERATIONS
        }
        self.ids = {each: net.create_canister(canister) for each, canister in self.canisters.items()}

    @asynccontextmanager
    async def node(self, name: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
        """``icws run`` as a node, and its URL."""
        listed = "\n".join(f"  - {{id: {self.ids[each]}, generation: {each}}}" for each in GENERATIONS)
        file = self.folder / f"{name}.yaml"
        file.write_text(
            f"gateway: {{listen: '127.0.0.1:0', identity: identity.pem, journal: {name}.journal}}\n"
            f"network: {{url: '{self.net.url}', root_key: fetch}}\ncontrol: {{listen: null, history: null}}\n"
            f"verification: {{max_query_age: 1h}}\nplugins: []\nmetrics: {{listen: 'unix:{self._metrics(name)}'}}\n"
            f"cluster: {{url: '{self.engine.url}', node: {name}, peer: 'unix:{self.folder / name}.sock', "
            f"give_up_after: 5s, claim_timeout: 2s}}\n"
            f"canisters:\n{listed}\n"
        )
        async with icws("run", "--config", str(file)) as process:
            url = re.search(r"url=(ws://\S+)", await seen(process.stderr, WORDS))
            assert url is not None
            assert process.stderr is not None
            reading = asyncio.ensure_future(process.stderr.read())  # with its pipe full, it would wait for a reader
            try:
                yield process, url[1]
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()
                print(f"--- {name}\n{(await reading).decode()}")  # where the test fails

    @asynccontextmanager
    async def clients(self, url: str) -> AsyncIterator[list[Player]]:
        """A client of each generation."""
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(
                    playing(
                        SimpleNamespace(localnet=self.net, canister_id=self.ids[each], generation=each),  # type: ignore[arg-type]
                        url=f"{url}/{each}",
                    )
                )
                for each in GENERATIONS
            ]

    async def late_close_calls(self, name: str) -> float:
        """How many clients of its earlier process a node has yet to report."""
        connector = UnixConnector(str(self._metrics(name)))
        async with ClientSession(connector=connector) as session, session.get("http://node/metrics") as reply:
            lines = (await reply.text()).splitlines()
        (found,) = [line for line in lines if line.startswith("icws_late_close_calls ")]
        return float(found.rpartition(" ")[2])

    def _metrics(self, name: str) -> Path:
        return self.folder / f"{name}.metrics"

    def left(self) -> dict[str, int]:
        return {each: canister.left.total() for each, canister in self.canisters.items()}

    def asked(self) -> list[int]:
        """How often the canisters were asked to close each client."""
        return [number for canister in self.canisters.values() for number in canister.asked.values()]


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not (  # noqa: ASYNC110 - nothing here tells when
            await found if asyncio.iscoroutine(found := condition()) else found
        ):
            await asyncio.sleep(0.05)


@pytest.mark.timeout(400)
async def test_a_node_that_is_killed_and_one_that_stands_still(tmp_path: Path, engine: RedisServer) -> None:
    async with Localnet() as net, AsyncExitStack() as stack, Redis.from_url(engine.url) as raw:
        street = Street(tmp_path, net, engine)
        names = ("a", "b", "c")
        started = [await stack.enter_async_context(street.node(name)) for name in names]
        clients = [await stack.enter_async_context(street.clients(url)) for _, url in started]
        for name in names:
            await until(lambda: _has(raw, name))  # noqa: B023
        # One is killed: the others tell its canisters, once.
        started[0][0].kill()
        await until(lambda: street.left() == {"v0": 1, "v1": 1, "v2": 1})
        await until(lambda: _is_told(raw, "a"))
        # Its next start has a journal with all of them, and tells nobody.
        _, url = await stack.enter_async_context(street.node("a"))
        clients[0] = await stack.enter_async_context(street.clients(url))
        await says(clients[0])
        assert street.left() == {"v0": 1, "v1": 1, "v2": 1}
        # Another stands still for too long, and goes on.
        started[1][0].send_signal(signal.SIGSTOP)
        await until(lambda: street.left() == {"v0": 2, "v1": 2, "v2": 2})
        await until(lambda: _is_told(raw, "b"))
        started[1][0].send_signal(signal.SIGCONT)
        for client in clients[1]:
            assert (await client.closed())[0] == NodeGivenUp.close_code
        async with street.clients(started[1][1]) as back:
            await says([*back, *clients[0], *clients[2]])
            assert street.left() == {"v0": 2, "v1": 2, "v2": 2}
            assert set(street.asked()) == {1}, "a canister was told of a client twice"


@pytest.mark.timeout(400)
async def test_a_client_that_came_back_elsewhere_outlives_the_journal_of_the_node_that_was_killed(
    tmp_path: Path, engine: RedisServer
) -> None:
    async with Localnet() as net, AsyncExitStack() as stack:
        street = Street(tmp_path, net, engine)
        killed, url = await stack.enter_async_context(street.node("a"))
        _, other = await stack.enter_async_context(street.node("b"))
        network: Any = SimpleNamespace(localnet=net, canister_id=street.ids["v0"], generation="v0")
        key = SigningKey.generate("ed25519")
        await stack.enter_async_context(playing(network, url=f"{url}/v0", key=key))
        killed.kill()
        client = await stack.enter_async_context(playing(network, url=f"{other}/v0", key=key))
        await stack.enter_async_context(street.node("a"))
        while await street.late_close_calls("a"):
            await says([client])
        await says([client])
        assert not street.left()["v0"]


async def says(clients: list[Player]) -> None:
    """The sessions of these clients work, both ways."""
    for client in clients:
        await client.say("hello")
        assert await client.hear() == "hello ping"


async def _has(raw: Redis, name: str) -> bool:
    return await raw.hlen(f"icws:main:known:{name}") == len(GENERATIONS)


async def _is_told(raw: Redis, name: str) -> bool:
    return await raw.hlen(f"icws:main:told:{name}") == len(GENERATIONS)
