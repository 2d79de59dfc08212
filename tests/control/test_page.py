"""The page in a real Chromium, at the control plane of a real gateway with a localnet and live clients."""

import json
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect
from websockets.asyncio.client import connect as websocket

from appliance.client import Connection
from appliance.control.page.routes import VIEWS
from appliance.errors import GatewayError
from tests.control.browser import SIZES, Scheme, Tab, Unavailable, axe, find, forwarded, launched, tab
from tests.control.plane import SECRETS, Plane, running
from tests.interop import node

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

REQUIRE = "ICWS_REQUIRE_BROWSER"
PLACES = (
    *(name for name, _ in VIEWS),
    "config/values",
    "config/history",
)
MANY = 60
"""Sockets, more than a page of them."""
LATER_MS = 20_000
"""For what the page is told by looking again."""


def missing(problem: Exception) -> None:
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{problem} ({REQUIRE} is 1)")
    pytest.skip(str(problem))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium. Without one the test is skipped, or fails where ICWS_REQUIRE_BROWSER is 1, as in CI."""
    try:
        program = find()
    except Unavailable as problem:
        missing(problem)
    async with launched(program) as found:
        yield found


@pytest.fixture(scope="module")
def audit_of_access() -> str:
    """The source of axe-core, in the same way."""
    try:
        return axe()
    except node.Unavailable as problem:
        missing(problem)
        raise


@pytest_asyncio.fixture(loop_scope="module")
async def plane() -> AsyncIterator[Plane]:
    """A gateway whose control plane is on a Unix socket."""
    async with running() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def url(plane: Plane) -> AsyncIterator[str]:
    """Where a browser finds the page of it."""
    async with forwarded(plane.control.url.removeprefix("unix:")) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def desk(browser: Browser, url: str) -> AsyncIterator[Tab]:
    """A tab at a desk, with the page in it."""
    async with tab(browser, url) as found:
        yield found


@asynccontextmanager
async def clients(plane: Plane, number: int) -> AsyncIterator[list[Connection]]:
    """Sessions that had one message each way."""
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(plane.connect()) for _ in range(number)]
        for each in found:
            await each.receive()  # the canister greets
            await talk(each)
        yield found


async def talk(client: Connection) -> None:
    await client.send({"text": "hello", "timestamp": time.time_ns()})
    await client.receive()


# --- how it looks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_every_view_can_be_read_by_everybody(
    browser: Browser, plane: Plane, url: str, audit_of_access: str, size: str, scheme: Scheme
) -> None:
    async with clients(plane, 3), tab(browser, url, size=size, scheme=scheme) as shown:
        session = (await plane.get("/v1/sessions"))["items"][0]["id"]
        await plane.post("/v1/config/plan", {})
        await plane.http.put("/v1/log", json={"level": "debug"})
        for place in (*PLACES, f"sessions/{session}", "config/history/1"):
            await shown.show(place)
            await filled(shown, place)
            await can_be_read(shown, audit_of_access, place)
            await shown.shot(place.replace("/", "-").replace(session, "story"))


async def filled(shown: Tab, place: str) -> None:
    """Wait until a view shows what there is."""
    first = {
        "overview": "#checks tbody tr:nth-child(5)",
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
        "config/history/1": "#generation-text:not(:empty)",
    }.get(place, "#moments li:nth-child(5)")
    await expect(shown.page.locator(first)).to_be_visible(timeout=LATER_MS)


async def can_be_read(shown: Tab, source: str, place: str) -> None:
    wide = await shown.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{place} is {wide} pixels too wide"
    if not await shown.page.evaluate("'axe' in window"):
        await shown.page.evaluate(source)
    found = await shown.page.evaluate("axe.run({ resultTypes: ['violations'] })")
    serious = [
        (each["id"], [target["target"] for target in each["nodes"]])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
    assert not serious, f"{place}: {serious}"
    assert len(found["passes"]) > 10


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


# --- what it shows --------------------------------------------------------------------------------------------------


async def test_charts_go_on_without_a_reload(plane: Plane, desk: Tab) -> None:
    trace = desk.page.locator("#chart-messages .trace.series-2")
    async with clients(plane, 2) as talking:
        await expect(desk.page.locator("#tile-sessions")).to_have_text("2", timeout=LATER_MS)
        await expect(trace).to_be_attached(timeout=LATER_MS)
        before = await trace.get_attribute("points")
        for client in talking:
            await talk(client)
        await expect(trace).not_to_have_attribute("points", before or "", timeout=LATER_MS)
    await expect(desk.page.locator("#tile-sessions")).to_have_text("0", timeout=LATER_MS)
    delivered = f"{plane.gateway.stats.delivered} since the start"
    await expect(desk.page.locator("#tile-down-note")).to_have_text(delivered, timeout=LATER_MS)
    await expect(desk.page.locator("#closes tbody")).to_contain_text("the client left", timeout=LATER_MS)
    assert await desk.page.evaluate("performance.getEntriesByType('navigation').length") == 1


async def test_a_chart_is_read_with_the_keyboard(plane: Plane, desk: Tab) -> None:
    chart = desk.page.locator("#chart-sessions svg")
    async with clients(plane, 1):
        await expect(chart).to_have_attribute("aria-label", re.compile("open: 1, between"), timeout=LATER_MS)
        await expect(desk.page.locator("#chart-sessions .trace").first).to_be_attached()
        await chart.focus()
        await desk.page.keyboard.press("Home")
        await expect(desk.page.locator("#chart-sessions [role=status]")).to_contain_text(
            re.compile(r"\d\d:\d\d.*open \d")
        )
        await expect(desk.page.locator("#chart-sessions .crosshair")).to_have_count(1)


async def test_a_session_is_found_and_its_story_is_told(plane: Plane, desk: Tab) -> None:
    async with clients(plane, 2):
        one, other = (await plane.get("/v1/sessions"))["items"]
        await desk.show("sessions")
        await desk.page.get_by_label("Client", exact=True).fill(one["client"][:12])
        await desk.page.get_by_role("button", name="Filter").click()
        rows = desk.page.locator("#session-table tbody tr")
        await expect(rows).to_have_count(1, timeout=LATER_MS)
        assert one["client"][:12] in desk.page.url, "the address is one to pass on"
        await rows.get_by_role("link", name=one["id"]).click()
        await expect(desk.page.get_by_role("heading", name=f"Session {one['id']}")).to_be_focused()
        await expect(desk.page.locator("#moments")).to_contain_text("The session is open", timeout=LATER_MS)
        await expect(desk.page.locator("#session-facts")).to_contain_text(one["client"])
        assert other["client"] not in await desk.page.locator("#session-story").inner_text()


async def test_many_sessions_are_paged_through(plane: Plane, desk: Tab) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(MANY):
            await stack.enter_async_context(websocket(f"{plane.control.listener.url}/v2"))
        known = {session["id"] for session in (await plane.get("/v1/sessions", limit=1000))["items"]}
        assert len(known) == MANY
        await desk.show("sessions")
        ids = desk.page.locator("#session-table tbody a")
        await expect(ids).to_have_count(50, timeout=LATER_MS)
        first = set(await ids.all_inner_texts())
        await desk.page.get_by_role("button", name="Next page").click()
        await expect(ids).to_have_count(MANY - 50, timeout=LATER_MS)
        assert first | set(await ids.all_inner_texts()) == known
        await expect(desk.page.get_by_role("button", name="Next page")).to_be_disabled()


async def test_what_looks_like_markup_is_shown_as_text(desk: Tab) -> None:
    await desk.show("sessions?address=%3Cimg%20id%3Devil%3E")
    await expect(desk.page.locator("#problem")).to_contain_text("<img id=evil>", timeout=LATER_MS)
    await desk.show("config")
    await edit(desk, "name: chat", '"<img id=evil>": chat')
    await desk.page.get_by_role("button", name="Plan", exact=True).click()
    await expect(desk.page.locator("#config-edit .alert")).to_contain_text("<img id=evil>", timeout=LATER_MS)
    await expect(desk.page.locator("#evil")).to_have_count(0)


async def test_who_is_limited_is_shown_with_a_way_to_the_sessions(browser: Browser) -> None:
    more = "rate_limits: {messages_per_client: {rate: 1/m, burst: 3}}\n"
    async with running(more=more) as plane, forwarded(plane.control.url.removeprefix("unix:")) as url:
        async with tab(browser, f"{url}#limits") as shown, plane.connect() as client:
            with pytest.raises(GatewayError):
                while True:
                    await talk(client)
            await expect(shown.page.locator("#limited-table tbody tr")).to_contain_text(
                "messages per client", timeout=LATER_MS
            )
            await expect(shown.page.get_by_role("link", name="Sessions of")).to_be_visible()


async def test_events_come_by_themselves(plane: Plane, desk: Tab) -> None:
    await desk.show("events")
    lines = desk.page.locator("#event-list li:visible")
    async with clients(plane, 1):
        await expect(lines.filter(has_text="session.opened")).to_have_count(1)
        await desk.page.get_by_role("button", name="Pause").click()
    await expect(desk.page.locator("#event-note")).to_contain_text("more wait")
    await desk.page.get_by_role("button", name="Pause").click()
    await expect(lines.filter(has_text="session.closed")).to_have_count(1)
    await desk.page.get_by_label("session.opened").uncheck()
    await expect(lines.filter(has_text="session.opened")).to_have_count(0)
    await lines.filter(has_text="session.closed").get_by_role("link").click()
    await expect(desk.page.locator("#session-facts")).to_contain_text("closed with code 1000", timeout=LATER_MS)


# --- what it does ---------------------------------------------------------------------------------------------------


async def test_a_canister_is_paused_and_resumed(plane: Plane, desk: Tab) -> None:
    async with clients(plane, 1):
        await desk.show("canisters")
        pause = desk.page.get_by_role("button", name="Pause chat")
        await pause.focus()
        await desk.page.keyboard.press("Enter")
        await expect(desk.page.locator("#canister-table")).to_contain_text("paused", timeout=LATER_MS)
        assert plane.gateway.config.canisters[0].paused
        await expect(desk.page.get_by_role("button", name="Resume chat")).to_be_focused()
        await expect(desk.page.locator("#toasts")).to_have_text("Paused chat.")
        await desk.page.keyboard.press("Enter")
        await expect(pause).to_be_visible(timeout=LATER_MS)
        assert not plane.gateway.config.canisters[0].paused


async def test_a_canister_is_added_and_removed(plane: Plane, desk: Tab) -> None:
    await desk.show("canisters")
    await desk.page.get_by_role("button", name="Add a canister…").click()
    dialog = desk.page.get_by_role("dialog", name="Add a canister")
    await dialog.get_by_label("Principal").fill("aaaaa-aaaab")
    await dialog.get_by_role("button", name="Add").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("wrong check sum", timeout=LATER_MS)
    await dialog.get_by_label("Principal").fill("rrkah-fqaaa-aaaaa-aaaaq-cai")
    await dialog.get_by_label("Name").fill("market")
    await dialog.get_by_role("button", name="Add").click()
    await expect(desk.page.get_by_role("rowheader", name="market")).to_be_visible(timeout=LATER_MS)
    assert [each.name for each in plane.gateway.config.canisters] == ["chat", "market"]
    await desk.page.get_by_role("button", name="Remove… market").click()
    await desk.page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    await expect(desk.page.get_by_role("rowheader", name="market")).to_have_count(0, timeout=LATER_MS)
    assert [each.name for each in plane.gateway.config.canisters] == ["chat"]


async def test_sessions_are_counted_before_they_are_closed(plane: Plane, desk: Tab) -> None:
    async with clients(plane, 2) as connected:
        await desk.show("sessions?canister=chat")
        opener = desk.page.get_by_role("button", name="Close these…")
        await opener.click()
        dialog = desk.page.get_by_role("dialog")
        await expect(dialog).to_contain_text("canister chat")
        await dialog.get_by_label("Reason").fill("maintenance")
        await dialog.get_by_role("button", name="Count them").click()
        await expect(dialog).to_contain_text("2 sessions would be closed")
        assert len(plane.gateway.roster) == 2, "nobody is closed by counting"
        await dialog.get_by_role("button", name="Close 2 sessions").click()
        await expect(dialog).to_have_count(0)
        await expect(opener).to_be_focused()
        for client in connected:
            with pytest.raises(GatewayError, match="maintenance"):
                await client.receive()
    [entry] = [each for each in (await plane.get("/v1/audit"))["items"] if each["action"] == "closeSessions"]
    assert entry["after"] == {"closed": 2}


async def test_closing_without_a_filter_is_refused_in_a_sentence(plane: Plane, desk: Tab) -> None:
    async with clients(plane, 1):
        await desk.show("sessions")
        await desk.page.get_by_role("button", name="Close these…").click()
        dialog = desk.page.get_by_role("dialog")
        await expect(dialog).to_contain_text("No filter is set")
        await dialog.get_by_role("button", name="Count them").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("says nothing, and would mean everybody")
        assert len(plane.gateway.roster) == 1


async def edit(shown: Tab, old: str, new: str) -> None:
    """Change the text of the configuration in the editor."""
    text = shown.page.get_by_label("gateway.yaml")
    await expect(text).not_to_have_value("", timeout=LATER_MS)
    before = await text.input_value()
    assert old in before
    await text.fill(before.replace(old, new))


async def test_a_configuration_is_planned_tried_and_confirmed(plane: Plane, desk: Tab) -> None:
    async with clients(plane, 2):
        await desk.show("config")
        await edit(desk, "max_interval: 20ms", "max_interval: 30ms")
        await desk.page.get_by_role("button", name="Plan", exact=True).click()
        row = desk.page.locator("#plan-table tbody tr")
        await expect(row).to_contain_text("polling.max_interval")
        await expect(row).to_contain_text("live")
        await expect(row.locator("td").last).to_have_text("2")
        await desk.shot("config-plan")
        assert plane.gateway.config.polling.max_interval == 0.02, "nothing is changed by planning"

        await desk.page.get_by_role("button", name="Apply…").click()
        dialog = desk.page.get_by_role("dialog")
        await dialog.get_by_label("On trial").check()
        await dialog.get_by_label("Seconds to confirm it").fill("90")
        await dialog.get_by_role("button", name="Apply").click()
        await expect(desk.page.locator("#unconfirmed")).to_contain_text(
            "Generation 2 is not confirmed", timeout=LATER_MS
        )
        await expect(desk.page.get_by_role("timer")).to_have_text(re.compile(r"1:(2|3)\d"))
        await desk.shot("config-trial")
        assert plane.gateway.config.polling.max_interval == 0.03
        await desk.page.get_by_role("button", name="Confirm").click()
        await expect(desk.page.locator("#unconfirmed")).to_be_hidden(timeout=LATER_MS)
        assert plane.reloads.trial is None


async def test_an_unconfirmed_configuration_is_seen_to_roll_back(plane: Plane, desk: Tab) -> None:
    await desk.show("config")
    await edit(desk, "max_interval: 20ms", "max_interval: 30ms")
    await desk.page.get_by_role("button", name="Apply…").click()
    dialog = desk.page.get_by_role("dialog")
    await dialog.get_by_label("On trial").check()
    await dialog.get_by_label("Seconds to confirm it").fill("1")
    await dialog.get_by_role("button", name="Apply").click()
    await expect(desk.page.locator("#toasts")).to_contain_text("Rolled back", timeout=LATER_MS)
    await expect(desk.page.locator("#unconfirmed")).to_be_hidden(timeout=LATER_MS)
    assert plane.gateway.config.polling.max_interval == 0.02
    text = desk.page.get_by_label("gateway.yaml")
    await expect(text).to_have_value(re.compile("max_interval: 20ms"), timeout=LATER_MS)


async def test_a_fault_leads_to_its_place(plane: Plane, desk: Tab) -> None:
    await desk.show("config")
    await edit(desk, "name: chat", "nmae: chat")
    await desk.page.get_by_role("button", name="Plan", exact=True).click()
    alert = desk.page.locator("#config-edit .alert")
    await expect(alert).to_contain_text("did you mean", timeout=LATER_MS)
    await desk.shot("config-fault")
    await alert.get_by_role("button").click()
    await expect(desk.page.get_by_label("gateway.yaml")).to_be_focused()
    line = (await desk.page.get_by_label("gateway.yaml").input_value()).split("\n").index("    nmae: chat") + 1
    await expect(desk.page.locator("#caret")).to_have_text(re.compile(f"line {line}, column \\d+"))


async def test_what_somebody_else_applied_meanwhile_is_not_overwritten(plane: Plane, desk: Tab) -> None:
    await desk.show("config")
    await edit(desk, "max_interval: 20ms", "max_interval: 30ms")
    await desk.page.get_by_role("button", name="Apply…").click()
    text = plane.file.read_text().replace("max_interval: 20ms", "max_interval: 50ms")
    await plane.post("/v1/config/apply", {"text": text})
    dialog = desk.page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Apply").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("changed meanwhile", timeout=LATER_MS)
    assert plane.gateway.config.polling.max_interval == 0.05
    await desk.page.keyboard.press("Escape")
    await expect(desk.page.locator("#config-changed")).to_contain_text("Generation 2 runs meanwhile", timeout=LATER_MS)
    await desk.page.get_by_role("button", name="Load what runs").click()
    await expect(desk.page.get_by_label("gateway.yaml")).to_have_value(text)


async def test_an_older_configuration_is_compared_and_run_again(plane: Plane, desk: Tab) -> None:
    text = plane.file.read_text().replace("max_interval: 20ms", "max_interval: 50ms")
    await plane.post("/v1/config/apply", {"text": text})
    await desk.show("config/history")
    await desk.page.get_by_role("link", name="Show generation 1").click()
    await expect(desk.page.locator("#generation-text .added")).to_contain_text("max_interval: 20ms", timeout=LATER_MS)
    await expect(desk.page.locator("#difference-table tbody tr")).to_contain_text("polling.max_interval")
    await desk.shot("config-difference")
    await desk.page.get_by_role("button", name="Roll back… to generation 1").click()
    await desk.page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    await expect(desk.page.locator("#toasts")).to_contain_text("Generation 3", timeout=LATER_MS)
    assert plane.gateway.config.polling.max_interval == 0.02


async def test_what_needs_a_restart_is_applied_without_it_or_not_at_all(plane: Plane, desk: Tab) -> None:
    await desk.show("config")
    await edit(desk, "watch: false", "watch: true")
    await desk.page.get_by_role("button", name="Apply…").click()
    dialog = desk.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("1 with a restart")
    await dialog.get_by_role("button", name="Apply").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("watch", timeout=LATER_MS)
    await dialog.get_by_label("some keys need a restart").check()
    await dialog.get_by_role("button", name="Apply").click()
    await expect(desk.page.locator("#config-note")).to_contain_text("waiting for a restart: watch", timeout=LATER_MS)


async def test_values_are_found_with_where_they_are_from(plane: Plane, desk: Tab) -> None:
    await desk.show("config/values")
    await desk.page.get_by_label("Find a key or a value").fill("polling.max_interval")
    row = desk.page.locator("#value-table tbody tr").first
    await expect(row).to_contain_text("20ms", timeout=LATER_MS)
    line = plane.file.read_text().split("\n").index("polling: {min_interval: 5ms, max_interval: 20ms}") + 1
    await expect(row).to_contain_text(f"gateway.yaml:{line}:")


async def test_a_drain_is_begun_watched_and_cancelled(plane: Plane, desk: Tab) -> None:
    async with clients(plane, 2) as connected:
        await desk.show("drain")
        await desk.page.get_by_label("Closes a second").fill("0.01")
        await desk.page.get_by_label("Done within, s").fill("3600")
        await desk.page.get_by_label("Clients wait, s").fill("7")
        await desk.page.get_by_role("button", name="Drain…").click()
        await desk.page.get_by_role("dialog").get_by_role("button", name="Drain").click()
        await expect(desk.page.locator("#drain-facts")).to_contain_text("1 of 2", timeout=LATER_MS)
        await expect(desk.page.locator("#health")).to_have_text("draining", timeout=LATER_MS)
        await desk.shot("drain-closing")
        with pytest.raises(GatewayError):
            await connected[0].receive()
        await desk.page.get_by_role("button", name="Cancel the drain").click()
        await expect(desk.page.locator("#health")).to_have_text("running", timeout=LATER_MS)
        await talk(connected[1])


async def test_the_log_is_made_to_say_more(plane: Plane, desk: Tab) -> None:
    await desk.page.get_by_label("Log level").select_option("debug")
    await desk.page.get_by_role("button", name="Change").click()
    await expect(desk.page.locator("#toasts")).to_contain_text("debug")
    assert plane.control.log.level == "debug"


# --- who may ---------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def tcp() -> AsyncIterator[Plane]:
    """A gateway whose control plane is on a port."""
    async with running(tcp=True) as found:
        yield found


async def enter_token(shown: Tab, token: str) -> None:
    await shown.page.get_by_label("Token", exact=True).fill(token)
    await shown.page.keyboard.press("Enter")


async def test_over_tcp_a_token_is_asked_for_once(browser: Browser, tcp: Plane) -> None:
    async with tab(browser, f"{tcp.control.url}/") as shown:
        dialog = shown.page.get_by_role("dialog", name="A token is needed")
        await expect(dialog).to_be_visible()
        await enter_token(shown, "wrong")
        await expect(dialog.get_by_role("alert")).to_contain_text("Nobody has this token")
        await shown.shot("token")
        await enter_token(shown, SECRETS["admin"])
        await expect(shown.page.locator("#who")).to_have_text("token:admin, admin")
        await shown.show("events")
        await expect(shown.page.locator("#event-note")).to_have_text("Nothing has happened yet", timeout=LATER_MS)
        await shown.page.reload()
        await expect(shown.page.locator("#who")).to_have_text("token:admin, admin")
        assert SECRETS["admin"] not in await shown.page.evaluate("JSON.stringify(localStorage) + document.cookie")
        await shown.page.get_by_role("button", name="Forget the token").click()
        await expect(dialog).to_be_visible()


async def test_without_a_token_nothing_is_asked_for_again(browser: Browser, tcp: Plane) -> None:
    async with tab(browser, f"{tcp.control.url}/") as shown:
        await expect(shown.page.get_by_role("dialog")).to_be_visible()
        await shown.page.keyboard.press("Escape")
        await expect(shown.page.get_by_role("dialog")).to_have_count(0)
        await shown.page.get_by_role("button", name="Enter a token").click()
        await enter_token(shown, SECRETS["viewer"])
        await expect(shown.page.locator("#who")).to_have_text("token:viewer, viewer")


async def test_a_viewer_sees_and_is_offered_nothing_more(browser: Browser, tcp: Plane) -> None:
    async with clients(tcp, 1), tab(browser, f"{tcp.control.url}/") as shown:
        await enter_token(shown, SECRETS["viewer"])
        await expect(shown.page.locator("#who")).to_have_text("token:viewer, viewer")
        for place, shows, hides in (
            ("canisters", "#canister-table tbody tr", "Pause"),
            ("sessions", "#session-table tbody tr", "Close these"),
            ("config", "#config-hidden", "Apply"),
            ("drain", "#drain-state", "Drain…"),
            ("access", "#audit-table, #access .empty", "Make a token"),
        ):
            await shown.show(place)
            await expect(shown.page.locator(shows).filter(visible=True).first).to_be_visible(timeout=LATER_MS)
            await expect(shown.page.get_by_role("button", name=hides)).to_have_count(0)
        await expect(shown.page.locator("#problem")).to_be_empty()


async def test_what_a_role_may_not_do_is_said_in_the_words_of_the_api(browser: Browser, tcp: Plane) -> None:
    async with tab(browser, f"{tcp.control.url}/#canisters") as shown:
        await enter_token(shown, SECRETS["operator"])
        await expect(shown.page.locator("#who")).to_have_text("token:operator, operator")
        tokens = tcp.file.with_name("tokens")
        tokens.write_text(tokens.read_text().replace("operator operator", "operator viewer"))
        await shown.page.get_by_role("button", name="Pause chat").click()
        await expect(shown.page.locator("#toasts")).to_have_text("Token:operator is viewer, this needs operator.")
        assert not tcp.gateway.config.canisters[0].paused


async def test_a_token_is_made_shown_once_and_removed(browser: Browser, tcp: Plane) -> None:
    async with tab(browser, f"{tcp.control.url}/#access") as shown:
        await enter_token(shown, SECRETS["admin"])
        await shown.page.get_by_role("button", name="Make a token…").click()
        dialog = shown.page.get_by_role("dialog", name="Make a token")
        await dialog.get_by_label("Name").fill("grafana")
        await dialog.get_by_role("button", name="Make it").click()
        await expect(shown.page.locator("#shown-token")).not_to_be_empty()
        token = await shown.page.locator("#shown-token").inner_text()
        async with tcp.client(token) as grafana:
            assert (await grafana.get("/v1/whoami")).json() == {"name": "token:grafana", "role": "viewer"}
            await shown.page.get_by_role("button", name="Done").click()
            await expect(shown.page.locator("#shown-token")).to_be_empty()
            assert token not in await shown.page.content()
            await expect(shown.page.locator("#audit-table")).to_contain_text("addToken", timeout=LATER_MS)
            await shown.page.get_by_role("button", name="Remove… grafana").click()
            await shown.page.get_by_role("dialog").get_by_role("button", name="Remove").click()
            await expect(shown.page.get_by_role("rowheader", name="grafana")).to_have_count(0, timeout=LATER_MS)
            assert (await grafana.get("/v1/whoami")).status_code == 401


# --- keyboard, and a line that breaks --------------------------------------------------------------------------------


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
    assert await desk.page.title() == "Sessions – icws"


async def test_a_dialog_keeps_the_keyboard_and_gives_it_back(plane: Plane, desk: Tab) -> None:
    await desk.show("canisters")
    opener = desk.page.get_by_role("button", name="Add a canister…")
    await opener.focus()
    await desk.page.keyboard.press("Enter")
    await expect(desk.page.get_by_label("Principal")).to_be_focused()
    inside = "document.querySelector('dialog[open]').contains(document.activeElement)"
    seen = set()
    for _ in range(15):
        seen.add(await desk.page.evaluate("document.activeElement.name || document.activeElement.textContent"))
        await desk.page.keyboard.press("Tab")
        assert await desk.page.evaluate(inside)
    assert seen == {"id", "name", "v0", "v1", "v2", "max_clients", "paused", "save", "Cancel", "Add"}
    await desk.page.get_by_label("Principal").focus()
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


# --- parts of the script by themselves ---------------------------------------------------------------------------------


async def run(shown: Tab, module: str, script: str, value: Any = None) -> Any:
    """What a function of the script's own modules makes of a value."""
    return await shown.page.evaluate(
        f"async (value) => {{ const m = await import('./static/{module}'); return ({script})(m, value); }}", value
    )


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("m.duration(0)", "0 ms"),
        ("m.duration(0.00042)", "420 µs"),
        ("m.duration(0.0421)", "42.1 ms"),
        ("m.duration(2.44)", "2.4 s"),
        ("m.duration(59.6)", "60 s"),
        ("m.duration(185)", "3 min 5 s"),
        ("m.duration(90061)", "1 d 1 h"),
        ("m.duration(null)", "–"),
        ("m.bytes(1023)", "1023 B"),
        ("m.bytes(1536)", "1.5 KiB"),
        ("m.bytes(5 * 1024 ** 3)", "5 GiB"),
        ("m.clock(65)", "1:05"),
        ("m.clock(3661)", "1:01:01"),
        ("m.clock(-1)", "0:00"),
        ("m.count(1234567)", "1,234,567"),
        ("m.count(1234567, true)", "1.2 M"),
        ("m.rate(0.1234)", "0.12"),
        ("m.rate(123.4)", "123"),
        ("m.shorten('abcdefghij', 7)", "abc…hij"),
        ("m.shorten('short', 7)", "short"),
        ("m.many(1, 'session')", "1 session"),
        ("m.many(2000, 'session')", "2,000 sessions"),
    ],
)
async def test_numbers_are_written_as_people_read_them(plain: Tab, call: str, text: str) -> None:
    assert await run(plain, "format.js", f"(m) => {call}") == text


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def plain(browser: Browser) -> AsyncIterator[Tab]:
    """A tab for all tests that only run parts of the script."""
    async with running() as plane, forwarded(plane.control.url.removeprefix("unix:")) as url:
        async with tab(browser, url) as shown:
            yield shown


