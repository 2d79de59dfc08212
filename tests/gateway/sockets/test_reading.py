"""Floods: what a client sends beyond its share waits, and what is too much closes it."""

import asyncio

import pytest
from websockets.frames import Frame, Opcode

from appliance.gateway.limits.rate_limits import SCOPES
from appliance.gateway.sockets.reading import COUNTED_AT_ONCE, MOST_AHEAD
from appliance.gateway.sockets.turns import DIRECT, EACH
from tests.gateway.bench import Bench, until
from tests.gateway.clients import Client
from tests.gateway.sockets.test_connection_machine import UPGRADE, Host, feed, frames_in, masked

READ = 32 * 1024
OFF = {"rate_limits": {scope: {"mode": "off"} for scope in SCOPES}}
FLOODS = {
    "pings": masked(Frame(Opcode.PING, b"")),
    "pongs": masked(Frame(Opcode.PONG, b"")),
    "fragments": masked(Frame(Opcode.CONT, b"", fin=False)),
}
floods = pytest.mark.parametrize("kind", FLOODS)


def flood(kind: str) -> bytes:
    """One read full of empty frames."""
    begin = masked(Frame(Opcode.BINARY, b"", fin=False)) if kind == "fragments" else b""
    return begin + FLOODS[kind] * (READ // len(FLOODS[kind]))


def in_turns(play, **sections):
    async def run():
        async with Bench(**sections) as bench:
            host = Host(bench)
            flooder, other = host.connect(), host.connect()
            feed(flooder, UPGRADE)
            feed(other, UPGRADE)
            await play(bench, host, flooder, other)
            for transport in (flooder, other):
                transport.close()
            await until(lambda: not host.here)
            assert not len(host.turns)

    asyncio.run(run())


def pongs(transport) -> int:
    return transport.written.count(b"\x8a\x00") + transport.written.count(b"\x8a\x01?")


@floods
def test_a_read_full_of_frames_is_worked_off_in_turns_and_others_are_served_in_between(kind):
    async def play(bench, host, flooder, other):
        feed(flooder, flood(kind))
        assert pongs(flooder) <= EACH
        assert not flooder.is_read
        answered = 0
        while not flooder.is_read:
            before = pongs(flooder)
            await asyncio.sleep(0)
            assert pongs(flooder) - before <= DIRECT
            if answered < 50:
                feed(other, masked(Frame(Opcode.PING, b"?")))
                answered += 1
                assert pongs(other) == answered
        assert pongs(flooder) == (READ // len(FLOODS[kind]) if kind == "pings" else 0)
        assert bench.gateway.counters.delayed > 200

    in_turns(play, **OFF)


@floods
def test_too_many_frames_of_any_kind_close_with_4108(kind):
    async def play(bench, host, flooder, other):
        feed(flooder, flood(kind))
        await until(lambda: flooder.is_read)
        *_, last = frames_in(flooder.written)
        assert (last.opcode, last.data[:2]) == (Opcode.CLOSE, (4108).to_bytes(2, "big"))
        assert b"frames 1/h, burst 1000" in last.data
        feed(flooder, flood(kind))  # nothing of this is looked at
        assert flooder.is_read
        assert last.data in flooder.written[-125:]
        feed(other, masked(Frame(Opcode.PING, b"?")))
        assert pongs(other) == 1

    in_turns(play, rate_limits={"frames_per_connection": {"rate": "1/h", "burst": 1000}})


@floods
def test_a_flood_is_counted_when_it_comes_however_busy_the_gateway_is(kind):
    async def play(bench, host, flooder, other):
        feed(flooder, flood(kind))  # no turn of the loop has passed: next to nothing of it is handled
        assert pongs(flooder) <= EACH
        *_, last = frames_in(flooder.written)
        assert (last.opcode, last.data[:2]) == (Opcode.CLOSE, (4108).to_bytes(2, "big"))
        assert flooder.is_read

    in_turns(play)


@pytest.mark.parametrize("counts", [2, MOST_AHEAD + 1])  # beyond, they are counted when they are handled
def test_frames_that_wait_are_counted_once(counts):
    async def play(bench, host, flooder, other):
        frames = counts * COUNTED_AT_ONCE + 100
        feed(flooder, FLOODS["pings"] * frames)
        feed(flooder, FLOODS["pings"] * frames)  # some bytes may come though the socket is not read
        await until(lambda: flooder.is_read)
        assert pongs(flooder) == 2 * frames
        assert bench.gateway.limits.decisions()["frames_per_connection", "allowed", "enforce"] == 2 * frames

    in_turns(play, rate_limits={"frames_per_connection": {"rate": "1/h", "burst": 100_000}})


def test_the_frames_of_an_address_count_together():
    async def play(bench, host, flooder, other):
        for transport in (flooder, other):
            feed(transport, flood("pongs")[: 6 * 1000])
            await until(lambda transport=transport: transport.is_read)
        *_, last = frames_in(other.written)
        assert b"frames of this address" in last.data
        assert all(frame.opcode is not Opcode.CLOSE for frame in frames_in(flooder.written))

    in_turns(play, rate_limits={"frames_per_ip": {"rate": "1/h", "burst": 1500}})


def test_in_shadow_mode_nobody_is_closed_and_all_is_counted():
    async def play(bench, host, flooder, other):
        feed(flooder, flood("pings")[: 6 * 5000])
        await until(lambda: flooder.is_read)
        assert pongs(flooder) == 5000
        assert bench.gateway.limits.decisions()["frames_per_connection", "limited", "shadow"] > 0

    shadow = {"frames_per_connection": {"rate": "1/h", "burst": 1000, "mode": "shadow"}}
    in_turns(play, rate_limits=shadow)


def test_too_many_bytes_close_with_4108():
    async def play(bench, host, flooder, other):
        client = Client()
        feed(flooder, masked(Frame(Opcode.BINARY, client.open())))
        await until(lambda: bench.gateway.counters.opened)
        large = masked(Frame(Opcode.BINARY, bytes(600_000), fin=False))
        feed(flooder, large[:300_000], large[300_000:])
        feed(flooder, masked(Frame(Opcode.CONT, bytes(600_000), fin=False)))
        *_, last = frames_in(flooder.written)
        assert b"bytes 1KiB/s, burst 1048576" in last.data

    in_turns(play, rate_limits={"bytes_per_connection": {"rate": "1KiB/s", "burst": "1MiB"}})


def test_before_the_opening_message_only_a_small_one_is_taken():
    async def play(bench, host, flooder, other):
        feed(flooder, masked(Frame(Opcode.BINARY, bytes(64 * 1024 + 1), fin=False))[:20])
        *_, last = frames_in(flooder.written)
        assert (last.opcode, last.data[:2]) == (Opcode.CLOSE, (1009).to_bytes(2, "big"))
        client = Client()
        message = masked(Frame(Opcode.BINARY, client.open()), Frame(Opcode.BINARY, bytes(70_000), fin=False))
        feed(other, message)  # the second may be larger, though both come in one read
        await until(lambda: bench.gateway.counters.opened)
        assert all(frame.opcode is not Opcode.CLOSE for frame in frames_in(other.written))

    in_turns(play)


def test_a_client_that_failed_in_a_later_turn_is_read_to_its_end():
    async def play(bench, host, flooder, other):
        text = masked(Frame(Opcode.TEXT, b"no"))
        feed(flooder, FLOODS["pings"] * (EACH + 1) + text)
        await until(lambda: not host.turns)
        assert flooder.is_read
        assert frames_in(flooder.written)[-1].opcode is Opcode.CLOSE

    in_turns(play, **OFF)
