"""``icws run`` and a file that changes, as a process."""

import re
from pathlib import Path

import httpx

from appliance.client import connect
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong
from tests.cli.processes import icws, seen

NOTICE = "watch is false where it is not written"


def config(file: Path, net: Localnet, more: str) -> str:
    listen = f"gateway: {{listen: '127.0.0.1:0', identity: {file.parent}/identity.pem}}"
    return f"{listen}\nnetwork: {{url: '{net.url}', root_key: {net.root_key.hex()}}}\n{more}"


async def test_a_watched_file_that_is_edited_in_steps_keeps_its_sessions(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    async with Localnet() as net:
        canister, other = net.create_canister(PingPong()), net.create_canister(PingPong())
        first_half = config(file, net, f"canisters:\n  - {{id: {other}}}\n")
        whole = f"{first_half}  - {{id: {canister}}}\n"
        file.write_text(whole)
        async with icws("run", "--watch", "--config", str(file)) as gateway:
            lines = await seen(gateway.stderr, "Gateway Agent principal: ")
            assert NOTICE not in lines
            url = re.search(r"url=(ws://\S+)", lines)
            assert url is not None
            async with connect(f"{url[1]}/v2", canister, network_url=net.url, message_type=APP_MESSAGE) as session:
                await session.receive()
                file.write_text(first_half)  # finished, so that it counts
                assert f"changes=['canisters[{canister}]']" in await seen(gateway.stderr, "configuration applied")
                file.write_text(whole)
                assert f"changes=['canisters[{canister}]']" in await seen(gateway.stderr, "configuration applied")
                await session.send({"text": "still here", "timestamp": 0})
                assert (await session.receive()).value["text"] == "still here ping"


async def test_a_change_during_a_trial_is_applied_when_the_trial_has_ended(tmp_path: Path) -> None:
    file, sock = tmp_path / "gateway.yaml", tmp_path / "c.sock"
    async with Localnet() as net:
        text = config(file, net, f"control: {{listen: 'unix:{sock}'}}\n")
        file.write_text(text)
        async with (
            icws("run", "--watch", "--config", str(file)) as gateway,
            httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(uds=str(sock)), base_url="http://localhost", timeout=60
            ) as api,
        ):
            await seen(gateway.stderr, "Gateway Agent principal: ")
            on_trial = {"text": f"{text}log: {{refusals: 5/s}}\n", "confirm_within_s": 600}
            (await api.post("/v1/config/apply", json=on_trial)).raise_for_status()
            file.write_text(f"{text}polling: {{timeout: 4s}}\n")
            await seen(gateway.stderr, "is on trial; confirm it or roll it back first")
            (await api.post("/v1/config/confirm", json={})).raise_for_status()
            assert "polling.timeout" in await seen(gateway.stderr, "configuration applied")


async def test_a_file_without_the_key_is_not_watched_and_the_log_says_so_once(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    async with Localnet() as net:
        file.write_text(config(file, net, ""))
        async with icws("run", "--config", str(file)) as gateway:
            assert (await seen(gateway.stderr, NOTICE)).count(NOTICE) == 1
        file.write_text(config(file, net, "watch: false\n"))
        async with icws("run", "--config", str(file)) as gateway:
            await seen(gateway.stderr, "Gateway Agent principal: ")
            gateway.terminate()
            _, rest = await gateway.communicate()
            assert NOTICE.encode() not in rest
