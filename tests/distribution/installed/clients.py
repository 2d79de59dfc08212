"""Runs in the Debian of a test: a local IC, sessions through the service, and connections that come in while a command
restarts it. ``clients.py COMMAND WORKERS``; prints what became of all of them, as JSON.
"""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect as connect_socket

from appliance.client import Change, Connection, ConnectionClosed, Lost, connect
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.canister import Client
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong

COMING = 200
SESSIONS = 10
BETWEEN_S = 0.05
PATIENCE_S = 300
URL = "ws://127.0.0.1:8080"
CONFIGURATION = """
gateway: {{listen: '0.0.0.0:8080', identity: /var/lib/icws/identity.pem, workers: {workers}}}
network: {{url: '{url}', root_key: {root_key}}}
control: {{listen: ['unix:/run/icws/control.sock'], history: /var/lib/icws/history}}
metrics: {{listen: '127.0.0.1:9464'}}
limits: {{held_per_address: {{mode: 'off'}}}}
rate_limits: {{connections_per_ip: {{mode: 'off'}}, frames_per_ip: {{mode: 'off'}}}}
drain: {{rate: 20/s}}
canisters: [{{id: {canister}}}]
"""


class Remembering(PingPong):
    """Knows every text that reached it."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: set[str] = set()

    def on_message(self, env: Environment, client: Client, message: bytes) -> None:
        self.texts.add(self._read(message)["text"])
        super().on_message(env, client, message)


class Talker:
    """A session that comes back. What the lost one had not confirmed is sent again."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.sent: list[str] = []
        self.codes: list[int] = []
        self._again: list[str] = []
        self._losses = 0
        self.connection: Connection[Any]

    def changed(self, change: Change) -> None:
        """See ``connect``."""
        if isinstance(change, Lost):
            self._losses += 1
            self._again += [value["text"] for value in change.unacknowledged]
            if isinstance(change.cause, ConnectionClosed):
                self.codes.append(change.cause.code)

    async def talk(self, is_over: Callable[[], bool]) -> None:
        """Say one thing after the other, and hear the answer or come back."""
        while not (is_over() and self.sent and not self._again):
            text = self._again.pop(0) if self._again else f"{self.number}: {len(self.sent)}"
            if text not in self.sent:
                self.sent.append(text)
            losses = self._losses
            await self.connection.send({"text": text, "timestamp": 0})
            while self._losses == losses and (await self._heard(losses)) != f"{text} ping":
                pass

    async def _heard(self, losses: int) -> str:
        """The next text; "" after a further loss, since the answer may have been for the lost session."""
        receiving = asyncio.ensure_future(self.connection.receive())
        while not receiving.done():
            await asyncio.wait({receiving}, timeout=0.1)
            if self._losses != losses and not receiving.done():
                receiving.cancel()
                await asyncio.wait({receiving})
        return "" if receiving.cancelled() else str(receiving.result().value["text"])


async def come(begun: asyncio.Semaphore) -> int | str:
    """The status of one upgrade."""
    begun.release()
    try:
        async with connect_socket(URL, open_timeout=PATIENCE_S, ping_interval=None) as client:
            return client.response.status_code if client.response else "no response"
    except OSError as error:
        return repr(error)


def begin(configuration: str) -> None:
    """Have the service run with a configuration. Raises CalledProcessError."""
    Path("/etc/icws/gateway.yaml").write_text(configuration)
    subprocess.run(["systemctl", "restart", "icws"], check=True)  # noqa: S607


async def main_process() -> int:
    """The first process of the service."""
    show = ["systemctl", "show", "--property=MainPID", "--value", "icws"]
    return int(await asyncio.to_thread(subprocess.check_output, show))


async def restarted(command: str) -> tuple[int, Counter[int | str]]:
    """The exit code of the command, and the statuses of those who came: half of them before it began, the others one
    after the other until it has ended.
    """
    begun = asyncio.Semaphore(0)
    coming = [asyncio.ensure_future(come(begun)) for _ in range(COMING // 2)]
    for _ in coming:
        await begun.acquire()
    process = await asyncio.create_subprocess_exec("/bin/sh", "-ec", command, stdout=asyncio.subprocess.DEVNULL)
    ending = asyncio.ensure_future(process.wait())
    while len(coming) < COMING or not ending.done():
        coming.append(asyncio.ensure_future(come(begun)))
        await asyncio.wait({ending}, timeout=BETWEEN_S)
    return await ending, Counter(await asyncio.gather(*coming))


async def main(command: str, workers: str) -> None:
    """Everything, once."""
    async with Localnet(port=4943) as net, AsyncExitStack() as stack:
        canister = Remembering()
        canister_id = net.create_canister(canister)
        values = {"url": net.url, "root_key": net.root_key.hex(), "canister": canister_id, "workers": workers}
        text = CONFIGURATION.format_map(values)
        await asyncio.to_thread(begin, text)
        talkers = [Talker(number) for number in range(SESSIONS)]
        for each in talkers:
            opening = connect(
                URL,
                canister_id,
                root_key=net.root_key,
                message_type=APP_MESSAGE,
                reconnect=True,
                on_change=each.changed,
            )
            each.connection = await stack.enter_async_context(opening)
        are_over = asyncio.Event()
        talking = [asyncio.ensure_future(each.talk(are_over.is_set)) for each in talkers]
        before = await main_process()
        code, statuses = await restarted(command)
        are_over.set()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*talking)
        sent = {text for each in talkers for text in each.sent}
        report = {
            "command": code,
            "is_another": await main_process() != before,
            "statuses": {str(status): count for status, count in statuses.items()},
            "codes": [each.codes for each in talkers],
            "sent": len(sent),
            "missing": sorted(sent - canister.texts),
        }
        sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
