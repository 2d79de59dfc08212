"""What clients are put through, one scenario for each column of the table in README.md."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

from appliance.ic.principal import Principal
from appliance.localnet.canister import Environment
from appliance.localnet.pingpong import PingPong
from appliance.localnet.websocket_wire import SERVICE_MESSAGE
from tests.interop.clients import LIVE_OWN, LIVE_SDKS, Client, End, Live
from tests.interop.node import PATIENCE_S
from tests.interop.proxies import forge, lying_gateway
from tests.interop.table import Cell
from tests.network import Generation, Network, running

ROUNDS = 20
YES = Cell("yes")
FORGOTTEN = (
    "Before v2 canisters have no word for it: they forget the client, and the gateway closes with code {} when the "
    "canister refuses the client's next message."
)
FOREIGN_CLOSE = "A CloseMessage, which v1 does not have, ends it with code {}: {}."


class Watched(PingPong):
    """Notes who comes and who goes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.guests: set[object] = set()
        self.came, self.left = asyncio.Event(), asyncio.Event()

    def on_open(self, env: Environment, client: Any) -> None:
        super().on_open(env, client)
        self.guests.add(client)
        self.came.set()

    def on_close(self, env: Environment, client: Any) -> None:
        super().on_close(env, client)
        self.guests.remove(client)
        self.left.set()


W = TypeVar("W", bound=Watched)


class Outspoken(Watched):
    """Closes with the CloseMessage of v2 in a generation that does not have it, as canisters of later SDKs do."""

    def close(self, env: Environment, client: Any) -> None:
        message = SERVICE_MESSAGE.encode({"CloseMessage": {"reason": {"ClosedByApplication": None}}})
        self._push(env, self._clients.of(client), message, is_service_message=True)
        super().close(env, client)


@asynccontextmanager
async def serving(generation: Generation, kind: type[W], **options: Any) -> AsyncIterator[tuple[Network, W]]:
    """A gateway in front of a watched canister; `options` are those of ``running``."""
    canisters: list[W] = []

    def make(gateway: Principal) -> W:
        canisters.append(kind(generation=generation, gateway=gateway))
        return canisters[0]

    async with running(make, generation=generation, **options) as network:
        yield network, canisters[0]


@asynccontextmanager
async def met(live: Live, kind: type[Watched] = Watched) -> AsyncIterator[tuple[Client, Watched]]:
    """A client whose session is open and that has the canister's greeting."""
    async with serving(live.generation, kind) as (network, canister), live.start(network, network.url) as client:
        await client.opened()
        assert await client.receive() == "ping"
        yield client, canister


async def opening(live: Live) -> Cell:
    """Gateway, canister and client agree that the session is open."""
    async with serving(live.generation, Watched) as (network, canister), live.start(network, network.url) as client:
        await client.opened()
        assert network.gateway.stats.opened == 1
        await asyncio.wait_for(canister.came.wait(), PATIENCE_S)
    return YES


async def sending(live: Live) -> Cell:
    """The canister's application reads what the client's application has sent."""
    async with met(live) as (client, _):
        await client.send("good morning")
        assert await client.receive() == "good morning ping"
    return YES


async def receiving(live: Live) -> Cell:
    """The canister's greeting, which nobody asked for, comes through."""
    async with met(live):
        return YES


async def order(live: Live) -> Cell:
    """Many messages at once keep their order both ways."""
    texts = [f"round {number}" for number in range(ROUNDS)]
    async with met(live) as (client, _):
        for text in texts:
            await client.send(text)
        assert [await client.receive() for _ in texts] == [f"{text} ping" for text in texts]
    return YES


async def canister_closes(live: Live) -> Cell:
    """The canister's application closes the session."""
    if live.generation == "v2":
        code, reason = await _closed(live, Watched)
        assert code == 4001
        assert "ClosedByApplication" in reason
        return YES
    notes = [FORGOTTEN.format(await _forgotten(live))]
    if live.generation == "v1":
        notes.append(FOREIGN_CLOSE.format(*await _closed(live, Outspoken)))
    return Cell("no", tuple(notes))


async def _closed(live: Live, kind: type[Watched]) -> End:
    async with met(live, kind) as (client, canister):
        await client.send("close")
        end = await client.ended()
        assert not canister.guests
    return end


async def _forgotten(live: Live) -> int:
    """The code that a client sees which speaks after the canister has forgotten it."""
    async with met(live) as (client, canister):
        await client.send("close")
        await client.send("are you there?")
        code, reason = await client.ended()
        assert not canister.guests
    assert "ws_message" in reason
    return code


async def client_closes(live: Live) -> Cell:
    """The client's application closes the session, and the canister is told."""
    async with met(live) as (client, canister):
        await client.close()
        assert await client.ended() == (1000, "")
        await asyncio.wait_for(canister.left.wait(), PATIENCE_S)
        assert not canister.guests
    return YES


async def forged_certificate(live: Live) -> Cell:
    """A gateway vouches for the canister's messages with a key of its own."""
    async with (
        serving(live.generation, Watched) as (network, _),
        lying_gateway(network.url, forge) as url,
        live.start(network, url) as client,
    ):
        code, reason = await client.ended()
        assert network.gateway.stats.opened == 1
    assert code == 4000
    assert live.untrusted in reason
    return YES


Scenario = Callable[[Live], Awaitable[Cell]]

COLUMNS: Mapping[str, Scenario] = {
    "open": opening,
    "send": sending,
    "receive": receiving,
    "ordered": order,
    "canister close": canister_closes,
    "client close": client_closes,
    "forged certificate refused": forged_certificate,
}


class Examination(NamedTuple):
    """One cell of the table, and how to find out what stands in it."""

    client: str
    generation: Generation
    column: str
    run: Callable[[], Awaitable[Cell]]
    project: str | None = None
    """The folder with the packages that it needs."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Its place in the table."""
        return self.client, self.generation, self.column


def _of(live: Live) -> Iterator[Examination]:
    for column, scenario in COLUMNS.items():
        yield Examination(live.name, live.generation, column, partial(scenario, live), live.project)


EXAMINATIONS = [examination for live in (*LIVE_SDKS, *LIVE_OWN) for examination in _of(live)]
"""All of the table, in its order."""
