"""The description of the API at ``/docs``, and what is sent with it."""

import re

from playwright.async_api import Browser, expect

from appliance.control.app import operations
from tests.control.page.browser import tab
from tests.control.page.steps import LATER_MS, clients, enter_token, held
from tests.control.plane import OTHER, SECRETS, Plane


async def test_every_operation_is_there_and_found_by_a_word(plane: Plane, browser: Browser, url: str) -> None:
    async with tab(browser, url, path="docs") as shown:
        names = shown.page.locator(".operation")
        await expect(names).to_have_count(len(operations()), timeout=LATER_MS)
        assert {await each.get_attribute("id") for each in await names.all()} == {
            each.operation_id for each in operations()
        }
        await shown.page.get_by_label("Find an operation").fill("progress drain")
        await expect(names.filter(visible=True)).to_have_count(1)
        await expect(names.filter(visible=True)).to_contain_text("/v1/drain")


async def test_an_address_leads_to_one_operation(browser: Browser, url: str) -> None:
    async with tab(browser, url, path="docs#addCanister") as shown:
        operation = shown.page.locator("#addCanister")
        await expect(operation).to_have_attribute("open", "", timeout=LATER_MS)
        await expect(operation).to_contain_text("Role: operator")
        await expect(operation.get_by_role("row", name="max_clients")).to_contain_text("whole number")
        await expect(operation.get_by_role("row", name="max_clients")).to_contain_text("At least 1, at most 1000000.")


async def test_a_question_is_sent_and_its_answer_shown(plane: Plane, browser: Browser, url: str) -> None:
    async with clients(plane, 2), tab(browser, url, path="docs#listSessions") as shown:
        operation = shown.page.locator("#listSessions")
        await operation.get_by_label("limit").fill("1")
        await operation.get_by_label("state").select_option("open")
        await operation.get_by_role("button", name="Send").click()
        await expect(operation.locator(".answer .badge")).to_have_text("200", timeout=LATER_MS)
        answer = operation.locator(".answer pre")
        await expect(answer).to_contain_text(str(plane.canister_id))
        assert (await answer.inner_text()).count('"id"') == 1


async def test_a_change_is_sent_with_the_body_and_said_to_be_one(plane: Plane, browser: Browser, url: str) -> None:
    async with tab(browser, url, path="docs#addCanister") as shown:
        operation = shown.page.locator("#addCanister")
        body = operation.get_by_label("Body, JSON")
        await expect(body).to_have_value(re.compile("bkyz2-fmaaa"), timeout=LATER_MS)
        button = operation.get_by_role("button", name="Send: it changes this gateway")
        await body.fill("{")
        await button.click()
        await expect(operation.get_by_role("alert")).to_contain_text("The body is not JSON")
        await body.fill(f'{{"id": "{OTHER}"}}')
        await button.click()
        await expect(operation.locator(".answer .badge")).to_have_text("201", timeout=LATER_MS)
        assert plane.gateway.config.named(OTHER) is not None


async def test_a_problem_is_shown_as_it_came_and_a_path_needs_its_part(browser: Browser, url: str) -> None:
    async with tab(browser, url, path="docs#getSession") as shown:
        operation = shown.page.locator("#getSession")
        await operation.get_by_role("button", name="Send").click()
        await expect(operation.get_by_role("alert")).to_have_text("Session is needed.")
        await operation.get_by_label("session").fill("no/body")
        await operation.get_by_role("button", name="Send").click()
        await expect(operation.locator(".answer .badge")).to_have_text("404", timeout=LATER_MS)
        await expect(operation.locator(".answer pre")).to_contain_text("urn:icws:problem:not-found")


async def test_each_request_is_waited_for_and_none_that_has_failed(browser: Browser, url: str) -> None:
    async with tab(browser, url, path="docs#getStatus") as shown, held(shown, "**/v1/status") as asked:
        operation = shown.page.locator("#getStatus")
        answer = operation.locator(".answer")
        for _ in range(2):
            await operation.get_by_role("button", name="Send").click()
            route = await asked.get()
            await expect(answer).to_have_text("Waiting for the answer…")
            await route.fulfill(json={})
            await expect(answer).to_contain_text("200")
        await operation.get_by_role("button", name="Send").click()
        await (await asked.get()).abort()
        await expect(operation.get_by_role("alert")).to_have_text("The control plane does not answer.")
        await expect(answer).to_be_empty()


async def test_a_stream_is_shown_as_it_comes_until_it_is_stopped(plane: Plane, browser: Browser, url: str) -> None:
    async with tab(browser, url, path="docs#listenToEvents") as shown:
        operation = shown.page.locator("#listenToEvents")
        await operation.get_by_role("button", name="Send").click()
        await expect(operation.locator(".answer .badge")).to_have_text("200", timeout=LATER_MS)
        async with clients(plane, 1):
            await expect(operation.locator(".answer pre")).to_contain_text("session.opened", timeout=LATER_MS)
        await operation.get_by_role("button", name="Stop").click()
        await expect(operation.get_by_role("button", name="Stop")).to_be_hidden()
        await expect(operation.locator(".alert")).to_be_empty()


async def test_the_command_to_copy_works_in_a_shell(plane: Plane, browser: Browser, url: str) -> None:
    async with tab(browser, url, path="docs#startDrain") as shown:
        await shown.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        operation = shown.page.locator("#startDrain")
        await operation.get_by_label("Body, JSON").fill('{"canister": "it\'s"}')
        await operation.get_by_role("button", name="Copy as curl").click()
        await expect(shown.page.locator("#toasts")).to_have_text("Copied.")
        assert await shown.page.evaluate("navigator.clipboard.readText()") == (
            f"curl -X POST '{url}v1/drain' -H 'Content-Type: application/json' -d '{{\"canister\":\"it'\\''s\"}}'"
        )


async def test_over_tcp_it_asks_for_the_token_and_keeps_it_for_the_page(browser: Browser, tcp: Plane) -> None:
    async with tab(browser, f"{tcp.control.url}/", path="docs#getStatus") as shown:
        operation = shown.page.locator("#getStatus")
        await operation.get_by_role("button", name="Send").click()
        await expect(shown.page.get_by_role("dialog", name="A token is needed")).to_be_visible()
        await enter_token(shown, SECRETS["viewer"])
        await expect(operation.locator(".answer .badge")).to_have_text("200", timeout=LATER_MS)
        await shown.page.get_by_role("link", name="The page").click()
        await expect(shown.page.locator("#who")).to_have_text("token:viewer, viewer", timeout=LATER_MS)
