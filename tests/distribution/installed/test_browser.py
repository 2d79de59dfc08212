"""Pages in a browser outside, while the package of the gateway is upgraded in a Debian: the chat of ``demo/web`` with
``icws-reconnect``, over a network between the two.
"""

import asyncio
import json
import re
import subprocess
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from playwright.async_api import Browser, Page, WebSocket

from appliance.localnet.canisters.canister import Environment
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.canister import Client
from appliance.localnet.websocket.chat import Chat, Line
from tests import chromium
from tests.browser import conftest
from tests.browser.stage import Stage, hears, says, sees
from tests.distribution.installed import debian
from tests.distribution.installed.debian import BEFORE, Debian, Running
from tests.needs import program

pytestmark = pytest.mark.asyncio(loop_scope="session")
browser, web = chromium.browser, conftest.web

ResultT = TypeVar("ResultT")
OUTSIDE, INSIDE = "198.18.240.1", "198.18.240.2"
"""Of the range for tests of networks (RFC 2544)."""
LINES = 5
AWAY_MS = 180_000
UPGRADE = "apt-get install --quiet --yes /new.deb"
VERSION = "dpkg-query --show --showformat='${Version}' icws"


class Remembering(Chat):
    """Knows every text that reached it, where a room keeps the last ones only."""

    def init(self, env: Environment, *arguments: object) -> None:
        super().init(env, *arguments)
        self.texts: list[str] = []

    def on_value(self, env: Environment, client: Client, value: Line) -> None:
        self.texts.append(value["text"])
        super().on_value(env, client, value)


@pytest.fixture(scope="module")
def machine(artefacts, tmp_path_factory) -> Debian:
    made = debian.with_packages(artefacts.only("icws_*.deb"), tmp_path_factory.mktemp("machine"))
    made.run("apt-get update --quiet && apt-get install --quiet --yes /old.deb")
    return made


@contextmanager
def cable(running: Running) -> Iterator[None]:
    """A network between this machine and what runs, which has none besides."""
    ip, nsenter = program("ip"), program("nsenter")
    inside = [nsenter, f"--net=/proc/{running.leader}/ns/net", ip]

    def do(*command: str) -> None:
        subprocess.run(command, check=True)  # noqa: S603

    ours, theirs = f"icws{running.leader}"[:15], "outside"
    do(ip, "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", str(running.leader))
    try:
        do(ip, "address", "add", f"{OUTSIDE}/30", "dev", ours)
        do(ip, "link", "set", ours, "up")
        do(*inside, "address", "add", f"{INSIDE}/30", "dev", theirs)
        do(*inside, "link", "set", theirs, "up")
        yield
    finally:
        subprocess.run([ip, "link", "delete", ours], check=False, capture_output=True)  # noqa: S603


def configuration(net: Localnet, port: str, canister: str) -> str:
    return json.dumps(
        {
            "gateway": {"listen": "0.0.0.0:8080", "identity": "/var/lib/icws/identity.pem"},
            "network": {"url": f"http://{OUTSIDE}:{port}", "root_key": net.root_key.hex()},
            "control": {"listen": ["unix:/run/icws/control.sock"], "history": "/var/lib/icws/history"},
            "drain": {"rate": "20/s"},
            "canisters": [{"id": canister}],
        }
    )


async def said(page: Page, text: str) -> None:
    """Say a line as a user does: until it is in the room, and again where the session is lost before."""
    while True:
        session = await page.locator("#status").text_content()
        await says(page, text)
        shown = page.locator("#lines li", has_text=re.compile(rf" {re.escape(text)}$"))
        lost = page.locator("#status", has_not_text=session or "")
        await shown.or_(lost).first.wait_for(timeout=AWAY_MS)
        if await shown.count():
            return
        await page.locator("#status", has_text="connected, session").wait_for(timeout=AWAY_MS)


async def said_until(page: Page, over: asyncio.Event) -> list[str]:
    """Say lines one after the other, the last one after the end."""
    lines: list[str] = []
    while not lines or not over.is_set():
        lines.append(f"during {len(lines)}")
        await said(page, lines[-1])
    return lines


async def then(action: Awaitable[ResultT], over: asyncio.Event) -> ResultT:
    """Await something, and say that it is over."""
    try:
        return await action
    finally:
        over.set()


async def test_tabs_come_back_at_the_first_attempt_after_an_upgrade_and_no_line_is_lost(
    machine: Debian, browser: Browser, web: Path
) -> None:
    chat = Remembering()
    with ExitStack() as stack:
        running = await asyncio.to_thread(stack.enter_context, machine.serving("--boot"))
        stack.enter_context(cable(running))
        async with Localnet(host="0.0.0.0") as net:  # for what runs in the Debian, too
            canister, port = net.create_canister(chat), net.url.rpartition(":")[2]
            net.replica.canisters[canister].name = "chat"
            net.page.chat_folder, net.page.gateway_url = web / "dist", f"ws://{INSIDE}:8080"
            (machine.root / "etc/icws/gateway.yaml").write_text(configuration(net, port, str(canister)))
            await asyncio.to_thread(running.eventually, "systemctl is-active multi-user.target")
            await asyncio.to_thread(running.run, "systemctl enable --now icws.socket icws.service")
            # the browser signs on pages of this machine only
            stage = Stage(browser, net, canister, url=f"http://127.0.0.1:{port}")
            try:
                ann, bob = await stage.tab("ann"), await stage.tab("bob")
                attempts: list[WebSocket] = []
                codes: list[str] = []
                for tab in (ann, bob):
                    tab.on("websocket", lambda one: attempts.append(one))  # noqa: PLW0108 - playwright marks functions
                    await tab.expose_function("lost", lambda text: codes.append(text))  # noqa: PLW0108
                    await tab.evaluate(WATCH)
                before = [f"before {number}" for number in range(LINES)]
                for line in before:
                    await said(ann, line)
                await hears(bob, f"ann {before[-1]}")
                assert await asyncio.to_thread(running.run, VERSION) == BEFORE
                over = asyncio.Event()
                upgrading = asyncio.ensure_future(then(asyncio.to_thread(running.run, UPGRADE), over))
                during = await said_until(ann, over)
                await upgrading
                assert await asyncio.to_thread(running.run, VERSION) != BEFORE
                for tab in (ann, bob):
                    await sees(tab, "connected, session 2")
                assert len(attempts) == 2
                assert [code.startswith("lost (1012: ") for code in codes] == [True, True]
                after = [f"after {number}" for number in range(LINES)]
                for line in after:
                    await said(ann, line)
                await hears(bob, f"ann {after[-1]}")
                # What was said again because its echo was lost may be there twice.
                assert list(dict.fromkeys(chat.texts)) == [*before, *during, *after]
                assert (await bob.locator("#lines li").all_text_contents())[-LINES:] == [
                    f"ann {line}" for line in after
                ]
            finally:
                await stage.close()


WATCH = """
() => new MutationObserver(() => {
  const text = document.getElementById("status").textContent;
  if (text.startsWith("lost")) window.lost(text);
}).observe(document.getElementById("status"), {childList: true, characterData: true, subtree: true})
"""
"""Tells every loss that the page shows."""
