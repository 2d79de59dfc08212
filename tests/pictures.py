"""Makes the pictures of README.md and of the docs: ``python -m tests.pictures`` (``make pictures``).

The pages are looked at in Chromium, with real traffic behind them.
"""

import asyncio
import logging
from pathlib import Path

import structlog
from playwright.async_api import Browser, Page, expect

from docs import recording
from tests.browser.stage import Stage, built, hears, says, staged
from tests.chromium import find, launched
from tests.control.page.browser import forwarded, tab
from tests.control.page.steps import LATER_MS, chatter
from tests.control.plane import running

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
SECONDS_OF_TRAFFIC = 45
"""So that the charts have something to show."""
TAB = {"width": 520, "height": 400}


async def gateway_page(browser: Browser) -> None:
    """The overview, while clients talk."""
    async with (
        running() as plane,
        chatter(plane, 5),
        forwarded(plane.control.url.removeprefix("unix:")) as url,
        tab(browser, url) as shown,
    ):
        await shown.show("overview")
        await expect(shown.page.locator("#chart-messages .series-2.trace")).to_be_visible(timeout=LATER_MS)
        await asyncio.sleep(SECONDS_OF_TRAFFIC)
        await shot(shown.page, "gateway-page")


async def shot(page: Page, name: str) -> None:
    """Keep a picture of the top of a page."""
    await page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
    await page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")


async def local_pages(stage: Stage) -> None:
    """The chat in two tabs, and the page of the local network that it runs on."""
    ann, bob = await stage.tab("ann"), await stage.tab("bob")
    for page, other, line in ((ann, bob, "hello bob"), (bob, ann, "hi ann, this went through a canister")):
        await says(page, line)
        await hears(other, f"{'ann' if page is ann else 'bob'} {line}")
    for page, name in ((ann, "chat-ann"), (bob, "chat-bob")):
        await page.set_viewport_size(TAB)  # type: ignore[arg-type]
        await page.screenshot(path=IMAGES / f"{name}.png")
    await ann.set_viewport_size({"width": 1280, "height": 900})
    await ann.goto(f"{stage.localnet.url}/_/")
    await ann.get_by_role("link", name="chat").or_(ann.get_by_role("button", name="chat")).first.click()
    await ann.select_option("#method", "rooms")
    await ann.click("#call button.main")
    await expect(ann.locator("#reply")).to_contain_text("lobby")
    await shot(ann, "localnet-page")


async def main() -> None:
    """All of them."""
    async with launched(find()) as browser:
        async with staged(browser, built()) as stage:
            await local_pages(stage)
        await gateway_page(browser)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    IMAGES.mkdir(exist_ok=True)
    recording.FILE.write_text(recording.render_recording(recording.demo_lines()))
    asyncio.run(main())