async def test_the_scale_of_a_chart_covers_what_is_shown(plain: Tab) -> None:
    values = [10.0**power * factor for power in range(-7, 8) for factor in (1, 1.0001, 1.9, 2, 4.99, 5, 7.3, 9.999)]
    for most, marks in zip(
        values, await run(plain, "chart.js", "(m, values) => values.map((v) => m.ticks(v))", values), strict=True
    ):
        assert marks[0] == 0
        assert most <= marks[-1] * (1 + 1e-9) <= most * 2 + marks[1]
        assert 2 <= len(marks) <= 6
        steps = {round((b - a) / marks[1], 6) for a, b in zip(marks, marks[1:], strict=False)}
        assert steps == {1.0}
    assert await run(plain, "chart.js", "(m) => m.ticks(3, 4, 1)") == [0, 1, 2, 3]


async def test_a_stream_is_read_alike_wherever_it_is_cut(plain: Tab) -> None:
    text = ': hello\n\nid: 1\nevent: reload\ndata: {"a": 1,\ndata: "b": 2}\n\nid:2\r\ndata:x\r\n\r\nevent: none\n\ndata\n\n'
    whole = [{"id": "1", "event": "reload", "data": '{"a": 1,\n"b": 2}'}, {"id": "2", "data": "x"}, {"data": ""}]
    script = """(m, text) => Array.from({ length: text.length }, (_, at) => {
      const parser = new m.EventParser();
      return [...parser.push(text.slice(0, at)), ...parser.push(text.slice(at))];
    })"""
    for found in await run(plain, "stream.js", script, text):
        assert found == whole


