"""``icws outbound`` as a process: with a gateway whose only way to the IC it is."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.main import main
from appliance.client import connect
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong
from tests.cli.processes import TOP, WORDS, icws, seen


async def test_a_gateway_serves_through_it(tmp_path: Path) -> None:
    way = tmp_path / "way.sock"
    async with Localnet() as net:
        canister = net.create_canister(PingPong())
        file = tmp_path / "gateway.yaml"
        file.write_text(
            f"gateway: {{listen: '127.0.0.1:0'}}\ncanisters: [{{id: {canister}}}]\n"
            f"network: {{url: '{net.url}', root_key: fetch}}\ncontrol: {{listen: null, history: null}}\n"
        )
        async with icws("outbound", "--config", str(file), "--listen", f"unix:{way}") as passing:
            async with gateway(file, f"unix:{way}") as url:
                opening = connect(url, canister, root_key=net.root_key, message_type=APP_MESSAGE)
                async with opening as client:
                    await client.send({"text": "hello", "timestamp": 0})
                    while (await client.receive()).value["text"] != "hello ping":
                        pass
            passing.terminate()
            await passing.communicate()
            assert passing.returncode == 0
    assert not way.exists()


@asynccontextmanager
async def gateway(file: Path, proxy: str) -> AsyncIterator[str]:
    """``icws run``, and its URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "appliance.cli", "run", "--config", str(file)),
        cwd=TOP,
        env=os.environ | {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": ""},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        url = re.search(r"url=(ws://\S+)", await seen(process.stderr, WORDS))
        assert url is not None
        yield url[1]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "nothing"])
def test_it_serves_at_a_unix_socket_only(listen: str) -> None:
    result = CliRunner().invoke(main, ["outbound", "--listen", listen])
    assert result.exit_code == 2
    assert "--listen" in result.output


def test_a_configuration_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("odd: 1\n")
    result = CliRunner().invoke(main, ["outbound", "--config", str(tmp_path / "gateway.yaml")])
    assert result.exit_code == 78
