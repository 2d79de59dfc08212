"""The configuration, edited, planned, tried, compared and rolled back with the page."""

import re

from playwright.async_api import expect

from tests.control.page.browser import Tab
from tests.control.page.steps import LATER_MS, clients, edit
from tests.control.plane import Plane


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
        banner = desk.page.locator("#unconfirmed")
        await expect(banner).to_contain_text("Revision 2 is not confirmed", timeout=LATER_MS)
        await expect(desk.page.get_by_role("timer")).to_have_text(re.compile(r"1:(2|3)\d"))
        await desk.shot("config-trial")
        assert plane.gateway.config.polling.max_interval == 0.03
        await desk.page.get_by_role("button", name="Confirm").click()
        await expect(banner).to_be_hidden(timeout=LATER_MS)
        assert plane.reloads.trial is None


async def test_a_trial_is_rolled_back_at_once_if_that_is_wanted(plane: Plane, desk: Tab) -> None:
    text = plane.file.read_text().replace("max_interval: 20ms", "max_interval: 50ms")
    await plane.post("/v1/config/apply", {"text": text, "confirm_within_s": 600})
    await desk.page.get_by_role("button", name="Roll back now").click()
    await desk.page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    await expect(desk.page.locator("#unconfirmed")).to_be_hidden(timeout=LATER_MS)
    assert plane.gateway.config.polling.max_interval == 0.02


async def test_a_changed_file_is_applied_from_disk(plane: Plane, desk: Tab) -> None:
    plane.file.write_text(plane.file.read_text().replace("max_interval: 20ms", "max_interval: 50ms"))
    await desk.show("config")
    await desk.page.get_by_role("button", name="Apply the file…").click()
    dialog = desk.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("1 change: 1 at once")
    await dialog.get_by_role("button", name="Apply").click()
    await expect(desk.page.locator("#config-differs")).to_be_hidden(timeout=LATER_MS)
    assert plane.gateway.config.polling.max_interval == 0.05


async def test_what_is_applied_is_written_to_the_file_if_that_is_wanted(plane: Plane, desk: Tab) -> None:
    await desk.show("config")
    await edit(desk, "max_interval: 20ms", "max_interval: 30ms")
    await desk.page.get_by_role("button", name="Apply…").click()
    dialog = desk.page.get_by_role("dialog")
    await dialog.get_by_label("Write it to the file too").check()
    await dialog.get_by_role("button", name="Apply").click()
    await expect(desk.page.locator("#config-note")).to_contain_text("Revision 2", timeout=LATER_MS)
    assert "max_interval: 30ms" in plane.file.read_text()
    assert "# the first" in plane.file.read_text(), "comments stay"


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
    await expect(desk.page.locator("#config-changed")).to_contain_text("Revision 2 runs meanwhile", timeout=LATER_MS)
    await desk.page.get_by_role("button", name="Load what runs").click()
    await expect(desk.page.get_by_label("gateway.yaml")).to_have_value(text)


async def test_what_is_rejected_of_others_is_told_by_the_page_that_applied_what_runs(plane: Plane, desk: Tab) -> None:
    await desk.show("config")
    await edit(desk, "max_interval: 20ms", "max_interval: 30ms")
    await desk.page.get_by_role("button", name="Apply…").click()
    await desk.page.get_by_role("dialog").get_by_role("button", name="Apply").click()
    notices = desk.page.locator("#toasts")
    await expect(notices).to_contain_text("Revision 2 runs", timeout=LATER_MS)
    assert (await plane.http.post("/v1/config/apply", json={"text": "nonsense: 1\n"})).status_code == 422
    await expect(notices).to_contain_text("was rejected", timeout=LATER_MS)


async def test_an_older_configuration_is_compared_and_run_again(plane: Plane, desk: Tab) -> None:
    text = plane.file.read_text().replace("max_interval: 20ms", "max_interval: 50ms")
    await plane.post("/v1/config/apply", {"text": text})
    await desk.show("config/history")
    await desk.page.get_by_role("link", name="Show revision 1").click()
    await expect(desk.page.locator("#revision-text .added")).to_contain_text("max_interval: 20ms", timeout=LATER_MS)
    await expect(desk.page.locator("#difference-table tbody tr")).to_contain_text("polling.max_interval")
    await desk.shot("config-difference")
    await desk.page.get_by_role("button", name="Roll back… to revision 1").click()
    await desk.page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    await expect(desk.page.locator("#toasts")).to_contain_text("Revision 3", timeout=LATER_MS)
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
