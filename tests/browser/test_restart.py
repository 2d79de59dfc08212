"""The chat page while the gateway's process ends for the next one, at a socket that stays (as ``icws.socket``)."""

import signal
import socket
from pathlib import Path

from playwright.async_api import Browser, WebSocket

from appliance.ic.key_file import create_identity
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.chat import LOBBY, Chat
from tests.browser.stage import Stage, hears, says, sees
from tests.test_handing_on import configuration, serving

LINES = 5


async def test_tabs_come_back_at_the_first_attempt_and_no_line_is_lost(
    browser: Browser, web: Path, tmp_path: Path
) -> None:
    create_identity(tmp_path / "identity.pem")
    file, chat = tmp_path / "gateway.yaml", Chat()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}"
        async with Localnet() as net:
            canister = net.create_canister(chat)
            net.replica.canisters[canister].name = "chat"
            net.page.chat_folder, net.page.gateway_url = web / "dist", url
            file.write_text(configuration(url, net, canister, rate=20))
            stage = Stage(browser, net, canister)
            try:
                async with serving(listening, file) as first:
                    ann, bob = await stage.tab("ann"), await stage.tab("bob")
                    attempts: list[WebSocket] = []
                    for tab in (ann, bob):
                        tab.on("websocket", lambda one: attempts.append(one))  # noqa: PLW0108 - playwright marks functions
                    for number in range(LINES):
                        await says(ann, f"before {number}")
                    await hears(bob, f"ann before {LINES - 1}")
                    first.send_signal(signal.SIGUSR2)
                    assert await first.wait() == 75
                async with serving(listening, file):
                    for tab in (ann, bob):
                        await sees(tab, "connected, session 2")
                    assert len(attempts) == 2
                    for number in range(LINES):
                        await says(ann, f"after {number}")
                    await hears(bob, f"ann after {LINES - 1}")
                    shown = await bob.locator("#lines li").all_text_contents()
                    lines = [f"{when} {number}" for when in ("before", "after") for number in range(LINES)]
                    assert shown == [f"ann {line}" for line in lines]
                    assert [line["text"] for line in chat._lines[LOBBY]] == lines
            finally:
                await stage.close()
