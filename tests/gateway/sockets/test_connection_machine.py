"""A connection fed by hand: whatever bytes come, in whatever pieces, it keeps its word and leaves nothing."""

import asyncio
import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from appliance.gateway.sockets.accepting.arrivals import Accepted
from appliance.gateway.sockets.connection import Connection
from appliance.gateway.sockets.phases import Timers
from appliance.gateway.sockets.refusals import Refusals
from appliance.gateway.sockets.turns import EACH, Turns
from tests.gateway.bench import Bench, until
from tests.gateway.clients import CANISTER, Client, greeting
from tests.gateway.fake_ic import OK
from tests.native.mutations import mutations

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


PEER = ("192.0.2.1", 4711)


class Transport(asyncio.Transport):
    """Keeps what is written and tells the connection when it is closed. ``has_tls``: it has no half-closed state;
    ``has_left``: behind the bytes that were fed is the end of the client's stream.
    """

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = False
        self.is_read = True
        self.has_tls = self.has_left = False
        self.high = self.buffered = 0
        self.connection = None

    def write(self, data) -> None:
        assert not self.ended, "written after the end"
        self.written += data

    def set_write_buffer_limits(self, high=None, low=None) -> None:
        self.high = high

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True
        if self.has_left:
            asyncio.get_running_loop().call_soon(self.connection.eof_received)

    def can_write_eof(self) -> bool:
        return not self.has_tls

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.connection is None

    def close(self) -> None:
        if self.connection is not None:
            connection, self.connection = self.connection, None
            asyncio.get_running_loop().call_soon(connection.connection_lost, None)

    abort = close


class Host:
    """A listener without a socket."""

    is_full = False
    health = None

    def __init__(self, bench: Bench) -> None:
        self.gateway = bench.gateway
        self.turns = Turns(bench.gateway.counters)
        self.timers = Timers()
        self.settings = bench.gateway.config.gateway
        self.refusals = Refusals(lambda: bench.gateway.config, bench.gateway.event_bus, time.monotonic_ns)
        self.here = set()

    def accepted(self, connection) -> None:
        self.here.add(connection)

    def lost(self, connection) -> None:
        self.here.remove(connection)

    def press(self, connection) -> None:
        """Nobody is shed."""

    def connect(self) -> Transport:
        accepted = Accepted(PEER, asyncio.get_running_loop().time(), self.gateway.limits.holdings.hold("192.0.2.1"))
        connection, transport = Connection(self, "v2", accepted), Transport()
        transport.connection = connection
        connection.connection_made(transport)
        return transport


def masked(*frames: Frame) -> bytes:
    return b"".join(frame.serialize(mask=True) for frame in frames)


def frames_in(written: bytes) -> list[Frame]:
    head, _, rest = written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    client = ClientProtocol(parse_uri("ws://gateway/"), state=State.OPEN)
    client.receive_data(rest)
    assert client.parser_exc is None
    return client.events_received()


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(at)]


def feed(transport: Transport, *chunks: bytes) -> None:
    for chunk in chunks:
        if transport.connection is not None:
            transport.connection.data_received(chunk)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1 << 16), max_size=12))
def test_a_session_is_the_same_in_whatever_pieces_it_comes(cuts):
    async def run():
        async with Bench() as bench:
            host, client = Host(bench), Client()
            bench.canister.on_message = lambda key, payload: bench.canister.send(key, payload) or OK
            transport = host.connect()
            opening, message = client.open(), client.message(b"hello")
            stream = UPGRADE + masked(
                Frame(Opcode.BINARY, opening[:7], fin=False),
                Frame(Opcode.PING, b"?"),
                Frame(Opcode.CONT, opening[7:]),
                Frame(Opcode.BINARY, message),
            )
            feed(transport, *pieces(stream, cuts))
            await until(lambda: len(frames_in(transport.written)) == 4)
            greet, pong, opened, answer = frames_in(transport.written)
            assert greet.data == greeting()
            assert (pong.opcode, pong.data) == (Opcode.PONG, b"?")
            assert opened.opcode is answer.opcode is Opcode.BINARY
            assert b"hello" in answer.data
            feed(transport, masked(Frame(Opcode.CLOSE, b"\x03\xe8")))
            assert frames_in(transport.written)[-1].data == b"\x03\xe8"
            assert transport.ended
            transport.close()
            await until(lambda: bench.canister.left and not bench.gateway.pending_close_calls)
            assert not host.here

    asyncio.run(run())


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([b"", UPGRADE, UPGRADE + masked(Frame(Opcode.BINARY, Client().open()))]),
    st.lists(st.binary(max_size=40) | st.sampled_from([b"\x82\x80\0\0\0\0", b"\x89\x80\0\0\0\0", b"\r\n\r\n"])),
    st.booleans(),
)
def test_any_bytes_end_well(begin, chunks, with_eof):
    async def run():
        async with Bench() as bench:
            host = Host(bench)
            transport = host.connect()
            feed(transport, begin, *chunks)
            if with_eof and transport.connection is not None:
                transport.connection.eof_received()
            await asyncio.sleep(0)
            transport.close()
            await until(lambda: not host.here and not bench.gateway.pending_close_calls)
            assert not bench.gateway.hub.members(CANISTER)
            assert bench.gateway.limits.holdings.bytes == 0

    asyncio.run(run())


@st.composite
def mutated_sessions(draw):
    """The bytes of a session up to some state, and behind them those of the rest, changed here and there."""
    client = Client()
    steps = [
        UPGRADE,
        masked(Frame(Opcode.BINARY, client.open())),
        masked(Frame(Opcode.PING, b"?"), Frame(Opcode.BINARY, client.message(b"hello"))),
        masked(Frame(Opcode.BINARY, client.message(b"he"), fin=False), Frame(Opcode.CONT, b"llo", fin=False)),
        masked(Frame(Opcode.CLOSE, b"\x03\xe8")),
    ]
    reached = draw(st.integers(0, len(steps) - 1))
    return steps[:reached], draw(mutations(b"".join(steps[reached:])))


