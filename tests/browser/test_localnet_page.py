"""The page of a local network in Chromium: what it shows belongs to the canister in its title."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import PingPong

CANISTER = re.compile(r"/api/canisters/[^/]+$")


class Shown(NamedTuple):
    page: Page
    first: str
    second: str


@pytest_asyncio.fixture(loop_scope="session")
async def shown(browser: Browser) -> AsyncIterator[Shown]:
    """The page of a network with two canisters, of which it shows the first."""
    async with Localnet() as net:
        first, second = (str(net.create_canister(PingPong())) for _ in range(2))
        page = await browser.new_page()
        try:
            await page.goto(f"{net.url}/_/#{first}")
            await expect(page.locator("#title")).to_have_text(first)
            yield Shown(page, first, second)
        finally:
            await page.close()


async def test_the_reply_of_a_canister_is_not_shown_below_the_title_of_another(shown: Shown) -> None:
    calls: asyncio.Queue[Route] = asyncio.Queue()
    await shown.page.route("**/api/call", calls.put)
    await shown.page.get_by_role("button", name="Call").click()
    call = await calls.get()
    await shown.page.locator(f'[data-id="{shown.second}"]').click()
    await expect(shown.page.locator("#title")).to_have_text(shown.second)
    await call.fulfill(json={"reply": "(42)", "note": ""})
    await expect(shown.page.get_by_role("button", name="Call")).to_be_enabled()
    await expect(shown.page.locator("#result")).to_be_hidden()
    await shown.page.get_by_role("button", name="Call").click()
    await (await calls.get()).fulfill(json={"reply": "(43)", "note": ""})
    await expect(shown.page.locator("#reply")).to_have_text("(43)")


async def test_arguments_outlast_an_upgrade_of_the_module(shown: Shown) -> None:
    async def upgraded(route: Route) -> None:
        response = await route.fetch()
        await route.fulfill(response=response, json={**await response.json(), "module_hash": "00aa"})

    method = shown.page.locator("#method")
    await method.select_option(index=1)
    chosen = await method.input_value()
    await shown.page.locator("#arg").fill("(typed)")
    await shown.page.route(CANISTER, upgraded)
    await expect(shown.page.locator("#about")).to_contain_text("00aa")
    await expect(method).to_have_value(chosen)
    await expect(shown.page.locator("#arg")).to_have_value("(typed)")


async def test_the_link_to_the_canister_leads_to_the_one_that_is_open(shown: Shown) -> None:
    await shown.page.locator(f'[data-id="{shown.second}"]').click()
    await expect(shown.page.locator("#title")).to_have_text(shown.second)
    await shown.page.evaluate("document.querySelector('.skip').click()")
    asked = shown.page.expect_response(CANISTER)
    async with asked:
        pass
    await expect(shown.page.locator("#title")).to_have_text(shown.second)
    await expect(shown.page.locator(f'[data-id="{shown.second}"]')).to_have_attribute("aria-current", "true")
