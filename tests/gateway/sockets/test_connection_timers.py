"""The phases of a connection and the one timer that ends each, on a clock that the test sets."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from appliance.errors import ClosedByOperator, PingTimeout, SlowClient
from appliance.gateway.recording.timeline import PollRecord
from appliance.gateway.sockets.connection import TIMERS, Connection
from appliance.gateway.sockets.phases import TICKS, Phase
from appliance.gateway.sockets.reading import Pause
from tests.gateway.bench import Bench, until
from tests.gateway.clients import Client
from tests.gateway.clock import advance, run
from tests.gateway.sockets.test_connection_machine import UPGRADE, Host, Transport, feed, frames_in, masked

HANDSHAKE, OPEN, PING, PONG, CLOSE = 31, 61, 25, 20, 5
LATE = PING / TICKS
"""How late a ping may be."""
LIMITS = {
    "handshake_timeout": f"{HANDSHAKE}s",
    "open_timeout": f"{OPEN}s",
    "ping_interval": f"{PING}s",
    "ping_timeout": f"{PONG}s",
    "close_timeout": f"{CLOSE}s",
}


class Stage:
    """One connection of a client, driven to the phase that a test is about."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.host = Host(bench)
        self.client = Client()
        self.transport = self.host.connect()
        self.connection: Connection = self.transport.connection
        self.accept = asyncio.Event()

    async def reach(self, phase: Phase) -> None:
        self.bench.ic.before_submit = lambda request: self.accept.wait()
        if phase is not Phase.REQUEST:
            feed(self.transport, UPGRADE)
        if phase in (Phase.JOINED, Phase.OPEN, Phase.PINGED, Phase.UNREAD):
            feed(self.transport, masked(Frame(Opcode.BINARY, self.client.open())))
        if phase in (Phase.OPEN, Phase.PINGED, Phase.UNREAD):
            self.accept.set()
            await until(lambda: self.bench.gateway.counters.opened)
        if phase is Phase.PINGED:
            await advance(PING)
        if phase is Phase.UNREAD:
            self.accept.clear()
            feed(self.transport, *(masked(Frame(Opcode.BINARY, self.client.message())) for _ in range(2)))
        assert self.connection._phase is phase
        assert self.transport.is_read == (phase is not Phase.UNREAD)

    @property
    def is_gone(self) -> bool:
        return not self.host.here

    async def leave(self) -> None:
        self.accept.set()
        self.transport.close()
        await until(lambda: self.is_gone and not self.bench.gateway.pending_close_calls)


def on_stage(play):
    """Run a test with a stage."""

    async def work() -> None:
        async with Bench(gateway=LIMITS, relay={"queue": 1, "order": "strict"}) as bench:
            loop, begun_ns = asyncio.get_running_loop(), bench.gateway.clock()
            bench.gateway.clock = lambda: begun_ns + round((loop.time() - 1000) * 1e9)
            stage = Stage(bench)
            await play(stage)
            await stage.leave()

    run(work)


def test_every_phase_has_a_timer():
    assert list(TIMERS) == list(Phase)


ENDS = {
    Phase.REQUEST: (HANDSHAKE, b"HTTP/1.1 408 "),
    Phase.UPGRADED: (HANDSHAKE, b"\x10\x09no opening message of the client within 31 s"),  # 4105
    Phase.JOINED: (OPEN, b"\x10\x09no answer of the canister within 61 s"),
    Phase.PINGED: (PONG, b"\x10\x0ano pong within 20 s"),  # 4106
}


@pytest.mark.parametrize("phase", ENDS)
def test_a_phase_ends_at_its_limit_and_not_before(phase):
    async def play(stage):
        limit, said = ENDS[phase]
        await stage.reach(phase)
        before = stage.transport.written
        await advance(limit - 0.001)
        assert stage.transport.written == before
        await advance(0.001)
        assert said in stage.transport.written[len(before) :]

    on_stage(play)


def test_request_and_opening_message_share_one_limit():
    async def play(stage):
        await advance(HANDSHAKE - 1)
        await stage.reach(Phase.UPGRADED)
        await advance(1)
        assert b"no opening message" in stage.transport.written

    on_stage(play)


