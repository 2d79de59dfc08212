"""``icws connect``: a conversation with a canister, line by line."""

import asyncio
import json
import sys
import threading
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import click

from appliance.cli import loop
from appliance.client import Connection
from appliance.client import connect as open_session
from appliance.errors import GatewayError
from appliance.ic.identity import load_identity

TEXT_MESSAGE = "record { text : text; timestamp : nat64 }"


@click.command()
@click.argument("url")
@click.argument("canister")
@click.option("--network", metavar="URL", help="Where to ask for the root key; without it the mainnet's is taken.")
@click.option("--root-key", metavar="HEX|mainnet|fetch", help="The root key to verify with.")
@click.option("--identity", "key_file", type=click.Path(path_type=Path), help="A key file; a fresh key without it.")
@click.option("--type", "message_type", metavar="CANDID", help="The application's messages; lines are JSON then.")
def connect(
    url: str,
    canister: str,
    *,
    network: str | None,
    root_key: str | None,
    key_file: Path | None,
    message_type: str | None,
) -> None:
    """Talk to CANISTER through the gateway at URL (ws:// or wss://).

    Each line of standard input is signed and sent, each verified message of the canister is printed. Without --type a
    line is the text of a message `record { text : text; timestamp : nat64 }`, as chat and ping-pong canisters have it.
    Ends with the input, or with exit code 1 and the reason when the session is closed by the other side.
    """
    identity = load_identity(key_file) if key_file else None
    session = open_session(
        url,
        canister,
        identity=identity,
        network_url=network,
        root_key=root_key,
        message_type=message_type or TEXT_MESSAGE,
    )
    loop.run(_converse(session, f"{canister} through {url}", plain=message_type is None))


async def _converse(opening: AbstractAsyncContextManager[Connection], whom: str, *, plain: bool) -> None:
    async with opening as session:
        click.echo(f"connected to {whom}; every message below is verified", err=True)
        tasks = [asyncio.create_task(work(session, plain=plain)) for work in (_print, _send_lines)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()


async def _print(session: Connection, *, plain: bool) -> None:
    while True:
        value = (await session.receive()).value
        if plain and isinstance(value, dict):
            click.echo(value["text"])
        else:
            click.echo(json.dumps(value, default=_readable, ensure_ascii=False))


async def _send_lines(session: Connection, *, plain: bool) -> None:
    lines = _stdin_lines()
    while (line := await lines.get()) is not None:
        if plain:
            await session.send({"text": line, "timestamp": time.time_ns()})
            continue
        try:
            await session.send(json.loads(line))
        except json.JSONDecodeError as error:
            click.echo(f"not sent, the line is not JSON: {error}", err=True)
        except GatewayError as error:
            if error.reason != "candid":
                raise
            click.echo(f"not sent: {error}", err=True)


def _stdin_lines() -> asyncio.Queue[str | None]:
    """Lines as they come, then None. A thread reads them: files and terminals cannot be awaited alike."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    running = asyncio.get_running_loop()

    def read() -> None:
        for line in sys.stdin:
            running.call_soon_threadsafe(lines.put_nowait, line.rstrip("\n"))
        running.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _readable(value: object) -> str:
    return value.hex() if type(value) is bytes else str(value)
