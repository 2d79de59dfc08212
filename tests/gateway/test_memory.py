"""An idle session keeps so many bytes and no more, as Python counts them: the figure of every machine."""

import gc
import tracemalloc
from pathlib import Path

from websockets.frames import Frame, Opcode

import appliance
from tests.gateway.bench import Bench, until
from tests.gateway.clients import Client
from tests.gateway.clock import advance, run
from tests.gateway.sockets.test_connection_machine import UPGRADE, Host, feed, masked

SESSIONS = 200
MOST = 4_200
"""Bytes of a session: connection, peer, session, queue of calls, timeline, places in hub and registries. The transport
of the event loop comes on top, with uvloop 1.3 KiB, and what the kernel keeps for the socket."""
OFF = {"mode": "off"}
"""For limits of an address: all sessions come from one."""


async def open_sessions(bench: Bench, host: Host, count: int) -> list[tuple[Client, object]]:
    """Open sessions, each by a call that is answered and a first message of the canister."""
    opened = bench.gateway.counters.opened
    clients = [(Client(), host.connect()) for _ in range(count)]
    for client, transport in clients:
        feed(transport, UPGRADE)
        feed(transport, masked(Frame(Opcode.BINARY, client.open())))
    while bench.gateway.counters.opened < opened + count:
        await advance(0.01)  # for the budget of polls
    for _, transport in clients:
        transport.written = b""
    return clients


def of_the_gateway(snapshot: tracemalloc.Snapshot) -> int:
    """Bytes that the package allocated, and the library that it uses for frames."""
    ours = tracemalloc.Filter(inclusive=True, filename_pattern=str(Path(appliance.__file__).parent / "*"))
    library = tracemalloc.Filter(inclusive=True, filename_pattern="*/websockets/*")
    return sum(trace.size for trace in snapshot.filter_traces([ours, library]).statistics("filename"))


def test_an_idle_session_keeps_few_bytes():
    found = []

    async def play() -> None:
        async with Bench(rate_limits={"connections_per_ip": OFF}, limits={"held_per_address": OFF}) as bench:
            host = Host(bench)
            await open_sessions(bench, host, 20)  # what the first sessions allocate for good is not that of a session
            gc.collect()
            tracemalloc.start()
            try:
                before = tracemalloc.take_snapshot()
                clients = await open_sessions(bench, host, SESSIONS)
                gc.collect()
                found.append((of_the_gateway(tracemalloc.take_snapshot()) - of_the_gateway(before)) / len(clients))
            finally:
                tracemalloc.stop()
            for connection in list(host.here):
                connection.abort()
            await until(lambda: not host.here and not bench.gateway.pending_close_calls)

    run(play)
    (each,) = found
    assert each < MOST
