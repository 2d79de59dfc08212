"""``icws connect``: sends lines to a canister and prints its messages."""

import asyncio
import json
import math
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import click

from appliance.cli import loop
from appliance.cli.output.terminal import echo
from appliance.cli.remote.arguments import AGE
from appliance.client import Connection, Generation
from appliance.client import connect as open_session
from appliance.client.errors import MessageUntrusted
from appliance.client.settings import generation_of, verifier_for
from appliance.errors import CandidError, CertificateFromFuture, ConfigError, Malformed
from appliance.ic.endpoints import is_mainnet
from appliance.ic.key_file import load_identity
from appliance.printable import printable_json

TEXT_MESSAGE = "record { text : text; timestamp : nat64 }"
MAX_LINE = 16 * 1024**2
"""Bytes of a line of the input: the most that a gateway can be told to take (``gateway.max_frame``)."""
LINES = 16
"""Lines of the input that are read ahead while the gateway is slower than they come."""
WAIT_S = 10.0
"""Default time for replies after the end of the input: an update call and the next poll take some seconds."""


@click.command()
@click.argument("url")
@click.argument("canister")
@click.option(
    "--generation", type=click.Choice(["v0", "v1", "v2"]), help="Wire generation; by default that of the path, else v2."
)
@click.option(
    "--network", metavar="URL", help="Endpoint to fetch the root key from; by default the mainnet's key is used."
)
@click.option("--root-key", metavar="HEX|mainnet|fetch", help="Root key to verify with.")
@click.option("--identity", "key_file", type=click.Path(path_type=Path), help="Key file; by default a new key.")
@click.option(
    "--type", "message_type", metavar="CANDID|FILE.did", help="Candid type of the messages; lines are then JSON."
)
@click.option("--type-name", metavar="NAME", help="Type name in the interface; by default the type of ws_message.")
@click.option(
    "--ca",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Certificates (PEM) to trust for wss://, instead of those that the system trusts.",
)
@click.option("--insecure", is_flag=True, help="Do not verify the gateway's TLS certificate.")
@click.option(
    "--max-certificate-age",
    "max_age_s",
    metavar="DURATION",
    type=AGE,
    help="How far certificates may differ from this clock, e.g. 2h for a local network whose time was moved.  "
    "[default: 5m]",
)
@click.option("--json", "as_json", is_flag=True, help="Lines are JSON, even without --type (in v0).")
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after printing N messages.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help=f"After the input, end when no message arrives for this time.  [default: {WAIT_S:g}; 0 at a terminal]",
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
    ca: Path | None,
    insecure: bool,
    max_age_s: float | None,
    as_json: bool,
    count: int | None,
    wait_s: float | None,
) -> None:
    """Exchange messages with CANISTER through the gateway at URL (ws:// or wss://).

    Each line of standard input is signed and sent; each verified message of the canister is printed. Without --type, a
    line is the text of a message `record { text : text; timestamp : nat64 }`, as in chat and ping-pong canisters; in v0
    that is a CBOR map. Wire generation v0 needs --network to register its key there.

    Exit code 0: no more messages arrive after the end of the input, or --count messages are printed; 1: the session was
    closed by the gateway or the canister, for the reason that is printed.
    """
    plain = message_type is None and not as_json
    if wait_s is None:
        wait_s = 0.0 if sys.stdin.isatty() else WAIT_S
    identity = load_identity(key_file) if key_file else None
    conversation = Conversation(plain=plain, count=count, wait_s=wait_s)

    async def converse() -> None:
        session = open_session(
            url,
            canister,
            generation=generation,
            identity=identity,
            network_url=network,
            root_key=root_key,
            verifier=None if max_age_s is None else await verifier_for(root_key, network, max_age_s=max_age_s),
            message_type=_type_of(message_type) or default_type(url, generation),
            type_name=type_name,
            ssl=_tls_of(ca, insecure=insecure),
        )
        await conversation.run(session, f"{canister} through {url}")

    try:
        loop.run(converse())
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    except (MessageUntrusted, CertificateFromFuture) as error:
        hint = _moved_time_hint(error if isinstance(error, CertificateFromFuture) else error.cause, network)
        if hint is None:
            raise
        raise click.ClickException(f"{error}\n{hint}") from error


def default_type(url: str, generation: Generation | None) -> str | None:
    """Return the Candid type of messages without ``--type``. Raises ConfigError if path and generation contradict."""
    return None if generation_of([url], generation) == "v0" else TEXT_MESSAGE