async def test_charts_show_what_has_changed_between_two_looks(plain: Tab) -> None:
    def look(at: int, **counters: int) -> dict[str, Any]:
        stats = {
            "counters": {"relayed": counters["relayed"], "delivered": counters["delivered"]},
            "by": {"refused": {"malformed": counters["refused"]}},
            "hops": [{"name": "gateway_to_ic", "count": counters["relayed"], "sum_s": counters["relayed"] * 0.25}],
        }
        return {"at": at, "stats": stats, "status": {"sessions": 3, "connections": 4}}

    looks = [look(0, relayed=0, delivered=0, refused=5), look(2000, relayed=10, delivered=4, refused=6)]
    script = "(m, looks) => looks.map((now, index) => m.sampleOf(looks.slice(0, index + 1), now))"
    first, second = await run(plain, "samples.js", script, looks)
    assert (first["up"], first["refused"], first["gateway_to_ic"], first["sessions"]) == (None, None, None, 3)
    assert (second["up"], second["down"], second["refused"], second["gateway_to_ic"]) == (5, 2, 1, 0.25)


async def test_nested_values_are_written_as_keys(plain: Tab) -> None:
    values = {
        "a": {"b": 1, "empty": {}},
        "canisters": [{"id": "x-cai", "polling": {"timeout": "5s"}}],
        "origins": ["*"],
    }
    flat = await run(plain, "views/values.js", "(m, values) => m.flatten(values)", values)
    assert json.loads(json.dumps(flat)) == [
        ["a.b", 1],
        ["a.empty", {}],
        ["canisters[x-cai].id", "x-cai"],
        ["canisters[x-cai].polling.timeout", "5s"],
        ["origins", ["*"]],
    ]
