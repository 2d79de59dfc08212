"""``icws connect``: a conversation with a canister, line by line."""

import asyncio
import json
import sys
import threading
import time
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any

import click

from appliance.cli import loop
from appliance.client import Connection, Generation
from appliance.client import connect as open_session
from appliance.client.settings import generation_of
from appliance.errors import CandidError, ConfigError, Malformed
from appliance.ic.identity import load_identity

TEXT_MESSAGE = "record { text : text; timestamp : nat64 }"
WAIT_S = 10.0
"""By default, for answers after the end of a file or pipe: an update call and its way back take some seconds."""


@click.command()
@click.argument("url")
@click.argument("canister")
@click.option("--generation", type=click.Choice(["v0", "v1", "v2"]), help="Else the path says it, else it is v2.")
@click.option("--network", metavar="URL", help="Where to ask for the root key; without it the mainnet's is taken.")
@click.option("--root-key", metavar="HEX|mainnet|fetch", help="The root key to verify with.")
@click.option("--identity", "key_file", type=click.Path(path_type=Path), help="A key file; a fresh key without it.")
@click.option("--type", "message_type", metavar="CANDID|FILE.did", help="The messages' type; lines are JSON then.")
@click.option("--type-name", metavar="NAME", help="Which type of the interface; else that of ws_message.")
@click.option("--json", "as_json", is_flag=True, help="Lines are JSON, also without --type (in v0).")
@click.option("--count", type=click.IntRange(1), metavar="N", help="End when so many messages are printed.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help=f"After the input, end when nothing has come for so long.  [default: {WAIT_S:g}; 0 at a terminal]",
)
def connect(
    url: str,
    canister: str,
    *,
    generation: Generation | None,
    network: str | None,
    root_key: str | None,
    key_file: Path | None,
    message_type: str | None,
    type_name: str | None,
    as_json: bool,
    count: int | None,
    wait_s: float | None,
) -> None:
    """Talk to CANISTER through the gateway at URL (ws:// or wss://).

    Each line of standard input is signed and sent, each verified message of the canister is printed. Without --type a
    line is the text of a message `record { text : text; timestamp : nat64 }`, as chat and ping-pong canisters have it;
    in v0 that is a CBOR map. Wire generation v0 needs --network, where it registers its key.

    Ends with exit code 0 when nothing comes any more after the input, or with the last of --count messages; with exit
    code 1 and the reason when the session is closed by the other side.
    """
    plain = message_type is None and not as_json
    if wait_s is None:
        wait_s = 0.0 if sys.stdin.isatty() else WAIT_S
    identity = load_identity(key_file) if key_file else None
    try:
        session = open_session(
            url,
            canister,
            generation=generation,
            identity=identity,
            network_url=network,
            root_key=root_key,
            message_type=_type_of(message_type) or default_type(url, generation),
            type_name=type_name,
        )
        conversation = Conversation(plain=plain, count=count, wait_s=wait_s)
        loop.run(conversation.run(session, f"{canister} through {url}"))
    except ConfigError as error:
        raise click.UsageError(str(error)) from error


def default_type(url: str, generation: Generation | None) -> str | None:
    """What messages are where nobody says it. Raises ConfigError where path and generation contradict each other."""
    return None if generation_of([url], generation) == "v0" else TEXT_MESSAGE


class Conversation:
    """Lines go up, messages come down. ``count`` is how many messages are printed at most, None for any number;
    ``wait_s`` how long it waits for each after the end of the input."""

    def __init__(self, *, plain: bool, count: int | None, wait_s: float) -> None:
        self._plain = plain
        self._left = count
        self._wait_s = wait_s
        self._patience_s: float | None = None  # while there is input
        self._waiting: asyncio.Timeout | None = None

    async def run(self, opening: AbstractAsyncContextManager[Connection], whom: str) -> None:
        """Open the session, and talk until the end. Raises the GatewayError that ended the session before."""
        async with opening as session:
            click.echo(f"connected to {whom}; every message below is verified", err=True)
            printing, sending = (asyncio.create_task(work(session)) for work in (self._print, self._send_lines))
            try:
                await asyncio.wait([printing, sending], return_when=asyncio.FIRST_COMPLETED)
                if sending.done() and sending.exception() is None:
                    await asyncio.wait([printing])
            finally:
                for task in (printing, sending):
                    task.cancel()
                await asyncio.gather(printing, sending, return_exceptions=True)
            for task in (printing, sending):
                if not task.cancelled():
                    task.result()

    async def _print(self, session: Connection) -> None:
        while self._left != 0:
            try:
                async with asyncio.timeout(self._patience_s) as self._waiting:
                    message = await session.receive()
            except TimeoutError:
                return
            click.echo(self._shown(message.value))
            if self._left is not None:
                self._left -= 1

    def _shown(self, value: Any) -> str:
        if self._plain and isinstance(value, dict) and isinstance(value.get("text"), str):
            return str(value["text"])
        return json.dumps(value, default=_readable, ensure_ascii=False)

    async def _send_lines(self, session: Connection) -> None:
        lines = _stdin_lines()
        while (line := await lines.get()) is not None:
            try:
                value = {"text": line, "timestamp": time.time_ns()} if self._plain else json.loads(line)
                await session.send(value)
            except json.JSONDecodeError as error:
                click.echo(f"not sent, the line is not JSON: {error}", err=True)
            except (CandidError, Malformed) as error:
                click.echo(f"not sent: {error}", err=True)
        self._be_patient_no_longer()

    def _be_patient_no_longer(self) -> None:
        self._patience_s = self._wait_s
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time() + self._wait_s)


def _type_of(text: str | None) -> str | Path | None:
    return Path(text) if text is not None and text.endswith(".did") else text


def _stdin_lines() -> asyncio.Queue[str | None]:
    """Lines as they come, then None. A thread reads them: files and terminals cannot be awaited alike."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    running = asyncio.get_running_loop()

    def print_result(line: str | None) -> None:
        with suppress(RuntimeError):  # the conversation is over, and its loop closed
            running.call_soon_threadsafe(lines.put_nowait, line)

    def read() -> None:
        for line in sys.stdin:
            print_result(line.rstrip("\n"))
        print_result(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _readable(value: object) -> str:
    return value.hex() if type(value) is bytes else str(value)
