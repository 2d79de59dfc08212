"""What clients are put through, one scenario for each column of the table in README.md."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from appliance.ic.principal import Principal
from appliance.localnet.canister import Environment
from appliance.localnet.pingpong import PingPong
from appliance.localnet.websocket_wire import SERVICE_MESSAGE
from tests.interop.clients import LIVE_OWN, LIVE_SDKS, Client, End, Live
from tests.interop.node import PATIENCE_S
from tests.interop.proxies import forge, lying_gateway
from tests.interop.recording import Recording
from tests.interop.replay import play
from tests.interop.table import Cell, Key
from tests.network import Generation, Network, running

ROUNDS = 20
YES = Cell("yes")
FORGOTTEN = (
    "Canisters of v0 and v1 have no message that says so: they forget the client, and the session ends with code {} at "
    "its next message."
)
FOREIGN_CLOSE = "A CloseMessage of v2, sent all the same, ends the session with code {}: {}."
LIVED_AGAIN = (
    "By its recording, for this state of the SDK (July 2023) is in no package: its frames and requests are sent again, "
    "byte for byte, and what comes back is what it was content with."
)
PAST_THE_GATEWAY = "It sends to the canister itself, over HTTP."
NOT_RECORDED = "The recording does not show it."


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
    return Cell("yes", tuple(notes))


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


async def _lived_again(*notes: str) -> Cell:
    await play(Recording.load("62dcec3"))
    return Cell("yes", (LIVED_AGAIN, *notes))


async def _unknown() -> Cell:
    return Cell("-", (NOT_RECORDED,))


RECORDED: Mapping[str, Callable[[], Awaitable[Cell]]] = {
    "open": _lived_again,
    "send": partial(_lived_again, PAST_THE_GATEWAY),
    "receive": _lived_again,
    "ordered": _unknown,
    "canister close": _unknown,
    "client close": _lived_again,
    "forged certificate refused": _unknown,
}
"""What is known of the seed's SDK."""


class Examination(NamedTuple):
    """One cell of the table, and how to find out what stands in it."""

    client: str
    generation: Generation
    column: str
    run: Callable[[], Awaitable[Cell]]
    project: str | None = None
    """The folder with the packages that it needs."""

    @property
    def key(self) -> Key:
        """Its place in the table."""
        return self.client, self.generation, self.column


def _of(live: Live) -> Iterator[Examination]:
    for column, scenario in COLUMNS.items():
        yield Examination(live.name, live.generation, column, partial(scenario, live), live.project)


EXAMINATIONS = [
    *(Examination("SDK of the seed, 62dcec3", "v0", column, RECORDED[column]) for column in COLUMNS),
    *chain.from_iterable(map(_of, (*LIVE_SDKS, *LIVE_OWN))),
]
"""All of the table, in its order."""
