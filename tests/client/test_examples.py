"""The examples of the documentation, run as their readers run them."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance.client import connect
from appliance.crypto import CandidInterface, CandidTypes, Verifier
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import AnonymousIdentity
from appliance.ic.network import fetch_root_key
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.candid_canister import CandidCanister
from appliance.localnet.websocket.chat import Chat
from appliance.localnet.websocket.prices import Prices
from tests.cli.processes import icws, seen
from tests.cli.processes import running as gateway_process
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


@asynccontextmanager
async def localnet(name: str) -> AsyncIterator[tuple[str, str, str]]:
    """``icws localnet --example``: the URL of its gateway, its canister and its own URL."""
    async with icws("localnet", "--example", name, "--port", "0", "--gateway-port", "0") as process:
        lines = dict(line.split(None, 1) for line in (await seen(process.stdout, "page:")).splitlines())
        yield lines["gateway:"], lines["canister:"].split()[0], lines["url:"]
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")


async def test_a_chat_bot() -> None:
    async with (
        localnet("chat") as (url, canister, network_url),
        example("chat_bot.py", url, canister, network_url) as bot,
        connect(url, canister, network_url=network_url, message_type=EXAMPLES / "chat.did") as ann,
    ):
        await seen(bot.stderr, "in the room as")
        await ann.send({"name": "ann", "text": "hello Bot!"})
        heard = [(await ann.receive()).value for _ in range(2)]
        assert heard == [{"name": "ann", "text": "hello Bot!"}, {"name": "bot", "text": "Yes, ann?"}]
        await ann.send({"name": "ann", "text": "/close"})
        stdout, stderr = await bot.communicate()
        assert stdout.decode().splitlines() == ["ann: hello Bot!", "bot: Yes, ann?"]
        assert (bot.returncode, stderr) == (0, b"")


async def test_a_price_listener() -> None:
    async with (
        localnet("prices") as (url, canister, network_url),
        example("price_listener.py", canister, network_url, "ICP,BTC", url) as listener,
    ):
        lines = (await seen(listener.stdout, "ICP") + await seen(listener.stdout, "ICP")).split()[::2]
        assert lines == ["ICP", "BTC", "ICP"]  # at once, and again a second later
        await call(network_url, canister, "close_market")
        _, stderr = await listener.communicate()
        assert (listener.returncode, stderr) == (0, b"")


async def call(network_url: str, canister: str, method: str) -> None:
    async with HttpTransport([network_url], timeout_s=15, max_reply=1 << 20) as transport:
        agent = Agent(transport, AnonymousIdentity(), Verifier(await fetch_root_key(transport)))
        await agent.call(Principal.from_text(canister), method, CandidTypes("()").encode())


async def test_a_price_listener_goes_to_another_gateway_when_one_stops(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    async with Localnet() as net:
        prices = Prices()
        canister = net.create_canister(prices)
        async with (
            gateway_process(folders[0], net, canister) as (first, first_url),
            gateway_process(folders[1], net, canister) as (_, second_url),
            example("price_listener.py", canister, net.url, "ICP", first_url, second_url) as listener,
        ):
            await seen(listener.stdout, "ICP")
            first.terminate()
            errors = await seen(listener.stderr, f"continued at {second_url}")
            assert f"lost {first_url}: connection closed (1012)" in errors
            await first.communicate()
            async with asyncio.timeout(30):
                while not prices.has_subscribers:  # noqa: ASYNC110 - a canister has no bell
                    await asyncio.sleep(0.01)
            await call(net.url, str(canister), "close_market")
            assert await listener.wait() == 0


async def test_a_price_listener_says_why_it_ends() -> None:
    async with running(Prices()) as network, Localnet() as other:
        arguments = (network.canister_id, other.url, "ICP", network.url)
        async with example("price_listener.py", *arguments) as listener:
            _, stderr = await listener.communicate()
        assert listener.returncode == 1
        assert stderr.startswith(b"MessageUntrusted: message 1 cannot be trusted")


async def test_a_script_of_a_dozen_lines() -> None:
    async with (
        localnet("ping-pong") as (url, canister, network_url),
        example("ask.py", url, canister, network_url, "hello") as script,
    ):
        stdout, stderr = await script.communicate()
    assert (script.returncode, stdout) == (0, b"ping\nhello ping\n"), stderr
    lines = (EXAMPLES / "ask.py").read_text().splitlines()
    assert len([line for line in lines if line]) <= 12


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        (
            "chat_bot.py",
            "{url} {canister} {network}",
            "{canister} is no chat room, its messages are",
        ),
        ("price_listener.py", "{canister} {network} A {url}", "{canister} is no market, its messages are"),
        ("ask.py", "{url} aaaaa-aa {network} hello", "ConnectionClosed: connection closed (4509)"),
        ("ask.py", "{url}", "Asks a canister one question"),
        ("chat_bot.py", "{url}", "A bot in a chat room"),
        ("price_listener.py", "{url}", "Prints prices"),
    ],
)
async def test_an_example_with_the_wrong_canister_ends_with_a_sentence(
    name: str, arguments: str, sentence: str
) -> None:
    async with running() as network:
        words = {"url": network.listener.url, "canister": network.canister_id, "network": network.localnet.url}
        async with example(name, *arguments.format(**words).split()) as process:
            _, stderr = await process.communicate()
    assert process.returncode == 1
    assert sentence.format(**words) in stderr.decode()
    assert b"Traceback" not in stderr


def test_the_documentation_has_the_examples() -> None:
    page = EXAMPLES.with_name("client.md").read_text()
    for file in EXAMPLES.iterdir():
        if file.is_file():
            assert f"(examples/{file.name})" in page


@pytest.mark.parametrize(("file", "kind"), [("chat.did", Chat), ("prices.did", Prices)])
def test_an_interface_of_the_documentation_is_that_of_the_canister(file: str, kind: type[CandidCanister]) -> None:
    documented = CandidInterface((EXAMPLES / file).read_text()).methods["ws_message"].arguments[1].without_opt()
    served = CandidInterface(kind().did).methods["ws_message"].arguments[1].without_opt()
    for one, other in ((documented, served), (served, documented)):  # the names of types differ, the types do not
        assert other.decode(one.encode_text(one.sample())) == one.decode(one.encode_text(one.sample()))
