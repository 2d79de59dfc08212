"""The examples of the documentation, run as their readers run them."""

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from appliance.client import connect
from appliance.crypto import CandidInterface
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.canister import Client, WebSocketCanister
from tests.cli.processes import running as gateway_process
from tests.cli.processes import seen
from tests.network import running

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@asynccontextmanager
async def example(name: str, *arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """One of them as a process, killed if it is still there at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / name), *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


class Application(WebSocketCanister, ABC):
    """One whose messages are those of an example's interface."""

    did_file: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        interface = CandidInterface((EXAMPLES / self.did_file).read_text())
        self.types = interface.methods["ws_message"].arguments[1].without_opt()

    def on_message(self, env: Environment, client: Client, message: bytes) -> None:
        self.hear(env, client, self.types.decode(message)[0])

    @abstractmethod
    def hear(self, env: Environment, client: Client, value: Any) -> None:
        """Take a message of a client."""


class Room(Application):
    """Repeats everything to everybody, and closes when somebody says so."""

    did_file = "chat.did"

    def hear(self, env: Environment, client: Client, value: Any) -> None:
        everybody = [connection.client for connection in self._clients]
        for each in everybody:
            self.send(env, each, self.types.encode(value))
            if value["text"] == "closing time":
                self.close(env, each)


class Market(Application):
    """Has a price for each subscription, higher each time, and closes after the second."""

    did_file = "prices.did"

    def __init__(self) -> None:
        super().__init__()
        self.subscriptions: list[list[str]] = []

    def hear(self, env: Environment, client: Client, value: Any) -> None:
        self.subscriptions.append(value["Subscribe"])
        for symbol in value["Subscribe"]:
            price = {"symbol": symbol, "price": 4.5 + len(self.subscriptions)}
            self.send(env, client, self.types.encode({"Price": price}))
        if len(self.subscriptions) == 2:
            self.close(env, client)


async def test_a_chat_bot() -> None:
    async with running(Room()) as network:
        url, network_url, message_type = network.url, network.localnet.url, EXAMPLES / "chat.did"
        async with (
            example("chat_bot.py", url, network.canister_id, network_url) as bot,
            connect(url, network.canister_id, network_url=network_url, message_type=message_type) as ann,
        ):
            await seen(bot.stderr, "in the room as")
            await ann.send({"name": "ann", "text": "hello Bot!"})
            heard = [(await ann.receive()).value for _ in range(2)]
            assert heard == [{"name": "ann", "text": "hello Bot!"}, {"name": "bot", "text": "Yes, ann?"}]
            await ann.send({"name": "ann", "text": "closing time"})
            stdout, stderr = await bot.communicate()
            assert stdout.decode().splitlines() == ["ann: hello Bot!", "bot: Yes, ann?", "ann: closing time"]
            assert (bot.returncode, stderr) == (0, b"")


async def test_a_price_listener_goes_to_another_gateway_when_one_stops(tmp_path: Path) -> None:
    market = Market()
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    async with Localnet() as net:
        canister = net.create_canister(market)
        async with (
            gateway_process(folders[0], net, canister) as (first, first_url),
            gateway_process(folders[1], net, canister) as (_, second_url),
            example("price_listener.py", canister, net.url, "ICP,BTC", first_url, second_url) as listener,
        ):
            assert await seen(listener.stdout, "BTC") == "ICP 5.50\nBTC 5.50\n"
            first.terminate()
            stdout, stderr = await listener.communicate()
            assert stdout == b"ICP 6.50\nBTC 6.50\n"
            assert listener.returncode == 0
            assert f"lost {first_url}: connection closed (1012)" in stderr.decode()
            await first.communicate()
    assert market.subscriptions == [["ICP", "BTC"], ["ICP", "BTC"]]


async def test_a_price_listener_says_why_it_ends() -> None:
    async with running(Market()) as network, Localnet() as other:
        arguments = (network.canister_id, other.url, "ICP", network.url)
        async with example("price_listener.py", *arguments) as listener:
            _, stderr = await listener.communicate()
        assert listener.returncode == 1
        assert stderr.startswith(b"MessageUntrusted: message 1 cannot be trusted")


async def test_a_script_of_ten_lines() -> None:
    async with running() as network:
        async with example("ask.py", network.url, network.canister_id, network.localnet.url, "hello") as script:
            stdout, stderr = await script.communicate()
        assert (script.returncode, stdout) == (0, b"ping\nhello ping\n"), stderr
        lines = (EXAMPLES / "ask.py").read_text().splitlines()
        assert len([line for line in lines if line]) <= 10


def test_the_documentation_has_the_examples() -> None:
    page = EXAMPLES.with_name("client.md").read_text()
    for file in EXAMPLES.iterdir():
        if file.is_file():
            assert f"(examples/{file.name})" in page
