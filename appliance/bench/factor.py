"""How much more CPU this machine needs than the one that the bars of docs/performance.md were set on.

The bars were set together with the CPU of a few steps that a gateway consists of. They are measured here again; the
factor is the geometric mean of how many times as much each takes. CPU of the threads concerned, the least of several
rounds: other programs take time from it, and part of the caches.
"""

import asyncio
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, cast

from appliance.crypto import BlsSecretKey, SigningKey, verify_bls, verify_signature

ROUNDS = 7
FRAME = 2939
"""Bytes of a message of 1 kB with its proof."""
_SOCKETS = 50
_PAUSE_S = 0.003
"""In which the readers take what was written."""
_BODY = bytes(600)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/cbor\r\ncontent-length: %d\r\n\r\n"
_SERVER = f"""
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
peer = server.accept()[0]
peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
response, kept = {_HEAD % len(_BODY) + _BODY!r}, b""
while data := peer.recv(65536):
    kept += data
    while (end := kept.find(b"\\r\\n\\r\\n")) >= 0 and len(kept) >= end + 4 + {len(_BODY)}:
        kept = kept[end + 4 + {len(_BODY)}:]
        peer.sendall(response)
"""


_READER = f"""
import selectors, socket
server = socket.create_server(("127.0.0.1", 0), backlog={_SOCKETS})
print(server.getsockname()[1], flush=True)
ready = selectors.DefaultSelector()
for _ in range({_SOCKETS}):
    ready.register(server.accept()[0], selectors.EVENT_READ)
while True:
    for key, _ in ready.select():
        if not key.fileobj.recv(65536):
            raise SystemExit
"""


@dataclass(frozen=True)
class Step:
    """A step of a gateway, and what it takes in microseconds of CPU: there, and here."""

    name: str
    there_us: float
    here_us: float

    @property
    def factor(self) -> float:
        """How many times as much it takes here."""
        return self.here_us / self.there_us


def factor_of(steps: list[Step]) -> float:
    """The geometric mean of the factors of some steps."""
    return math.exp(sum(math.log(step.factor) for step in steps) / len(steps))


def sentence_of(steps: list[Step]) -> str:
    """The factor and what it is made of, as a sentence."""
    each = ", ".join(f"{step.name} {step.here_us:.3g} us ({step.factor:.2f})" for step in steps)
    return f"this machine needs {factor_of(steps):.2f} times the CPU of the one that the bars were set on: {each}"


async def measure_steps() -> list[Step]:
    """Measure every step, for about a second. Raises OSError where there is no loopback."""
    bls, signing = BlsSecretKey.from_seed(b"factor".ljust(32)), SigningKey.from_secret("ed25519", bytes(32))
    message = b"factor"
    certificate, signature = bls.sign(message), signing.sign(message)
    return [
        Step("verify BLS", 1000, _least_us(lambda: verify_bls(bls.public_key, certificate, message), 5)),
        Step("verify Ed25519", 50, _least_us(lambda: verify_signature(signing.public_key, signature, message), 50)),
        Step("write a frame to a socket", 3.9, await _write_us()),
        Step("asyncio.to_thread", 31, await _hop_us()),
        Step("HTTP/1.1 exchange, by hand", 11, await _exchange_us()),
    ]


def _least_us(work: Callable[[], object], times: int) -> float:
    def once() -> float:
        begun = time.thread_time_ns()
        for _ in range(times):
            work()
        return (time.thread_time_ns() - begun) / times

    return min(once() for _ in range(ROUNDS)) / 1e3


async def _write_us() -> float:
    """To sockets in turn whose readers are another process that sleeps, as clients are."""
    frame, least = bytes(FRAME), math.inf
    with _serving(_READER) as port:
        connect = asyncio.get_running_loop().create_connection
        sockets = [(await connect(asyncio.Protocol, "127.0.0.1", port))[0] for _ in range(_SOCKETS)]
        for _ in range(10 * ROUNDS):
            begun = time.thread_time_ns()
            for each in sockets:
                each.write(frame)
            least = min(least, (time.thread_time_ns() - begun) / _SOCKETS)
            await asyncio.sleep(_PAUSE_S)
        for each in sockets:
            each.abort()
    return least / 1e3


async def _hop_us() -> float:
    least = math.inf
    for _ in range(ROUNDS):
        begun = time.process_time_ns()
        for _ in range(100):
            await asyncio.to_thread(int)
        least = min(least, (time.process_time_ns() - begun) / 100)
    return least / 1e3


class _Exchanges(asyncio.Protocol):
    """A client without a library: it sends the next request when the response to the last one is whole."""

    def __init__(self) -> None:
        self.left = 0
        self.done: asyncio.Future[None] | None = None
        self._received = 0
        self._request = b"POST /api HTTP/1.1\r\nhost: ic\r\ncontent-length: %d\r\n\r\n" % len(_BODY) + _BODY
        self._expected = len(_HEAD % len(_BODY)) + len(_BODY)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received < self._expected:
            return
        if not data.startswith(b"HTTP/1.1 200 "):
            self._transport.abort()
        self._received -= self._expected
        self.left -= 1
        if self.left:
            self._transport.write(self._request)
        elif self.done is not None:
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server is gone"))

    async def run(self, times: int) -> None:
        """Make so many exchanges, one after the other."""
        self.left, self.done = times, asyncio.get_running_loop().create_future()
        self._transport.write(self._request)
        await self.done


async def _exchange_us() -> float:
    least = math.inf
    with _serving(_SERVER) as port:
        transport, client = await asyncio.get_running_loop().create_connection(_Exchanges, "127.0.0.1", port)
        for _ in range(ROUNDS):
            begun = time.thread_time_ns()
            await client.run(200)
            least = min(least, (time.thread_time_ns() - begun) / 200)
        transport.close()
    return least / 1e3


@contextmanager
def _serving(script: str) -> Iterator[int]:
    """Run a server in a process of its own; returns its port."""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as server:  # noqa: S603
        try:
            yield int(cast("IO[bytes]", server.stdout).readline())
        finally:
            server.kill()
