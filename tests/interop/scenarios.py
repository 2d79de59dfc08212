"""What clients are put through, one scenario for each column of the table in README.md."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from tests import demo
from tests.interop import cdks
from tests.interop.canisters import OLD, OUTSPOKEN, PYTHON, RUST, Backend
from tests.interop.clients import LIVE_OWN, LIVE_SDKS, Client, End, Live
from tests.interop.node import PATIENCE_S
from tests.interop.proxies import forge, lying_gateway
from tests.interop.recording import Recording
from tests.interop.replay import play
from tests.interop.table import REAL, Cell, Key
from tests.network import Generation, Network

ROUNDS = 20
DEMO_CDK = "0.4.2"
YES = Cell("yes")
FORGOTTEN = (
    "Canisters of v0 and v1 have no message that says so: they forget the client, and the session ends with code {} at "
    "its next message."
)
FOREIGN_CLOSE = "A CloseMessage of v2, sent all the same, ends the session with code {}: {}."
LIVED_AGAIN = (
    "By its recording, for this state of the SDK (July 2023) is in no package: its frames and requests are sent again, "
    "byte for byte, and what comes back is what it was content with. It has been run for real as well, from its "
    "repository, with its own test canister in Wasm."
)
NO_CLOSE = "These releases of the CDK have no method by which an application closes a connection."
PAST_THE_GATEWAY = "It sends to the canister itself, over HTTP."
NOT_RECORDED = "The recording does not show it."


@asynccontextmanager
async def met(live: Live, backend: Backend) -> AsyncIterator[tuple[Client, Network]]:
    """A client whose session is open and that has the canister's greeting."""
    async with backend.serve(live.generation) as network, live.start(network, network.url) as client:
        await client.opened()
        assert await client.receive() == "ping"
        yield client, network


async def counted(network: Network, clients: int) -> None:
    """Wait until the canister counts so many clients."""
    async with asyncio.timeout(PATIENCE_S):
        while await network.connected() != clients:  # noqa: ASYNC110 - a canister rings no bell
            await asyncio.sleep(0.01)


async def opening(live: Live, backend: Backend) -> Cell:
    """Gateway, canister and client agree that the session is open."""
    async with backend.serve(live.generation) as network, live.start(network, network.url) as client:
        await client.opened()
        assert network.gateway.counters.opened == 1
        await counted(network, 1)
    return YES


async def sending(live: Live, backend: Backend) -> Cell:
    """The canister's application reads what the client's application has sent."""
    async with met(live, backend) as (client, _):
        await client.send("good morning")
        assert await client.receive() == "good morning ping"
    return YES


async def receiving(live: Live, backend: Backend) -> Cell:
    """The canister's greeting, which nobody asked for, comes through."""
    async with met(live, backend):
        return YES


async def order(live: Live, backend: Backend) -> Cell:
    """Many messages at once keep their order both ways."""
    texts = [f"round {number}" for number in range(ROUNDS)]
    async with met(live, backend) as (client, _):
        for text in texts:
            await client.send(text)
        assert [await client.receive() for _ in texts] == [f"{text} ping" for text in texts]
    return YES


async def canister_closes(live: Live, backend: Backend) -> Cell:
    """The canister's application closes the session."""
    if live.generation == "v2":
        code, reason = await _closed(live, backend)
        assert code == 4001
        assert "ClosedByApplication" in reason
        return YES
    notes = [FORGOTTEN.format(await _forgotten(live, backend))]
    if live.generation == "v1":
        notes.append(FOREIGN_CLOSE.format(*await _closed(live, OUTSPOKEN)))
    return Cell("yes", tuple(notes))


async def _closed(live: Live, backend: Backend) -> End:
    async with met(live, backend) as (client, network):
        await client.send("close")
        end = await client.ended()
        assert await network.connected() == 0
    return end


async def _forgotten(live: Live, backend: Backend) -> int:
    """The code that a client sees which speaks after the canister has forgotten it."""
    async with met(live, backend) as (client, network):
        await client.send("close")
        await client.send("are you there?")
        code, reason = await client.ended()
        assert await network.connected() == 0
    assert "ws_message" in reason
    return code


