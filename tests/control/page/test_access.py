"""Who may do what with the page, over TCP."""

import re

from playwright.async_api import Browser, expect

from tests.control.page.browser import Tab, tab
from tests.control.page.steps import LATER_MS, clients, enter_token
from tests.control.plane import SECRETS, Plane


async def test_over_tcp_a_token_is_asked_for_once(browser: Browser, tcp: Plane) -> None:
    async with tab(browser, f"{tcp.control.url}/") as shown:
        dialog = shown.page.get_by_role("dialog", name="A token is needed")
        await expect(dialog).to_be_visible()
        await expect(dialog).to_contain_text("icws tokens add NAME ROLE")
        await enter_token(shown, "wrong")
        await expect(dialog.get_by_role("alert")).to_contain_text("This token is not known here")
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


async def test_over_a_unix_socket_a_token_that_is_not_known_can_be_left_out(desk: Tab) -> None:
    await desk.page.evaluate("sessionStorage.setItem('icws.token', 'old')")
    await desk.page.reload()
    await expect(desk.page.get_by_role("dialog").get_by_role("alert")).to_contain_text("This token is not known here")
    await desk.page.keyboard.press("Escape")
    await expect(desk.page.locator("#who")).to_have_text(re.compile("^unix:.*, admin$"))
    await expect(desk.page.get_by_role("dialog")).to_have_count(0)


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
            ("config/history", "#history-table tbody tr", "Roll back"),
        ):
            await shown.show(place)
            await expect(shown.page.locator(shows).filter(visible=True).first).to_be_visible(timeout=LATER_MS)
            await expect(shown.page.get_by_role("button", name=hides)).to_have_count(0)
            await expect(shown.page.get_by_role("columnheader", name="Actions")).to_have_count(0)
        await expect(shown.page.locator("#problem")).to_be_empty()


async def test_what_a_role_may_not_do_is_said_in_the_words_of_the_api(browser: Browser, tcp: Plane) -> None:
    async with tab(browser, f"{tcp.control.url}/#canisters") as shown:
        await enter_token(shown, SECRETS["operator"])
        await expect(shown.page.locator("#who")).to_have_text("token:operator, operator")
        tokens = tcp.file.with_name("tokens")
        changed = tokens.with_name("changed")
        changed.write_text(tokens.read_text().replace("operator operator", "operator viewer"))
        changed.replace(tokens)
        await shown.page.get_by_role("button", name="Pause chat").click()
        await expect(shown.page.locator("#toasts")).to_have_text("token:operator is viewer, this needs operator.")
        assert not tcp.gateway.config.canisters[0].paused


async def test_words_of_the_audit_log_stay_whole(plane: Plane, desk: Tab) -> None:
    long = "x" * 300
    await plane.http.post("/v1/sessions/close", json={"filter": {"client": long[:150]}, "reason": "y" * 100})
    await plane.http.post("/v1/canisters/nothing-of-this-name/pause")
    await desk.show("access")
    rows = desk.page.locator("#audit-table tbody tr")
    await expect(rows).to_have_count(2, timeout=LATER_MS)
    for summary in await rows.locator("summary").all():
        await summary.click()
    broken = await desk.page.locator("#audit-table").evaluate(
        """table => [...table.querySelectorAll("td:not(:last-child)")].flatMap((cell) => {
          const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
          const found = [];
          while (walker.nextNode()) {
            const text = walker.currentNode;
            for (const { index, 0: word } of text.data.matchAll(/[\\w:]+/g)) {
              const range = document.createRange();
              range.setStart(text, index);
              range.setEnd(text, index + word.length);
              if (range.getClientRects().length > 1) found.push(word);
            }
          }
          return found;
        })"""
    )
    assert broken == []


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
