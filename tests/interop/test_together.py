"""Clients of all wire generations at the same gateway at the same time, each with a canister of its generation."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from appliance.localnet.replica.replica import FIRST_CANISTER
from appliance.localnet.state.certification import canister_id
from appliance.localnet.websocket.pingpong import PingPong
from tests.interop.clients import LIVE_OWN, LIVE_SDKS, Client, Live
from tests.network import Generation, Network, running

GENERATIONS: list[Generation] = ["v2", "v1", "v0"]
ROUNDS = 20


def networks(first: Network) -> dict[Generation, Network]:
    """The same network as clients of each generation see it, with a canister for each."""
    found = {GENERATIONS[0]: first}
    for generation in GENERATIONS[1:]:
        canister = PingPong(generation=generation, gateway=first.gateway.principal)
        found[generation] = replace(first, canister_id=first.localnet.create_canister(canister), generation=generation)
    return found


async def converse(live: Live, client: Client) -> None:
    assert await client.receive() == "ping"
    texts = [f"{live.name} {live.generation} {number}" for number in range(ROUNDS)]
    for text in texts:
        await client.send(text)
    assert [await client.receive() for _ in texts] == [f"{text} ping" for text in texts]
    await client.close()
    assert await client.ended() == (1000, "")


async def test_all_generations_at_once(project: Callable[[str], Path]) -> None:
    sdks = [live for live in LIVE_SDKS if live.name.endswith(("0.1.2", "0.5.0"))]
    for live in sdks:
        project(str(live.project))
    canisters = [
        {"id": str(canister_id(FIRST_CANISTER + number)), "generation": generation}
        for number, generation in enumerate(GENERATIONS)
    ]
    async with running(canisters=canisters) as network, AsyncExitStack() as stack:
        seen = networks(network)
        clients = [
            (live, await stack.enter_async_context(live.start(seen[live.generation], seen[live.generation].url)))
            for live in (*sdks, *LIVE_OWN)
        ]
        await asyncio.gather(*(client.opened() for _, client in clients))
        assert len(network.gateway.hub) == len(clients) == 5
        await asyncio.gather(*(converse(live, client) for live, client in clients))