@settings(max_examples=100, deadline=None)
@given(mutated_sessions(), st.lists(st.integers(0, 1 << 16), max_size=6))
def test_no_bytes_in_any_state_make_a_traceback_or_a_1011(session, cuts):
    begin, rest = session

    async def run():
        async with Bench() as bench:
            host = Host(bench)
            transport = host.connect()
            for step in begin:
                feed(transport, step)
                await asyncio.sleep(0)
            feed(transport, *pieces(rest, cuts))
            await until(lambda: not host.turns)
            transport.close()
            await until(lambda: not host.here and not bench.gateway.pending_close_calls)
            assert bench.gateway.counters.closed[1011] == 0
            assert bench.gateway.counters.refused["internal"] == 0

    with capture_logs() as entries:
        asyncio.run(run())
    assert [entry for entry in entries if entry.get("exc_info") or entry["log_level"] == "error"] == []


def test_nothing_is_written_behind_the_close_frame_but_control_frames():
    async def run():
        async with Bench() as bench:
            host, client = Host(bench), Client()
            transport = host.connect()
            feed(transport, UPGRADE, masked(Frame(Opcode.BINARY, client.open())))
            await until(lambda: len(frames_in(transport.written)) == 2)
            feed(transport, masked(Frame(Opcode.TEXT, b"text")))
            bench.canister.send(client.client_key, b"too late")
            bench.wake_ups[0].tick()
            await until(lambda: bench.gateway.counters.delivered == 2)
            feed(transport, masked(Frame(Opcode.PING, b"?"), Frame(Opcode.BINARY, client.message())))
            opcodes = [frame.opcode for frame in frames_in(transport.written)]
            assert opcodes == [Opcode.BINARY, Opcode.BINARY, Opcode.CLOSE]
            assert transport.written.endswith(b"\x8a\x01?")
            transport.close()
            await until(lambda: not host.here)
            assert not bench.canister.received

    asyncio.run(run())


def test_a_slow_client_gets_the_close_frame_instead_of_what_waited():
    async def run():
        async with Bench(gateway={"outbox": 64 * 1024}) as bench:
            host, client = Host(bench), Client()
            transport = host.connect()
            feed(transport, UPGRADE, masked(Frame(Opcode.BINARY, client.open())))
            await until(lambda: len(frames_in(transport.written)) == 2)
            transport.connection.pause_writing()
            for _ in range(3):
                bench.canister.send(client.client_key, bytes(30_000))
            bench.wake_ups[0].tick()
            await until(lambda: bench.gateway.counters.undeliverable == 1)
            transport.connection.resume_writing()
            *_, last = frames = frames_in(transport.written)
            assert len(frames) == 3
            assert (last.opcode, last.data[:2]) == (Opcode.CLOSE, (4100).to_bytes(2, "big"))
            transport.close()
            await until(lambda: not host.here)

    asyncio.run(run())


@pytest.mark.parametrize("has_tls", [False, True])
def test_messages_that_came_with_a_close_frame_are_relayed_before_it_counts(has_tls):
    async def run():
        async with Bench(relay={"queue": 2}) as bench:
            host, client, gate = Host(bench), Client(), asyncio.Event()
            transport = host.connect()
            transport.has_tls = has_tls
            feed(transport, UPGRADE, masked(Frame(Opcode.BINARY, client.open())))
            await until(lambda: bench.gateway.counters.opened)
            bench.ic.before_submit = lambda request: gate.wait()
            messages = [Frame(Opcode.BINARY, client.message(b"%d" % number)) for number in range(9)]
            feed(transport, masked(*messages, Frame(Opcode.PING, b"?"), Frame(Opcode.CLOSE, b"\x03\xe8")))
            assert not transport.is_read
            assert bench.gateway.counters.frames == 4
            gate.set()
            await until(lambda: len(bench.canister.received) == 9)
            await until(lambda: transport.is_closing() if has_tls else transport.is_read and transport.ended)
            assert [payload for _, payload in bench.canister.received] == [b"%d" % number for number in range(9)]
            assert [frame.opcode for frame in frames_in(transport.written)][2:] == [Opcode.PONG, Opcode.CLOSE]
            transport.close()
            await until(lambda: bench.canister.left and not bench.gateway.pending_close_calls)
            assert bench.gateway.limits.holdings.bytes == 0

    asyncio.run(run())


def test_messages_that_waited_are_relayed_though_the_client_has_left_meanwhile():
    async def run():
        async with Bench(relay={"queue": 1}, limits={"held_per_address": {"mode": "off"}}) as bench:
            host, client, gate = Host(bench), Client(), asyncio.Event()
            transport = host.connect()
            feed(transport, UPGRADE, masked(Frame(Opcode.BINARY, client.open())))
            await until(lambda: bench.gateway.counters.opened)
            bench.ic.before_submit = lambda request: gate.wait()
            transport.has_left = True
            numbers = [b"%d" % number for number in range(2 * EACH)]
            messages = [Frame(Opcode.BINARY, client.message(number)) for number in numbers]
            feed(transport, masked(*messages, Frame(Opcode.CLOSE, b"\x03\xe8")))
            gate.set()
            await until(lambda: transport.ended)
            transport.close()
            await until(lambda: bench.canister.left and not bench.gateway.pending_close_calls)
            assert [payload for _, payload in bench.canister.received] == numbers

    asyncio.run(run())
