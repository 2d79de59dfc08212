"""What the page shows of a running gateway, and that it follows what happens."""

import asyncio
import re
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route, expect
from websockets.asyncio.client import connect as websocket

from appliance.control.observe.events import MAX_RECENT
from appliance.errors import GatewayError
from tests.cluster.board import Board, MemoryEngine
from tests.cluster.nodes import beating
from tests.control.page.browser import ROOT, Tab, forwarded, tab
from tests.control.page.steps import LATER_MS, chatter, clients, edit, talk
from tests.control.plane import Plane, running
from tests.gateway.bench import until

MANY = 60
"""Sockets, more than a page of them."""


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
    delivered = f"{plane.gateway.counters.delivered} so far"
    await expect(desk.page.locator("#tile-down-note")).to_have_text(delivered, timeout=LATER_MS)
    await expect(desk.page.locator("#closes tbody")).to_contain_text("the client left", timeout=LATER_MS)
    assert await desk.page.evaluate("performance.getEntriesByType('navigation').length") == 1


async def test_a_chart_shows_what_was_before_somebody_looked(browser: Browser, plane: Plane, url: str) -> None:
    plane.control.metrics_history.every_s = 0.05
    async with plane.control.metrics_history, clients(plane, 1):
        await until(lambda: len([each for each in plane.control.metrics_history.samples() if each.sessions]) > 3)
    async with tab(browser, url) as shown:
        trace = shown.page.locator("#chart-sessions .area")
        await expect(trace).to_have_attribute("points", re.compile(r"(\S+ ){6}"), timeout=LATER_MS)


async def test_charts_reach_as_far_back_as_is_chosen(plane: Plane, desk: Tab) -> None:
    plane.control.metrics_history.every_s = 0.02
    async with plane.control.metrics_history, clients(plane, 1):
        await until(lambda: len(plane.control.metrics_history.samples("6h")) > 3)
        choice = desk.page.locator("#overview").get_by_label("Charts of the last")
        await choice.select_option("6 hours")
        await expect(desk.page).to_have_url(re.compile("#overview\\?span=6h$"))
        trace = desk.page.locator("#chart-messages .trace.series-2")
        await expect(trace).to_have_attribute("points", re.compile(r"\S+ \S+"), timeout=LATER_MS)
        await desk.page.reload()
        await expect(choice).to_have_value("6h")
        await expect(trace).to_be_attached(timeout=LATER_MS)


async def test_a_canister_has_the_four_charts_of_its_own(plane: Plane, desk: Tab) -> None:
    plane.control.metrics_history.every_s = 0.05  # 10 minutes take 6 s, in which they talk on, however slow the page is
    async with plane.control.metrics_history, chatter(plane, 2):
        await desk.show("canisters")
        await desk.page.get_by_role("link", name="chat", exact=True).click()
        await expect(desk.page.get_by_role("heading", name="chat")).to_be_focused(timeout=LATER_MS)
        await expect(desk.page.locator("#canister-facts")).to_contain_text(str(plane.canister_id), timeout=LATER_MS)
        sessions = desk.page.locator("#canister-sessions svg")
        await expect(sessions).to_have_attribute("aria-label", re.compile("open: 2, between"), timeout=LATER_MS)
        for each in ("messages", "latency", "errors"):
            await expect(desk.page.locator(f"#canister-{each} .trace").first).to_be_attached(timeout=LATER_MS)
        await desk.page.locator("#canister-span").select_option("1h")
        await expect(desk.page).to_have_url(re.compile(f"#canisters/{plane.canister_id}\\?span=1h$"))
        await expect(sessions).to_have_attribute("aria-label", re.compile("open: 2, between"), timeout=LATER_MS)
    await desk.show("canisters/nobody")
    await expect(desk.page.locator("#canister-note")).to_contain_text("is not listed", timeout=LATER_MS)


async def test_sessions_have_their_node_and_nodes_that_do_not_answer_are_named(plane: Plane, desk: Tab) -> None:
    board = Board()
    async with beating(MemoryEngine(board), "a") as it, beating(MemoryEngine(board), "b"), clients(plane, 1):
        plane.control.node = it.node
        await desk.show("sessions")
        await expect(desk.page.locator("#session-table")).to_contain_text("node a", timeout=LATER_MS)
        note = "1 session; without node b: it cannot do listSessions; is it of another version?"
        await expect(desk.page.locator("#page-note")).to_have_text(note)
        await desk.page.locator("#session-table a").first.click()
        await expect(desk.page.locator("#session-facts")).to_contain_text("Nodea", timeout=LATER_MS)
        plane.control.node = None


