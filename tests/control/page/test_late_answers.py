"""An answer that comes late replaces nothing that was chosen meanwhile, and belongs to what it was asked for."""

import asyncio
from contextlib import AsyncExitStack

from playwright.async_api import Browser, Page, Route, expect
from websockets.asyncio.client import connect as websocket

from tests.control.page.browser import Tab, tab
from tests.control.page.steps import LATER_MS, clients, edit, enter_token, held, settled
from tests.control.plane import OTHER, SECRETS, Plane

SOCKETS = 60
"""More than a page of sessions."""


def twice(button: str) -> str:
    """A press on a button and another one, before anything can come of the first."""
    return f"() => {{ for (const _ of [1, 2]) document.getElementById('{button}').click(); }}"


# --- the level of the log ---------------------------------------------------------------------------------------------


async def test_a_level_cannot_be_chosen_while_anything_that_sets_it_is_under_way(browser: Browser, url: str) -> None:
    async with (
        tab(browser, url, path="#canisters") as shown,
        held(shown, "**/v1/identity") as of_identity,
        held(shown, "**/v1/log") as asked,
    ):
        level = shown.page.get_by_label("Log level")
        await shown.show("overview")
        identity = await of_identity.get()
        await expect(level).to_be_disabled()
        first = await asked.get()
        await shown.show("canisters")
        await shown.show("overview")
        second = await asked.get()
        await first.fulfill(json={"level": "error"})
        await settled(shown)
        await expect(level).to_be_disabled()
        await second.fulfill(json={"level": "warning"})
        await expect(level).to_be_enabled()
        await expect(level).to_have_value("warning")
        await identity.abort()


async def test_a_level_that_was_chosen_outlasts_another_span_of_the_charts(desk: Tab) -> None:
    level = desk.page.get_by_label("Log level")
    await expect(level).to_have_value("info")
    await level.select_option("error")
    await desk.page.locator("#overview").get_by_label("Charts of the last").select_option("hour")
    await settled(desk)
    await expect(level).to_be_enabled()
    await expect(level).to_have_value("error")


# --- lists and facts --------------------------------------------------------------------------------------------------


async def test_sessions_of_another_filter_are_not_shown(plane: Plane, desk: Tab) -> None:
    async with clients(plane, 1), held(desk, "**/v1/sessions?*") as asked:
        await desk.show("sessions")
        of_all = await asked.get()
        await desk.page.get_by_label("Client", exact=True).fill("nobody")
        await desk.page.get_by_role("button", name="Filter").click()
        await of_all.continue_()
        of_nobody = await asked.get()  # asked for when the first answer has been dealt with
        assert "client=nobody" in of_nobody.request.url
        await expect(desk.page.locator("#session-table tbody tr")).to_have_count(0)
        await of_nobody.continue_()
        await expect(desk.page.locator("#session-list")).to_contain_text("No session matches", timeout=LATER_MS)


async def test_a_page_is_turned_once_until_the_next_one_is_known(plane: Plane, desk: Tab) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(SOCKETS):
            await stack.enter_async_context(websocket(f"{plane.control.listener.url}/v2"))
        await desk.show("sessions")
        note = desk.page.locator("#page-note")
        await expect(note).to_have_text("Page 1", timeout=LATER_MS)
        async with held(desk, "**/v1/sessions?*") as asked:
            await desk.page.evaluate(twice("next-page"))
            while "after=" not in (second := await asked.get()).request.url:
                await second.continue_()
            await second.continue_()
            await expect(note).to_have_text("Page 2", timeout=LATER_MS)


async def test_facts_are_of_the_canister_in_the_title(plane: Plane, desk: Tab) -> None:
    facts = desk.page.locator("#canister-facts")
    await desk.show(f"canisters/{plane.canister_id}")
    await expect(facts).to_contain_text(str(plane.canister_id), timeout=LATER_MS)
    async with held(desk, f"**/v1/canisters/{OTHER}") as asked:
        await desk.show(f"canisters/{OTHER}")
        other = await asked.get()
        await expect(facts).to_be_empty()
        await other.continue_()
        await expect(desk.page.locator("#canister-note")).to_contain_text("is not listed", timeout=LATER_MS)
        await expect(facts).to_be_empty()


# --- dialogs ----------------------------------------------------------------------------------------------------------


