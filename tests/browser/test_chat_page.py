"""The chat page in Chromium: ic-websocket-js through the gateway, sessions that are lost and opened again."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, WebSocket

from appliance.errors import CanisterRemoved, ClosedByOperator
from appliance.gateway.drain import Pacing
from tests.browser.stage import Stage, hears, says, sees


async def test_two_tabs_chat(stage: Stage) -> None:
    ann, bob = await stage.tab("ann"), await stage.tab("bob")
    await says(ann, "hello <b>bob</b>")
    await hears(bob, "ann hello <b>bob</b>")
    await says(bob, "/join den")
    await hears(bob, "chat you are in den, with 0 others")
    await says(bob, "nobody here?")
    await hears(bob, "bob nobody here?")
    await hears(ann, "ann hello <b>bob</b>")


async def test_a_tab_comes_back_when_the_gateway_does(stage: Stage) -> None:
    ann = await stage.tab("ann")
    await stage.stop_gateway()
    await sees(ann, "lost (1012: the gateway restarts, open a new connection); again in ")
    await sees(ann, "lost (1006); again in ")
    await stage.start_gateway()
    await sees(ann, "connected, session 2")
    await says(ann, "back again")
    await hears(ann, "ann back again")


async def test_nobody_comes_back_before_a_drained_gateway_wants_it(stage: Stage) -> None:
    """Whatever else happens on the page meanwhile. A timer that was set for now would run before one for later."""
    ann = await stage.tab("ann")
    sockets: list[WebSocket] = []
    ann.on("websocket", lambda socket: sockets.append(socket))  # noqa: PLW0108 - playwright marks functions
    await stage.network.gateway.start_drain(Pacing(1000), retry_after_s=3600).wait()
    await sees(ann, "open a new connection in 3600 s); again in 360")
    for event in ("online", "pageshow"):
        await ann.evaluate(f"dispatchEvent(new Event('{event}'))")
    await ann.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await ann.evaluate("new Promise(resolve => setTimeout(resolve, 10))")
    assert sockets == []


async def test_a_drain_without_a_time_is_followed_at_once(stage: Stage) -> None:
    ann = await stage.tab("ann")
    await stage.network.gateway.start_drain(Pacing(1000), retry_after_s=0.1).wait()
    await stage.stop_gateway()
    await stage.start_gateway()
    await sees(ann, "connected, session 2")


async def test_a_canister_that_closes_is_left_in_peace(stage: Stage) -> None:
    ann = await stage.tab("ann")
    await says(ann, "/close")
    await sees(ann, "closed (4001: ClosedByApplication)")


async def test_a_final_close_code_is_final(stage: Stage) -> None:
    ann, bob = await stage.tab("ann"), await stage.tab("bob")
    first, second = stage.network.gateway.connections
    first.fail(CanisterRemoved("chat"))
    second.fail(ClosedByOperator())
    await sees(ann, "closed (4517: canister chat is no longer served here)")
    await sees(bob, "connected, session 2")


async def test_a_network_that_was_away_means_a_new_session(stage: Stage) -> None:
    """Browsers do not close a socket whose network is gone: it would look open for minutes."""
    ann = await stage.tab("ann")
    await ann.context.set_offline(True)
    await ann.context.set_offline(False)
    await sees(ann, "connected, session 2")
    await says(ann, "back again")
    await hears(ann, "ann back again")


async def test_a_tab_that_stood_still_for_a_moment_keeps_its_session(stage: Stage) -> None:
    ann = await stage.tab("ann")
    async with stage.bot() as bob:
        async with standing_still(ann):
            await bob.send({"name": "bob", "text": "are you there?"})
            assert (await bob.receive()).value == {"name": "bob", "text": "are you there?"}
        await hears(ann, "bob are you there?")
        await says(ann, "yes")
        assert (await bob.receive()).value == {"name": "ann", "text": "yes"}
    await sees(ann, "connected, session 1")


@pytest.mark.parametrize("event", ["resume", "visibilitychange"])
async def test_a_tab_that_stood_still_for_long_has_a_new_session(stage: Stage, event: str) -> None:
    """Its clock is moved instead, and back before the new session signs anything."""
    ann = await stage.tab("ann")
    await ann.evaluate(
        """(event) => {
            const now = Date.now;
            Date.now = () => now() + 120_000;
            document.dispatchEvent(new Event(event));
            Date.now = now;
        }""",
        event,
    )
    await sees(ann, "connected, session 2")


@asynccontextmanager
async def standing_still(page: Page) -> AsyncIterator[None]:
    """No tab of the browser runs."""
    browser = page.context.browser
    assert browser is not None
    devtools = await browser.new_browser_cdp_session()
    processes = (await devtools.send("SystemInfo.getProcessInfo"))["processInfo"]
    tabs = [process["id"] for process in processes if process["type"] == "renderer"]
    for pid in tabs:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in tabs:
            os.kill(pid, signal.SIGCONT)