async def test_the_end_of_a_session_is_red_only_if_it_is_an_error(plane: Plane, desk: Tab) -> None:
    async with clients(plane, 1):
        normal = (await plane.get("/v1/sessions"))["items"][0]["id"]
    async with plane.connect(message_type=None) as client:
        await client.receive()
        failed = (await plane.get("/v1/sessions"))["items"][0]["id"]
        await client.send(b"no record")  # the canister traps
        with pytest.raises(GatewayError):
            await client.receive()
    for session, mood, words in (
        (normal, "badge", "1000: the client left"),
        (failed, "badge bad", "4102: the canister"),
    ):
        await desk.show(f"sessions/{session}")
        facts = desk.page.locator("#session-facts")
        await expect(facts).to_contain_text(words, timeout=LATER_MS)
        await expect(facts.locator(".badge")).to_have_class(mood)
    await desk.show("overview")
    row = desk.page.locator("#closes tbody tr", has_text="4102")
    await expect(row).to_contain_text("the canister or the IC rejected a message; come back", timeout=LATER_MS)
    await expect(desk.page.locator("#tile-errors")).to_have_text("1", timeout=LATER_MS)


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


async def test_the_principal_is_copied_for_whoever_writes_a_canister(plane: Plane, desk: Tab) -> None:
    await desk.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await desk.page.get_by_role("button", name="Copy the principal").click()
    await expect(desk.page.locator("#toasts")).to_have_text("Copied.")
    assert await desk.page.evaluate("navigator.clipboard.readText()") == str(plane.gateway.principal)


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


async def test_a_view_that_is_opened_while_the_page_looks_is_filled_at_once(plane: Plane, desk: Tab) -> None:
    is_looking, is_opened = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        is_looking.set()
        await is_opened.wait()
        await route.continue_()

    await desk.page.route("**/v1/stats", hold)
    await is_looking.wait()
    await desk.page.evaluate("() => { window.setTimeout = () => 0; }")  # no other look comes by itself
    await desk.show("canisters")
    is_opened.set()
    await expect(desk.page.locator("#canister-table tbody tr")).to_be_visible(timeout=LATER_MS)


@pytest.mark.parametrize(
    ("path", "heading"),
    [("#nonsense", "Overview"), ("#constructor", "Overview"), ("#sessions/%E0%A4%A", "Session %E0%A4%A")],
)
async def test_an_address_that_leads_nowhere_leaves_a_page_that_works(
    browser: Browser, url: str, path: str, heading: str
) -> None:
    async with tab(browser, url, path=path) as shown:
        await expect(shown.page.get_by_role("heading", name=heading)).to_be_visible()
        await expect(shown.page.locator("#health")).to_have_text("running", timeout=LATER_MS)
        await shown.page.get_by_role("link", name="Limits").click()
        await expect(shown.page.locator("#limit-table tbody tr").first).to_be_visible(timeout=LATER_MS)


async def test_who_has_just_come_is_told_of_nothing_that_was_dropped(browser: Browser, plane: Plane, url: str) -> None:
    for number in range(2 * MAX_RECENT):
        plane.control.events.publish("limit", {"number": number})
    await until(lambda: datetime.now(UTC) - plane.control.events._recent[-1].at > timedelta(seconds=2))
    plane.control.events.publish("limit", {"number": -1})
    async with tab(browser, url, path="#events") as shown:
        await expect(shown.page.locator("#event-list li").first).to_contain_text("number -1", timeout=LATER_MS)
        await expect(shown.page.locator("#toasts")).to_be_empty()


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
    async with (
        running(more=more) as plane,
        forwarded(plane.control.url.removeprefix("unix:")) as url,
        tab(browser, url, path="#limits") as shown,
        plane.connect() as client,
    ):
        with pytest.raises(GatewayError):
            await asyncio.gather(*(talk(client) for _ in range(8)))
        row = shown.page.locator("#limited-table tbody tr")
        await expect(row).to_contain_text("messages per client", timeout=LATER_MS)
        await shown.shot("limits-waiting")
        await shown.page.get_by_role("link", name="Sessions of").click()
        form = shown.page.locator("#session-filter")
        await expect(form.locator("[name=client]")).to_have_value(str(client.principal))
        await expect(form.locator("[name=canister]")).to_have_value(str(plane.canister_id))
        await expect(shown.page.locator("#problem")).to_be_empty()


async def test_plugins_are_shown_with_how_they_do(browser: Browser, tmp_path: Path) -> None:
    more = f"plugins: [{{path: {ROOT}/plugins/audit_log.py, config: {{file: {tmp_path}/log.jsonl}}}}]\n"
    async with (
        running(more=more) as plane,
        forwarded(plane.control.url.removeprefix("unix:")) as url,
        tab(browser, url, path="#plugins") as shown,
    ):
        row = shown.page.locator("#plugin-table tbody tr")
        await expect(row).to_contain_text("audit_log", timeout=LATER_MS)
        await expect(row.locator(".badge")).to_have_text("on")
        [calls] = [each["calls"] for each in (await plane.get("/v1/plugins"))["items"]]
        async with clients(plane, 1):
            await expect(row.locator("[data-label=Calls]")).not_to_have_text(str(calls), timeout=LATER_MS)
        await shown.shot("plugins-one")


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
