"""The chat page of ``demo/web`` in a browser, with a gateway at one port that comes and goes."""

import fcntl
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, expect

from appliance.client import Connection, connect
from appliance.crypto import SigningKey
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.chat import Chat
from tests.interop import node
from tests.network import Network, serving

WEB = Path(__file__).resolve().parents[2] / "demo" / "web"
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)


def built() -> Path:
    """The folder of the page, built from its sources. Raises node.Unavailable."""
    node.prepared(WEB)
    npm = shutil.which("npm")
    if npm is None:
        raise node.Unavailable("npm is not on the PATH; install npm")
    with (WEB / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process that runs tests may be at it
        subprocess.run([npm, "run", "build"], cwd=WEB, check=True, capture_output=True)  # noqa: S603
    return WEB


class Stage:
    """A chat, its gateway and its tabs."""

    network: Network
    """With the first gateway."""

    def __init__(self, browser: Browser, localnet: Localnet, canister: Principal, *, url: str | None = None) -> None:
        """``url`` is the local network's as the browser finds it."""
        self.localnet = localnet
        self._url = url or localnet.url
        self._browser = browser
        self._canister = canister
        self._port = 0
        self._identity = KeyIdentity(SigningKey.generate("ed25519"))
        self._stack = AsyncExitStack()
        self._gateway = AsyncExitStack()

    async def start_gateway(self) -> Network:
        """Always at the same port."""
        listen = {"listen": f"127.0.0.1:{self._port}"}
        network = await self._gateway.enter_async_context(
            serving(self.localnet, self._canister, "v2", self._identity, gateway=listen)
        )
        self.localnet.page.gateway_url = network.listener.url
        self._port = int(network.listener.url.rpartition(":")[2])
        return network

    async def stop_gateway(self) -> None:
        """As when its process ends."""
        await self._gateway.aclose()

    async def tab(self, name: str) -> Page:
        """A tab in a profile of its own, connected, whose user has a name."""
        context = await self._browser.new_context()
        self._stack.push_async_callback(context.close)
        page = await context.new_page()
        await page.goto(f"{self._url}/chat/")
        await sees(page, "connected, session 1")
        await page.fill("#name", name)
        return page

    def bot(self) -> AbstractAsyncContextManager[Connection[Any]]:
        """A client in Python."""
        message_type = "record { name : text; text : text }"
        return connect(
            self.network.listener.url, self._canister, network_url=self.localnet.url, message_type=message_type
        )

    async def close(self) -> None:
        """The tabs first."""
        await self._stack.aclose()
        await self._gateway.aclose()


@asynccontextmanager
async def staged(browser: Browser, web: Path) -> AsyncIterator[Stage]:
    """A stage with a gateway."""
    async with Localnet() as localnet:
        canister = localnet.create_canister(Chat())
        localnet.replica.canisters[canister].name = "chat"
        localnet.page.chat_folder = web / "dist"
        stage = Stage(browser, localnet, canister)
        try:
            stage.network = await stage.start_gateway()
            yield stage
        finally:
            await stage.close()


async def sees(page: Page, status: str) -> None:
    """Wait until the status line is, or contains, this."""
    await expect(page.locator("#status")).to_contain_text(status)


async def says(page: Page, text: str) -> None:
    """Type a line and send it."""
    await page.fill("#text", text)
    await page.press("#text", "Enter")


async def hears(page: Page, text: str) -> None:
    """Wait for a line."""
    await expect(page.locator("#lines li").last).to_have_text(text)