@pytest.mark.parametrize("phase", [phase for phase in ENDS if phase is not Phase.REQUEST])
def test_a_client_that_does_not_answer_the_close_is_cut_off_in_time(phase):
    async def play(stage):
        await stage.reach(phase)
        await advance(ENDS[phase][0])
        feed(stage.transport, masked(Frame(Opcode.PING, b"not a close")))
        assert stage.transport.written.endswith(b"\x8a\x0bnot a close")
        feed(stage.transport, masked(Frame(Opcode.BINARY, Client().open())))
        await advance(CLOSE - 0.001)
        assert not stage.is_gone
        await advance(0.001)
        assert stage.is_gone

    on_stage(play)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, PING + PONG + 5), min_size=1, max_size=6))
def test_a_client_is_closed_when_it_was_silent_for_interval_and_timeout_together(gaps):
    async def play(stage):
        await stage.reach(Phase.OPEN)
        here, passed = len(stage.transport.written), []
        for gap in gaps:
            passed.append(gap)
            # A ping may be late, and by a step of this clock later than that; so may what follows from it.
            until, loop = asyncio.get_running_loop().time() + gap + 2 * LATE, asyncio.get_running_loop()
            while loop.time() < until:
                await advance(min(LATE / 2, until - loop.time()))
            if gap >= PING + PONG:
                break
            feed(stage.transport, masked(Frame(Opcode.PONG, b"")))
        assert isinstance(stage.connection._cause, PingTimeout) == (passed[-1] >= PING + PONG)
        # Behind the first message, whose certificate has any bytes.
        assert stage.transport.written[here:].count(b"\x89\x00") == sum(gap >= PING for gap in passed)

    on_stage(play)


LIFETIME = 240


def test_the_silence_of_an_unread_client_is_not_counted_and_it_is_written_to():
    async def play(stage):
        await stage.reach(Phase.UNREAD)
        here = len(stage.transport.written)
        for _ in range(LIFETIME // 2):
            await advance(1)
        assert len(stage.transport.written) == here
        deliver(stage)
        assert stage.transport.written.endswith(b"\x82\x04late")
        stage.accept.set()
        await until(lambda: stage.transport.is_read)
        assert stage.connection._phase is Phase.OPEN
        await advance(PING - 0.001)
        assert not stage.transport.written.endswith(b"\x89\x00")
        await advance(0.001 + LATE)
        assert stage.transport.written.endswith(b"\x89\x00")

    on_stage(play)


def test_an_unread_client_is_read_again_and_closed_when_what_waits_of_it_expires():
    """So the leaving of a client that is not read, which nobody can notice, is noticed then at the latest."""

    async def play(stage):
        await stage.reach(Phase.UNREAD)
        for _ in range(LIFETIME):
            assert not stage.transport.is_read
            await advance(1)
        await advance(1)
        assert stage.transport.is_read
        assert b"\x10\x05the IC did not accept ws_message before it expired" in stage.transport.written  # 4101
        await advance(CLOSE)
        assert stage.is_gone

    on_stage(play)


@pytest.mark.parametrize("phase", [Phase.OPEN, Phase.PINGED])
def test_a_client_may_become_unread_in_any_open_phase_and_again(phase):
    async def play(stage):
        await stage.reach(phase)
        for times in range(1, 4):
            stage.accept.clear()
            feed(stage.transport, *(masked(Frame(Opcode.BINARY, stage.client.message())) for _ in range(4)))
            assert stage.connection._phase is Phase.UNREAD
            await advance(PING + PONG)
            stage.accept.set()
            await until(lambda times=times: len(stage.bench.canister.received) == 4 * times)
            assert stage.connection._phase is Phase.OPEN

    on_stage(play)


def late_answer(stage):
    stage.accept.set()


def deliver(stage):
    if (peer := stage.connection._peer) is not None:
        peer.deliver(b"\x82\x04late", 1 << 40, peer.sequence_num + 1, PollRecord(0, 0))


LATER = {
    "canister answers": late_answer,
    "joined": lambda stage: stage.connection.joined(),
    "opened": lambda stage: stage.connection.opened(),
    "closed again": lambda stage: stage.connection.close(ZeroDivisionError("a second reason")),
    "message": lambda stage: feed(stage.transport, masked(Frame(Opcode.BINARY, stage.client.message(b"late")))),
    "text": lambda stage: feed(stage.transport, masked(Frame(Opcode.TEXT, b"late"))),
    "garbage": lambda stage: feed(stage.transport, b"\xff\xff\xff"),
    "ping": lambda stage: feed(stage.transport, masked(Frame(Opcode.PING, b"?"))),
    "close frame": lambda stage: feed(stage.transport, masked(Frame(Opcode.CLOSE, b"\x03\xe8"))),
    "end of stream": lambda stage: stage.connection.eof_received(),
    "flood": lambda stage: feed(stage.transport, masked(Frame(Opcode.PONG, b"")) * 40),
    "half a message": lambda stage: feed(stage.transport, masked(Frame(Opcode.BINARY, b"half", fin=False))),
    "calls wait": lambda stage: stage.connection.pause_reading(),
    "calls are sent": lambda stage: stage.connection.resume_reading(),
    "memory is short": lambda stage: stage.connection.pause_reading(Pause.MEMORY),
    "memory is free": lambda stage: stage.connection.resume_reading(Pause.MEMORY),
    "transport full": lambda stage: stage.connection.pause_writing(),
    "transport free": lambda stage: stage.connection.resume_writing(),
    "message of the canister": deliver,
    "time": lambda stage: None,
}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([Phase.UPGRADED, Phase.JOINED, Phase.OPEN, Phase.PINGED, Phase.UNREAD]),
    st.lists(st.tuples(st.sampled_from(list(LATER)), st.booleans()), max_size=8),
)
def test_after_close_nothing_changes_but_the_end(phase, later):
    async def play(stage):
        counters = stage.bench.gateway.counters
        await stage.reach(phase)
        frames, here = counters.frames, len(frames_in(stage.transport.written))
        stage.connection.close(ClosedByOperator("bye", 4000))
        left = CLOSE
        for name, takes_time in later:
            LATER[name](stage)
            await advance(0.5 if takes_time else 0)
            left -= 0.5 * takes_time
            assert not stage.is_gone
            assert stage.connection._phase is Phase.CLOSING
            assert stage.transport.is_read
        await advance(left - 0.001)
        assert not stage.is_gone
        await advance(0.001)
        assert stage.is_gone
        close, *behind = frames_in(stage.transport.written)[here:]
        assert (close.opcode, close.data) == (Opcode.CLOSE, b"\x0f\xa0bye")
        assert all(frame.opcode is Opcode.PONG for frame in behind)
        assert counters.frames == frames
        assert counters.closed == {4000: 1}
        assert counters.refused == {"closed_by_operator": 1}
        stage.accept.set()
        await until(lambda: not stage.bench.gateway.pending_close_calls)
        assert len(stage.bench.canister.received) <= (2 if phase is Phase.UNREAD else 0)  # those of before

    on_stage(play)