class Conversation:
    """Sends lines of standard input and prints messages.

    ``count`` is the maximum number of printed messages, None for any; ``wait_s`` is the time to wait for each message
    after the end of the input, in seconds.
    """

    def __init__(self, *, plain: bool, count: int | None, wait_s: float) -> None:
        self._plain = plain
        self._left = count
        self._wait_s = wait_s
        self._receive_timeout_s: float | None = None  # no limit while there is input
        self._receive_timeout: asyncio.Timeout | None = None

    async def run(self, opening: AbstractAsyncContextManager[Connection[Any]], peer: str) -> None:
        """Exchange messages until the end. Raises the GatewayError that closed the session early."""
        async with opening as session:
            echo(f"connected to {peer}; every message below is verified", err=True)
            printing, sending = (asyncio.create_task(work(session)) for work in (self._print, self._send_lines))
            try:
                await asyncio.wait([printing, sending], return_when=asyncio.FIRST_COMPLETED)
                # The end of the input does not end the session: replies to the last lines are still on their way.
                if sending.done() and sending.exception() is None:
                    await asyncio.wait([printing])
            finally:
                for task in (printing, sending):
                    task.cancel()
                await asyncio.gather(printing, sending, return_exceptions=True)
            for task in (printing, sending):
                if not task.cancelled():
                    task.result()

    async def _print(self, session: Connection[Any]) -> None:
        while self._left != 0:
            try:
                async with asyncio.timeout(self._receive_timeout_s) as self._receive_timeout:
                    message = await session.receive()
            except TimeoutError:
                return
            finally:
                self._receive_timeout = None  # a finished Timeout cannot be rescheduled
            echo(self._shown(message.value))
            if self._left is not None:
                self._left -= 1

    def _shown(self, value: Any) -> str:
        if self._plain and isinstance(value, dict) and isinstance(value.get("text"), str):
            return str(value["text"])
        return printable_json(json.dumps(value, default=_readable, ensure_ascii=False))

    async def _send_lines(self, session: Connection[Any]) -> None:
        lines = _stdin_lines()
        while (read := await lines.get()) is not None:
            try:
                line = _checked(read).decode().rstrip("\r\n")
                value = {"text": line, "timestamp": time.time_ns()} if self._plain else json.loads(line)
                await session.send(value)
            except _LineTooLong as error:
                echo(f"not sent: {error}", err=True)
            except UnicodeDecodeError as error:
                echo(f"not sent, the line is not text in UTF-8: {error.reason} at byte {error.start + 1}", err=True)
            except json.JSONDecodeError as error:
                echo(f"not sent, the line is not JSON: {error}", err=True)
            except (CandidError, Malformed) as error:
                echo(f"not sent: {error}", err=True)
        self._limit_receiving()

    def _limit_receiving(self) -> None:
        self._receive_timeout_s = self._wait_s
        if self._receive_timeout is not None and not self._receive_timeout.expired():
            self._receive_timeout.reschedule(asyncio.get_running_loop().time() + self._wait_s)


def _moved_time_hint(cause: object, network: str | None) -> str | None:
    """Return what to do about certificates from the future; None if a local network is not the reason."""
    if not isinstance(cause, CertificateFromFuture) or network is None or is_mainnet(network):
        return None
    hours = math.ceil((cause.ahead_ns + cause.limit_ns) / 3_600e9)
    return f"(if the time of this local network was moved, --max-certificate-age {hours}h accepts its certificates)"


def _type_of(text: str | None) -> str | Path | None:
    return Path(text) if text is not None and text.endswith(".did") else text


def _tls_of(ca: Path | None, *, insecure: bool) -> ssl.SSLContext | None:
    if ca and insecure:
        raise click.UsageError("--ca and --insecure exclude each other")
    if insecure:
        echo("warning: the gateway's TLS certificate is not verified; messages still are", err=True)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        return ssl.create_default_context(cafile=ca) if ca else None
    except ssl.SSLError as error:
        raise click.UsageError(f"--ca {ca}: it is no file of certificates in PEM ({error.reason})") from error


class _LineTooLong(Exception):
    """A line of the input has more than ``MAX_LINE`` bytes."""

    def __init__(self) -> None:
        super().__init__(f"the line has more than {MAX_LINE} bytes")


def _checked(line: bytes) -> bytes:
    if len(line) > MAX_LINE and not line.endswith(b"\n"):
        raise _LineTooLong
    return line


class _Lines:
    """Lines, then None: at most ``LINES`` that wait. ``put`` is for a thread, which waits for room."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = threading.Semaphore(LINES)

    async def get(self) -> bytes | None:
        """The next line."""
        line = await self._lines.get()
        self._room.release()
        return line

    def put(self, line: bytes | None) -> None:
        """Add a line."""
        self._room.acquire()
        with suppress(RuntimeError):  # the session has ended and the loop is closed
            self._loop.call_soon_threadsafe(self._lines.put_nowait, line)


def _read_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines; of one that is too long the beginning, with a byte more than it may have."""
    while line := stream.readline(MAX_LINE + 1):
        rest = line
        while len(rest) > MAX_LINE and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE + 1)
        yield line


def _stdin_lines() -> _Lines:
    """The lines of standard input. A thread reads them: asyncio cannot wait for regular files."""
    # The thread keeps sys.stdin itself: one that is closed while it is read, as the interpreter does at its end, aborts
    # the process.
    lines, stdin = _Lines(), sys.stdin

    def read() -> None:
        try:
            for line in _read_lines(stdin.buffer):
                lines.put(line)
        finally:
            lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _readable(value: object) -> str:
    return value.hex() if type(value) is bytes else str(value)
