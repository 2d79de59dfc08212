"""The snippets of docs/client.md, run as programs against a gateway with a certificate of a private authority.

Replaced are only the names that stand for the reader's own: the gateway's URL, and the canister's with the network that
it is on. Programs that the page shows as for a notebook run with top-level ``await``, as there.
"""

import asyncio
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from appliance.localnet.canisters.canister import Environment
from appliance.localnet.websocket.canister import Client
from appliance.localnet.websocket.chat import Chat, Line
from tests.client.authority import Authority
from tests.client.test_examples import EXAMPLES
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


class ShortTalk(Chat):
    """The chat of ``icws localnet --example chat``, but closed after the first message, so that every snippet ends."""

    def on_value(self, env: Environment, client: Client, value: Line) -> None:
        super().on_value(env, client, value)
        self.close(env, client)


async def talk(snippet: str, folder: Path, python: str, environment: Mapping[str, str]) -> tuple[int | None, str, str]:
    """Run a snippet in a folder with an interpreter; its exit code, and what it prints to both outputs."""
    authority = Authority(folder)
    certificate, key = authority.pair()
    shutil.copy(EXAMPLES / "chat.did", folder)
    tls = {"certificate": str(certificate), "key": str(key)}
    async with running(ShortTalk(), gateway={"listen": "127.0.0.1:0", "tls": tls}) as network:
        its_own = f'"{network.canister_id}", network_url="{network.localnet.url}"'
        program = snippet.replace(GATEWAY, f'"{network.listener.url}/"').replace(CANISTER, its_own)
        trusted = {} if "cafile" in snippet else {"SSL_CERT_FILE": str(authority.ca)}  # the system trusts it
        process = await asyncio.create_subprocess_exec(
            *(python, "-W", "error", "-c", RUN, program),
            cwd=folder,
            env={**environment, **trusted},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        stdout, stderr = await process.communicate()
    return process.returncode, stdout.decode(), stderr.decode()