async def test_a_dialog_that_was_dismissed_does_nothing_to_the_next_one(plane: Plane, desk: Tab) -> None:
    await plane.post("/v1/canisters", {"id": OTHER, "name": "market"})
    await desk.show("canisters")
    async with held(desk, "**/v1/canisters/*?*") as asked:
        await desk.page.get_by_role("button", name="Remove… market").click()
        await desk.page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        market = await asked.get()
        await desk.page.keyboard.press("Escape")
        await desk.page.get_by_role("button", name="Remove… chat").click()
        dialog = desk.page.get_by_role("dialog", name="Remove chat?")
        await market.fulfill(status=409, json={"title": "No", "detail": "market stays", "status": 409})
        await expect(desk.page.locator("#toasts")).to_contain_text("Market stays")
        await expect(dialog).to_be_visible()
        await expect(dialog.locator(".alert")).to_be_empty()
        await dialog.get_by_role("button", name="Remove").click()
        chat = await asked.get()
        assert str(plane.canister_id) in chat.request.url
        await chat.continue_()
        await expect(dialog).to_have_count(0)


async def test_an_answer_does_not_close_the_dialog_that_was_opened_since(plane: Plane, desk: Tab) -> None:
    await desk.show("canisters")
    async with held(desk, "**/v1/canisters/*?*") as asked:
        remove = desk.page.get_by_role("button", name="Remove… chat")
        await remove.click()
        await desk.page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        first = await asked.get()
        await desk.page.keyboard.press("Escape")
        await remove.click()
        await first.fulfill(json={"canister": "market", "applied": {"result": "applied", "generation": 2}})
        await settled(desk)
        await expect(desk.page.get_by_role("dialog", name="Remove chat?")).to_be_visible()


async def test_a_count_of_other_sessions_is_not_shown(plane: Plane, desk: Tab) -> None:
    async with clients(plane, 1), held(desk, "**/v1/sessions/close?*") as asked:
        await desk.show("sessions?canister=chat")
        opener = desk.page.get_by_role("button", name="Close these…")
        await opener.click()
        dialog = desk.page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Count them").click()
        of_chat = await asked.get()
        await desk.page.keyboard.press("Escape")
        await desk.page.get_by_label("Client", exact=True).fill("nobody")
        await opener.click()
        await of_chat.fulfill(json={"matched": 7, "closed": 0})
        await settled(desk)
        await expect(dialog.locator("#close-count")).to_be_empty()
        await expect(dialog.get_by_role("button", name="Count them")).to_be_visible()


async def test_a_dialog_stays_in_sight_where_its_view_is_left(desk: Tab) -> None:
    """One that is hidden and open keeps everything else from being used."""
    await desk.show("overview")
    await desk.show("canisters")
    await desk.page.get_by_role("button", name="Add a canister…").click()
    await desk.page.go_back()
    await expect(desk.page.get_by_role("heading", name="Overview", include_hidden=True)).to_have_count(1)
    dialog = desk.page.get_by_role("dialog", name="Add a canister")
    await expect(dialog).to_be_visible()
    await dialog.get_by_role("button", name="Cancel").click()
    await desk.page.get_by_role("link", name="Limits").click()
    await expect(desk.page.get_by_role("heading", name="Limits")).to_be_focused()


# --- the configuration ------------------------------------------------------------------------------------------------


async def applied(shown: Tab) -> None:
    """Confirm what is planned, and wait until it runs."""
    await shown.page.get_by_role("dialog").get_by_role("button", name="Apply").click()
    await expect(shown.page.locator("#toasts")).to_contain_text("Revision 2 runs", timeout=LATER_MS)
    await expect(shown.page.locator("#config-note")).to_contain_text("Revision 2 runs", timeout=LATER_MS)


async def test_what_is_typed_while_a_plan_is_made_stays(plane: Plane, desk: Tab) -> None:
    await desk.show("config")
    await edit(desk, "max_interval: 20ms", "max_interval: 30ms")
    async with held(desk, "**/v1/config/plan") as asked:
        await desk.page.get_by_role("button", name="Apply…").click()
        planned = await asked.get()
        await edit(desk, "max_interval: 30ms", "max_interval: 40ms")
        text = await desk.page.get_by_label("gateway.yaml").input_value()
        await planned.continue_()
        await applied(desk)
    assert plane.gateway.config.polling.max_interval == 0.03
    await expect(desk.page.get_by_label("gateway.yaml")).to_have_value(text)
    await expect(desk.page.locator("#config-changed")).to_be_hidden()
    await desk.page.get_by_role("button", name="Undo the edits").click()
    assert "max_interval: 30ms" in await desk.page.get_by_label("gateway.yaml").input_value()


async def test_edits_stay_where_the_file_is_applied(plane: Plane, desk: Tab) -> None:
    plane.file.write_text(plane.file.read_text().replace("max_interval: 20ms", "max_interval: 50ms"))
    await desk.show("config")
    await edit(desk, "name: chat", "name: market")
    text = await desk.page.get_by_label("gateway.yaml").input_value()
    await desk.page.get_by_role("button", name="Apply the file…").click()
    await applied(desk)
    await expect(desk.page.get_by_label("gateway.yaml")).to_have_value(text)
    await expect(desk.page.locator("#config-changed")).to_contain_text("your edits are based on revision 1")