def test_a_request_that_comes_while_the_gateway_stops_is_answered_and_then_ends_in_time():
    async def play(stage):
        stage.bench.gateway.begin_stop()
        stage.connection.close(ClosedByOperator("bye", 4000))
        await advance(CLOSE - 1)
        stage.host.is_full = True
        feed(stage.transport, UPGRADE)
        assert stage.transport.written.startswith(b"HTTP/1.1 503 ")
        await advance(CLOSE - 0.001)
        assert not stage.is_gone
        await advance(0.001)
        assert stage.is_gone

    on_stage(play)


def test_a_gateway_that_stops_does_not_wait_longer_for_a_request():
    async def play(stage):
        stage.bench.gateway.begin_stop()
        stage.connection.close(ClosedByOperator("bye", 4000))
        feed(stage.transport, UPGRADE[:20])
        await advance(CLOSE)
        assert stage.is_gone
        assert isinstance(stage.transport, Transport)
        assert stage.transport.written == b""

    on_stage(play)


@pytest.mark.parametrize("reads_after", [None, CLOSE + 1, PING + PONG - 1])
def test_a_client_that_has_not_read_learns_why_it_is_closed_when_it_reads_again_in_time(reads_after):
    async def play(stage):
        await stage.reach(Phase.OPEN)
        stage.connection.pause_writing()
        stage.connection.close(SlowClient(2, 1))
        before = stage.transport.written
        await advance((reads_after or PING + PONG) - 0.001)
        assert not stage.is_gone
        assert stage.transport.written == before
        if reads_after is None:
            await advance(0.001)
            assert stage.is_gone
        else:
            stage.connection.resume_writing()
            assert (
                b"\x10\x04the client reads, or its canister answers, too slowly"
                in stage.transport.written[len(before) :]
            )

    on_stage(play)
