"""The page without a mouse, on a phone, and on a line that breaks."""

import re
from contextlib import AsyncExitStack

from playwright.async_api import Browser, expect

from tests.control.page.browser import Tab, forwarded, tab
from tests.control.page.steps import LATER_MS
from tests.control.plane import Plane


async def test_everything_is_reached_with_the_keyboard(plane: Plane, desk: Tab) -> None:
    await expect(desk.page.locator("#who")).to_have_text(re.compile("admin"))
    await desk.page.keyboard.press("Tab")
    assert await desk.focused() == "Skip to the content"
    outline = await desk.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is seen"
    await desk.page.keyboard.press("Enter")
    await expect(desk.page.get_by_role("heading", name="Overview")).to_be_focused()
    assert desk.page.url.endswith("/"), "the skip link is no view"
    link = desk.page.get_by_role("link", name="Sessions", exact=True)
    await link.focus()
    await desk.page.keyboard.press("Enter")
    await expect(desk.page.get_by_role("heading", name="Sessions")).to_be_focused()
    await expect(link).to_have_attribute("aria-current", "page")
    assert (await desk.page.title()).startswith("Sessions ")


async def test_a_dialog_keeps_the_keyboard_and_gives_it_back(plane: Plane, desk: Tab) -> None:
    await desk.show("canisters")
    opener = desk.page.get_by_role("button", name="Add a canister…")
    await opener.focus()
    await desk.page.keyboard.press("Enter")
    field = desk.page.get_by_role("dialog").get_by_label("Principal")
    await expect(field).to_be_focused()
    inside = "document.querySelector('dialog[open]').contains(document.activeElement)"
    seen = set()
    for _ in range(15):
        seen.add(await desk.page.evaluate("document.activeElement.name || document.activeElement.textContent"))
        await desk.page.keyboard.press("Tab")
        assert await desk.page.evaluate(inside)
    assert seen == {"id", "name", "v0", "v1", "v2", "max_clients", "paused", "save", "Cancel", "Add"}
    await field.focus()
    await desk.page.keyboard.press("Shift+Tab")
    assert await desk.focused() == "Add"
    await desk.page.keyboard.press("Escape")
    await expect(opener).to_be_focused()


async def test_the_menu_of_a_phone_opens_and_closes(browser: Browser, url: str) -> None:
    async with tab(browser, url, size="phone") as shown:
        menu = shown.page.get_by_role("button", name="Menu")
        link = shown.page.get_by_role("link", name="Limits")
        await expect(link).to_be_hidden()
        await menu.click()
        await expect(menu).to_have_attribute("aria-expanded", "true")
        await shown.shot("menu")
        await link.click()
        await expect(shown.page.get_by_role("heading", name="Limits")).to_be_visible()
        await expect(menu).to_have_attribute("aria-expanded", "false")


async def test_a_control_plane_that_is_gone_is_told_and_found_again(browser: Browser, plane: Plane) -> None:
    path = plane.control.url.removeprefix("unix:")
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(forwarded(path))
        async with tab(browser, url) as shown:
            health = shown.page.locator("#health")
            await expect(health).to_have_text("running", timeout=LATER_MS)
            await shown.page.context.set_offline(True)
            await expect(health).to_have_text("not reachable", timeout=LATER_MS)
            await expect(shown.page.locator("#problem")).to_contain_text("does not answer")
            await shown.page.context.set_offline(False)
            await expect(health).to_have_text("running", timeout=LATER_MS)
            await expect(shown.page.locator("#problem")).to_be_empty()
            shown.complaints.clear()  # a line that broke is one