async def test_the_plan_of_an_older_text_is_not_shown(desk: Tab) -> None:
    await desk.show("config")
    await edit(desk, "max_interval: 20ms", "max_interval: 30ms")
    async with held(desk, "**/v1/config/plan") as asked:
        plan = desk.page.get_by_role("button", name="Plan", exact=True)
        await plan.click()
        older = await asked.get()
        await edit(desk, "max_interval: 30ms", "max_interval: 40ms")
        await plan.click()
        await (await asked.get()).continue_()
        row = desk.page.locator("#plan-table tbody tr")
        await expect(row).to_contain_text("40ms", timeout=LATER_MS)
        await older.continue_()
        answer = await older.request.response()
        assert answer is not None
        await answer.finished()
        await settled(desk)
        await expect(row).to_contain_text("40ms")


async def test_ticks_of_the_dialog_outlast_another_answer_to_the_same_press(desk: Tab) -> None:
    await desk.show("config")
    await edit(desk, "max_interval: 20ms", "max_interval: 30ms")
    async with held(desk, "**/v1/config/plan") as asked:
        await desk.page.evaluate(twice("apply"))
        first, second = await asked.get(), await asked.get()
        await second.continue_()
        dialog = desk.page.get_by_role("dialog")
        await dialog.get_by_label("On trial").check()
        await first.continue_()
        await settled(desk)
        await expect(dialog.get_by_label("On trial")).to_be_checked()


async def test_no_dialog_opens_for_a_view_that_was_left(desk: Tab) -> None:
    await desk.show("config")
    await edit(desk, "max_interval: 20ms", "max_interval: 30ms")
    async with held(desk, "**/v1/config/plan") as asked:
        await desk.page.get_by_role("button", name="Apply…").click()
        planned = await asked.get()
        await desk.show("limits")
        await planned.fulfill(json={"changes": [], "refused": None})
        await settled(desk)
        await expect(desk.page.locator("dialog[open]")).to_have_count(0)


async def test_what_ran_before_a_change_does_not_come_back_into_the_editor(plane: Plane, desk: Tab) -> None:
    await desk.show("config")
    await expect(desk.page.locator("#config-note")).to_contain_text("Revision 1 runs", timeout=LATER_MS)
    old = await plane.get("/v1/config")
    async with held(desk, "**/v1/config") as asked:
        plane.file.write_text(plane.file.read_text().replace("20ms", "50ms"))
        before = await asked.get()  # the page has seen that the file differs
        await edit(desk, "max_interval: 20ms", "max_interval: 30ms")
        text = desk.page.get_by_label("gateway.yaml")
        new = await text.input_value()
        await desk.page.get_by_role("button", name="Apply…").click()
        await desk.page.get_by_role("dialog").get_by_role("button", name="Apply").click()
        await expect(desk.page.locator("#toasts")).to_contain_text("Revision 2 runs", timeout=LATER_MS)
        await before.fulfill(json=old)
        after = await asked.get()  # asked for when the first answer has been dealt with
        await expect(text).to_have_value(new)
        await after.continue_()
        await expect(desk.page.locator("#config-note")).to_contain_text("Revision 2 runs", timeout=LATER_MS)
        await expect(text).to_have_value(new)


# --- who looks at the page --------------------------------------------------------------------------------------------


async def hold_admin(page: Page) -> "asyncio.Queue[Route]":
    """Hold back who the admin is, and answer everybody else."""
    asked: asyncio.Queue[Route] = asyncio.Queue()

    async def take(route: Route) -> None:
        if SECRETS["admin"] in (await route.request.header_value("authorization") or ""):
            await asked.put(route)
        else:
            await route.continue_()

    await page.route("**/v1/whoami", take)
    return asked


async def test_the_name_is_that_of_the_token_in_use(browser: Browser, tcp: Plane) -> None:
    async with tab(browser, f"{tcp.control.url}/") as shown:
        who = shown.page.locator("#who")
        await enter_token(shown, SECRETS["admin"])
        await expect(who).to_have_text("token:admin, admin")
        asked = await hold_admin(shown.page)
        await shown.page.reload()
        admin = await asked.get()
        await shown.page.get_by_role("button", name="Forget the token").click()
        await enter_token(shown, SECRETS["viewer"])
        await expect(who).to_have_text("token:viewer, viewer")
        await admin.continue_()
        await settled(shown)
        await expect(who).to_have_text("token:viewer, viewer")


async def test_who_looks_is_found_out_later_if_it_was_not_at_first(browser: Browser, url: str) -> None:
    async with tab(browser, url, path="docs") as shown:
        await shown.page.route("**/v1/whoami", lambda route: route.abort(), times=1)
        await shown.page.goto(url)
        await expect(shown.page.locator("#who")).to_contain_text("admin", timeout=LATER_MS)
