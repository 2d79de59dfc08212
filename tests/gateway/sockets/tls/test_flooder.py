"""The floods of ``benchmarks.flood`` over TLS do what they are named for."""

import asyncio

import pytest

from benchmarks.flooder import CONNECTIONS, Flooder, client_hello
from tests.gateway.bench import until
from tests.gateway.served import Served, served
from tests.gateway.sockets.accepting.test_arrivals import tls_of

FRAMES = {"frames_per_connection": {"rate": "1/h", "burst": 20}}


async def flooding(it: Served, kind: str, end: str) -> None:
    """Flood until connections have ended in this way."""
    flooder = Flooder(it.listener.port, kind, with_tls=True)
    tasks = [asyncio.ensure_future(flooder.flood()) for _ in range(CONNECTIONS)]
    await until(lambda: flooder.ends[end])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        *(("half-hellos", "reset"), ("hellos", "answered"), ("records", "close 4108")),
        *(("silent", "reset"), ("pings", "close 4108"), ("connects", "HTTP 101")),
    ],
)
async def test_each_kind_ends_as_the_gateway_ends_it(pair, kind: str, end: str) -> None:
    settings = {"tls": tls_of(pair), "handshake_timeout": "1s"}
    async with served(gateway=settings, rate_limits=FRAMES) as it:
        await flooding(it, kind, end)
        await it.nobody()


def test_a_hello_is_the_first_message_of_a_handshake() -> None:
    hello = client_hello()
    assert (hello[0], hello[5]) == (22, 1)  # RFC 8446: handshake, client_hello
    assert len(hello) == 5 + int.from_bytes(hello[3:5], "big")
