"""What is done to sessions, canisters and the gateway with the page."""

import asyncio

import pytest
from playwright.async_api import Route, expect

from appliance.errors import GatewayError
from tests.control.page.browser import Tab
from tests.control.page.steps import LATER_MS, clients, talk
from tests.control.plane import Plane


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
    alert = dialog.get_by_role("alert")
    await expect(alert).to_contain_text("id: malformed principal", timeout=LATER_MS)
    await expect(alert).not_to_contain_text("text:")
    await dialog.get_by_label("Name").fill("two words")
    await dialog.get_by_role("button", name="Add").click()
    await expect(alert).to_contain_text("name: write letters, digits", timeout=LATER_MS)
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
        assert len(plane.gateway.connections) == 2, "nobody is closed by counting"
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
        await expect(dialog.get_by_role("alert")).to_contain_text("is empty and would match every session")
        assert len(plane.gateway.connections) == 1


async def test_a_drain_is_begun_watched_and_cancelled(plane: Plane, desk: Tab) -> None:
    async with clients(plane, 2) as connected:
        await desk.show("drain")
        await expect(desk.page.locator("#drain-form")).to_contain_text(
            "Empty: all of them, and the gateway is not ready"
        )
        await desk.page.get_by_label("Closes per second").fill("0.01")
        await desk.page.get_by_label("Done within, s").fill("3600")
        await desk.page.get_by_label("Reconnect after, s").fill("7")
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


async def test_a_gateway_that_was_drained_accepts_clients_again(plane: Plane, desk: Tab) -> None:
    await desk.show("drain")
    await desk.page.get_by_role("button", name="Drain…").click()
    await desk.page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    await expect(desk.page.locator("#drain-state")).to_contain_text("Done.", timeout=LATER_MS)
    await expect(desk.page.locator("#health")).to_have_text("draining", timeout=LATER_MS)
    await desk.page.get_by_role("button", name="Accept clients again").click()
    await expect(desk.page.locator("#health")).to_have_text("running", timeout=LATER_MS)
    await expect(desk.page.get_by_role("button", name="Accept clients again")).to_be_hidden()
    assert plane.gateway.is_accepting


async def test_a_canister_is_drained_while_the_gateway_stays(plane: Plane, desk: Tab) -> None:
    async with clients(plane, 2):
        await desk.show("canisters")
        await desk.page.get_by_role("button", name="Drain chat").click()
        await expect(desk.page.locator("#drain-form [name=canister]")).to_have_value("chat")
        await desk.page.get_by_label("Closes per second").fill("0.01")
        await desk.page.get_by_label("Done within, s").fill("3600")
        await desk.page.get_by_role("button", name="Drain…").click()
        await desk.page.get_by_role("dialog", name="Drain chat?").get_by_role("button", name="Drain").click()
        row = desk.page.locator("#drain-table tbody tr")
        await expect(row).to_contain_text("1 of 2", timeout=LATER_MS)
        await expect(desk.page.locator("#health")).to_have_text("running")
        await desk.shot("drain-canister")
        await desk.page.get_by_role("button", name="Cancel the drain of").click()
        await expect(row.filter(has_text="closing")).to_have_count(0, timeout=LATER_MS)
        assert len(plane.gateway.connections) == 1


async def test_the_log_is_made_to_say_more(plane: Plane, desk: Tab) -> None:
    await desk.page.get_by_label("Log level").select_option("debug")
    await desk.page.get_by_role("button", name="Change").click()
    await expect(desk.page.locator("#toasts")).to_contain_text("debug")
    assert plane.control.log.level == "debug"


async def test_a_log_level_can_be_chosen_only_when_the_one_of_today_is_known(plane: Plane, desk: Tab) -> None:
    """Otherwise the answer would replace what has been chosen meanwhile."""
    is_answered = asyncio.Event()

    async def hold(route: Route) -> None:
        await is_answered.wait()
        await route.continue_()

    await desk.show("canisters")
    await desk.page.route("**/v1/log", hold)
    await desk.show("overview")
    level = desk.page.get_by_label("Log level")
    await expect(level).to_be_disabled()
    is_answered.set()
    await expect(level).to_be_enabled()
    await expect(level).to_have_value(plane.control.log.level)
