"""The snippets of docs/client.md, each run as a program against a gateway with a certificate of a private authority.

Replaced are only the names that stand for the reader's own: the gateway's URL, and the canister's with the network that
it is on. Programs that the page shows as for a notebook run with top-level ``await``, as there.
"""

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from appliance.localnet.canisters.canister import Environment
from appliance.localnet.websocket.canister import Client
from tests.client.authority import Authority
from tests.client.test_examples import EXAMPLES, Room
from tests.network import running

PAGE = EXAMPLES.with_name("client.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
GATEWAY, CANISTER = '"wss://gateway.example/"', '"bkyz2-fmaaa-aaaaa-qaaaq-cai"'
RUN = """
import ast, asyncio, sys
result = eval(compile(sys.argv[1], "client.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), {"__name__": "__main__"})
if asyncio.iscoroutine(result):
    asyncio.run(result)
"""


class ShortTalk(Room):
    """A room that closes after the first message, so that every snippet ends."""

    def hear(self, env: Environment, client: Client, value: object) -> None:
        super().hear(env, client, value)
        self.close(env, client)


def test_the_page_has_the_snippets_that_are_run() -> None:
    assert len(SNIPPETS) == PAGE.count("```python") >= 5
    assert all(snippet.count(GATEWAY) == snippet.count(CANISTER) == 1 for snippet in SNIPPETS)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
async def test_a_snippet_runs_as_it_stands(snippet: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.pair()
    shutil.copy(EXAMPLES / "chat.did", tmp_path)
    tls = {"certificate": str(certificate), "key": str(key)}
    async with running(ShortTalk(), gateway={"listen": "127.0.0.1:0", "tls": tls}) as network:
        its_own = f'"{network.canister_id}", network_url="{network.localnet.url}"'
        program = snippet.replace(GATEWAY, f'"{network.listener.url}/"').replace(CANISTER, its_own)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        if "cafile" not in snippet:
            environment["SSL_CERT_FILE"] = str(authority.ca)  # the system trusts it
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", RUN, program),
            cwd=tmp_path,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        stdout, stderr = await process.communicate()
    assert (process.returncode, stderr.decode()) == (0, "")
    assert "hello" in stdout.decode()
