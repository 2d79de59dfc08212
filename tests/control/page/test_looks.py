"""Every view and dialog, at a desk and on a phone, by day and by night: can it be read, by whoever reads it?"""

import re
from itertools import product

import pytest
from playwright.async_api import Browser, expect

from appliance.control.page.routes import VIEWS
from tests.control.page.browser import SIZES, Scheme, Tab, tab
from tests.control.page.steps import LATER_MS, chatter, clients, edit
from tests.control.plane import Plane

PLACES = (*(name for name, _ in VIEWS[1:]), "config/values", "config/history", "config/history/1", "canisters/chat")
COLOURS = ("color-contrast", "link-in-text-block")
"""The rules that a view may break by night when it keeps them by day: its elements are the same."""


@pytest.mark.parametrize("look", list(product(SIZES, ("light", "dark"))), ids="-".join)
async def test_every_view_can_be_read_by_everybody(
    browser: Browser, plane: Plane, url: str, audit_of_access: str, look: tuple[str, Scheme]
) -> None:
    async with chatter(plane, 3), tab(browser, url, size=look[0], scheme=look[1]) as shown:
        session = (await plane.get("/v1/sessions"))["items"][0]["id"]
        await plane.http.put("/v1/log", json={"level": "warning"})
        for place in (*PLACES, f"sessions/{session}", "overview"):
            await shown.show(place)
            await filled(shown, place)
            await can_be_read(shown, audit_of_access, place, only=COLOURS if look[1] == "dark" else ())
            await shown.shot(place.replace("/", "-").replace(session, "story"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_dialogs_can_be_read_by_everybody_too(
    browser: Browser, plane: Plane, url: str, audit_of_access: str, scheme: Scheme
) -> None:
    async with clients(plane, 1), tab(browser, url, size="phone", scheme=scheme) as shown:
        for place, button in (
            ("canisters", "Add a canister…"),
            ("canisters", "Remove… chat"),
            ("sessions", "Close these…"),
            ("config", "Apply…"),
            ("access", "Make a token…"),
        ):
            await shown.show(place)
            if button == "Apply…":
                await edit(shown, "20ms", "40ms")
            await shown.page.get_by_role("button", name=button).click()
            await expect(shown.page.get_by_role("dialog")).to_be_visible()
            await can_be_read(shown, audit_of_access, button)
            await shown.shot("dialog-" + re.sub(r"\W+", "-", button.lower()).strip("-"))
            await shown.page.keyboard.press("Escape")


@pytest.mark.parametrize("look", list(product(SIZES, ("light", "dark"))), ids="-".join)
async def test_the_description_of_the_api_can_be_read_by_everybody(
    browser: Browser, url: str, audit_of_access: str, look: tuple[str, Scheme]
) -> None:
    async with tab(browser, url, size=look[0], scheme=look[1], path="docs") as shown:
        for name in ("listSessions", "applyConfig"):
            await shown.page.locator(f"#{name} > summary").click()
        await shown.page.locator("#listSessions").get_by_role("button", name="Send").click()
        await expect(shown.page.locator("#listSessions pre")).to_contain_text("items", timeout=LATER_MS)
        await can_be_read(shown, audit_of_access, "docs", only=COLOURS if look[1] == "dark" else ())
        await shown.shot("docs")


async def filled(shown: Tab, place: str) -> None:
    """Wait until a view shows what there is."""
    first = {
        "overview": "#chart-messages .series-2.trace",
        "canisters": "#canister-table tbody tr",
        "sessions": "#session-table tbody tr:nth-child(3)",
        "config": "#config-text",
        "config/values": "#value-table tbody tr:nth-child(20)",
        "config/history": "#history-table tbody tr",
        "drain": "#drain-state:not(:empty)",
        "limits": "#limit-table tbody tr:nth-child(2)",
        "plugins": "#plugins .empty",
        "events": "#event-list li:nth-child(3)",
        "access": "#audit-table tbody tr",
        "config/history/1": "#revision-text:not(:empty)",
        "canisters/chat": "#canister-messages .series-2.trace",
    }.get(place, "#moments li:nth-child(5)")
    await expect(shown.page.locator(first)).to_be_visible(timeout=LATER_MS)


async def can_be_read(shown: Tab, source: str, place: str, *, only: tuple[str, ...] = ()) -> None:
    """``only`` names the rules of the audit; without it they are all that are on by default."""
    wide = await shown.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{place} is {wide} pixels too wide"
    if not await shown.page.evaluate("'axe' in window"):
        await shown.page.evaluate(source)
    options = {"resultTypes": ["violations"]} | ({"runOnly": list(only)} if only else {})
    found = await shown.page.evaluate("options => axe.run(options)", options)
    serious = [
        (each["id"], [target["target"] for target in each["nodes"]])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
    assert not serious, f"{place}: {serious}"
    assert len(found["passes"]) > (0 if only else 10)