async def client_closes(live: Live, backend: Backend) -> Cell:
    """The client's application closes the session, and the canister is told."""
    async with met(live, backend) as (client, network):
        await client.close()
        assert await client.ended() == (1000, "")
        await counted(network, 0)
    return YES


async def forged_certificate(live: Live, backend: Backend) -> Cell:
    """A gateway vouches for the canister's messages with a key of its own."""
    async with (
        backend.serve(live.generation) as network,
        lying_gateway(network.url, forge) as url,
        live.start(network, url) as client,
    ):
        code, reason = await client.ended()
        assert network.gateway.counters.opened == 1
    assert code == 4000
    assert live.untrusted in reason
    return YES


Scenario = Callable[[Live, Backend], Awaitable[Cell]]

COLUMNS: Mapping[str, Scenario] = {
    "open": opening,
    "send": sending,
    "receive": receiving,
    "ordered": order,
    "canister ends": canister_closes,
    "client ends": client_closes,
    "refuses forgery": forged_certificate,
}


async def _lived_again(*notes: str) -> Cell:
    await play(Recording.load("62dcec3"))
    return Cell("yes", (LIVED_AGAIN, *notes))


async def _unclosable() -> Cell:
    return Cell("-", (NO_CLOSE,))


async def _unknown() -> Cell:
    return Cell("-", (NOT_RECORDED,))


Run = Callable[[], Awaitable[Cell]]

RECORDED: Mapping[str, Run] = {
    "open": _lived_again,
    "send": partial(_lived_again, PAST_THE_GATEWAY),
    "receive": _lived_again,
    "ordered": _unknown,
    "canister ends": _unknown,
    "client ends": _lived_again,
    "refuses forgery": _unknown,
}
"""What is known of the seed's SDK."""


class Examination(NamedTuple):
    """One cell of the table, and how to find out what stands in it."""

    client: str
    generation: Generation
    column: str
    run: Run
    project: str | None = None
    """The folder with the packages that it needs."""
    cdk: str = ""
    """The release of ic-websocket-cdk of a canister that must be built."""

    @property
    def key(self) -> Key:
        """Its place in the table."""
        return self.client, f"{self.generation}, {self.cdk}" if self.cdk else self.generation, self.column

    def need(self) -> None:
        """Skip or fail the test that needs a canister which is not built."""
        if self.cdk in cdks.VERSIONS:
            cdks.needed_module(self.cdk)
        elif self.cdk:
            demo.needed_module()


Row = Iterator[Examination]


def _row(client: str, generation: Generation, runs: Mapping[str, Run], prefix: str = "", **needs: Any) -> Row:
    """A row of one of the tables."""
    yield from (Examination(client, generation, prefix + column, run, **needs) for column, run in runs.items())


def _of(live: Live) -> Row:
    """The rows of a client: with the canister in Python, and with the one in Rust where they speak alike."""
    yield from _row(live.name, live.generation, _runs(live, PYTHON), project=live.project)
    if live.generation == "v2":
        yield from _row(live.name, live.generation, _runs(live, RUST), REAL, project=live.project, cdk=DEMO_CDK)
    elif live.generation == "v1" and not live.name.endswith("0.1.1"):  # of two equal releases, one is enough
        for version, backend in OLD.items():
            runs = {**_runs(live, backend), "canister ends": _unclosable}
            yield from _row(live.name, live.generation, runs, REAL, project=live.project, cdk=version)


def _runs(live: Live, backend: Backend) -> Mapping[str, Run]:
    return {column: partial(run, live, backend) for column, run in COLUMNS.items()}


EXAMINATIONS = [
    *_row("SDK of the seed, 62dcec3", "v0", RECORDED),
    *chain.from_iterable(map(_of, (*LIVE_SDKS, *LIVE_OWN))),
]
"""All of the tables, in their order: a client's rows of both follow each other."""
