"""A gateway that is killed: after the next start the canisters know of every client that it is gone."""

import asyncio
import os
import re
import signal
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from appliance.ic.key_file import create_identity
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.canister import Client
from appliance.localnet.websocket.dialect import Generation
from appliance.localnet.websocket.pingpong import PingPong
from tests.cli.processes import WORDS, icws, seen
from tests.gateway.players import playing

CLIENTS = int(os.environ.get("ICWS_CRASH_CLIENTS", "12"))
"""Of all generations together. ``make soak`` takes 500."""
PATIENCE_S = 540
AT_ONCE = 20
"""Clients that open together, so that none waits for longer than it would anywhere."""
GENERATIONS: tuple[Generation, ...] = ("v0", "v1", "v2")


class Counting(PingPong):
    """Notes who came and who left."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.came: Counter[Client] = Counter()
        self.left: Counter[Client] = Counter()
        self.is_left = asyncio.Event()
        """Set when everybody who came has left once."""

    def on_open(self, env: Environment, client: Client) -> None:
        self.came[client] += 1
        super().on_open(env, client)

    def on_close(self, env: Environment, client: Client) -> None:
        self.left[client] += 1
        if self.left == self.came:
            self.is_left.set()


@pytest.mark.timeout(600)
async def test_a_killed_gateway_leaves_nobody_behind(tmp_path: Path) -> None:
    principal = create_identity(tmp_path / "identity.pem").principal
    async with Localnet() as net, AsyncExitStack() as clients:
        canisters = {each: Counting(generation=each, gateway=principal) for each in GENERATIONS}
        ids = {each: net.create_canister(canister) for each, canister in canisters.items()}
        listed = "\n".join(f"  - {{id: {ids[each]}, generation: {each}}}" for each in GENERATIONS)
        file = tmp_path / "gateway.yaml"
        file.write_text(
            "gateway: {listen: '127.0.0.1:0', identity: identity.pem}\n"
            f"network: {{url: '{net.url}', root_key: fetch}}\ncontrol: {{listen: null, history: null}}\n"
            f"rate_limits: {{connections_per_ip: {{mode: 'off'}}}}\ncanisters:\n{listed}\n"
        )
        async with icws("run", "--config", str(file)) as process:
            url = re.search(r"url=(ws://\S+)", await seen(process.stderr, WORDS))
            assert url is not None
            reading = asyncio.ensure_future(process.stderr.read())  # with its pipe full, it would wait for a reader
            room = asyncio.Semaphore(AT_ONCE)

            async def come(number: int) -> None:
                generation = GENERATIONS[number % len(GENERATIONS)]
                network = SimpleNamespace(localnet=net, canister_id=ids[generation], generation=generation)
                async with room:
                    await clients.enter_async_context(playing(network, url=f"{url[1]}/{generation}"))

            await asyncio.gather(*(come(number) for number in range(CLIENTS)))
            process.send_signal(signal.SIGKILL)
            assert await process.wait() == -signal.SIGKILL
            await reading
        assert sum(canister.came.total() for canister in canisters.values()) == CLIENTS
        assert not any(canister.left for canister in canisters.values())
        async with icws("run", "--config", str(file)) as process:
            reading = asyncio.ensure_future(process.stderr.read())
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*(canister.is_left.wait() for canister in canisters.values()))
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
            await reading
        assert all(canister.left == canister.came for canister in canisters.values()), "and nobody twice"
