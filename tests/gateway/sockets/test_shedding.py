"""Too much memory: newcomers are refused, then the largest are not read, then they are closed, and all recovers."""

import asyncio

import pytest
from websockets.frames import Frame, Opcode

from appliance.config.limits import HeldLimits
from appliance.errors import RefusedByPlugin
from appliance.gateway.limits.holdings import CONNECTION_BYTES, UNREAD
from appliance.gateway.outbox import WRITE_BUFFER
from appliance.gateway.sockets.phases import Phase
from appliance.gateway.sockets.reading import Pause
from appliance.gateway.sockets.shedding import PATIENCE_S, Shedding
from appliance.gateway.sockets.turns import EACH
from tests.gateway.bench import Bench, until
from tests.gateway.clients import CANISTER, GATEWAY, OTHER_CANISTER, Client
from tests.gateway.clock import advance, run
from tests.gateway.fake_ic import FakeCanister
from tests.gateway.sockets.test_connection_machine import UPGRADE, Host, feed, frames_in, masked

MIB = 1 << 20
LIMIT = 16 * MIB
HALF = masked(Frame(Opcode.BINARY, bytes(MIB), fin=False))
BEGUN = masked(Frame(Opcode.BINARY, bytes(4000)))[:2000]
OTHERS = {"rate_limits": {"connections_per_ip": {"mode": "off"}, "bytes_per_connection": {"mode": "off"}}}


class Stage:
    """Sockets that fill up, and one that does not."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.host = Host(bench)
        self.holdings = bench.gateway.limits.holdings
        self.shedding = Shedding(self.holdings, bench.gateway.counters, lambda: self.host.here)
        self.host.press = self.shedding.press
        self.transports = []

    async def join(self, client=None, canister=CANISTER):
        """A client whose session is open."""
        transport, opened = self.host.connect(), self.bench.gateway.counters.opened
        self.transports.append(transport)
        feed(transport, UPGRADE, masked(Frame(Opcode.BINARY, (client or Client()).open(canister=canister))))
        while self.bench.gateway.counters.opened == opened:
            await advance(0.01)  # the polls share a budget
            for wake_up in self.bench.wake_ups:
                wake_up.tick()
        return transport

    async def leave(self) -> None:
        for transport in self.transports:
            transport.close()
        await until(lambda: not self.host.here and not self.bench.gateway.pending_close_calls)
        self.shedding.stop()
        assert self.holdings.bytes == self.holdings.connections == 0


def on_stage(play, canisters=(CANISTER,), **held):
    async def work():
        served = [{"id": str(each)} for each in canisters]
        async with Bench(limits={"memory": "16MiB", **held}, canisters=served, **OTHERS) as bench:
            stage = Stage(bench)
            await play(stage)
            await stage.leave()

    run(work)


def fed(transport, size: int) -> None:
    """Half a message of so many MiB."""
    feed(transport, HALF, *(masked(Frame(Opcode.CONT, bytes(MIB // 2), fin=False)) for _ in range(2 * (size - 1))))


def close_of(transport) -> bytes | None:
    *_, last = frames_in(transport.written)
    return bytes(last.data[:2]) if last.opcode is Opcode.CLOSE else None


SHORT = (4123).to_bytes(2, "big")
ADDRESS = {"held_per_address": {"mode": "off"}}


def test_everything_that_is_read_is_counted():
    async def play(stage):
        transport = await stage.join()
        before = stage.holdings.bytes
        assert CONNECTION_BYTES <= before < CONNECTION_BYTES + 4096
        feed(transport, HALF[:1000])
        assert stage.holdings.bytes - before == 1000
        feed(transport, HALF[1000:])
        assert stage.holdings.bytes - before == MIB
        feed(transport, masked(Frame(Opcode.BINARY, b"")))  # an error: the parts are forgotten
        assert stage.holdings.bytes - before < 4096

    on_stage(play)


def test_what_waits_for_its_turn_is_counted_meanwhile():
    async def play(stage):
        transport = await stage.join()
        ping = masked(Frame(Opcode.PING, b""))
        feed(transport, ping * (EACH + 1))
        before = stage.holdings.bytes
        feed(transport, ping * 1000)  # a transport may have read it before it was paused
        assert stage.holdings.bytes - before == 1000 * len(ping)

    on_stage(play)


def test_a_full_transport_is_counted():
    async def play(stage):
        transport, other = await stage.join(), await stage.join()
        assert transport.high == WRITE_BUFFER
        before, transport.buffered = stage.holdings.bytes, WRITE_BUFFER + 1000
        transport.connection.pause_writing()
        assert stage.holdings.bytes - before == WRITE_BUFFER + 1000
        transport.connection.resume_writing()
        assert stage.holdings.bytes == before
        other.buffered = WRITE_BUFFER
        other.connection.pause_writing()  # until its socket is gone

    on_stage(play)


def test_a_request_and_what_is_behind_it_are_counted_while_they_wait():
    async def play(stage):
        gate = asyncio.Event()
        stage.bench.gateway.hooks.admit = lambda visit: gate.wait()
        transport = stage.host.connect()
        stage.transports.append(transport)
        before = stage.holdings.bytes
        feed(transport, UPGRADE[:10])
        assert stage.holdings.bytes - before == 10
        feed(transport, UPGRADE[10:] + BEGUN[:1000])
        feed(transport, BEGUN[1000:])  # a transport may have read it before it was paused
        assert stage.holdings.bytes - before == len(UPGRADE) + 2000
        assert not transport.is_read
        gate.set()
        await until(lambda: transport.written)
        assert stage.holdings.bytes - before == 2000
        assert transport.is_read

    on_stage(play)


@pytest.mark.parametrize("ends", ["granted", "refused", "late", "lost"])
def test_a_client_that_is_not_read_for_its_memory_is_not_read_for_an_answer(ends):
    async def play(stage):
        gate = asyncio.Event()

        async def admit(visit):
            await gate.wait()
            if ends == "refused":
                raise RefusedByPlugin("test", "no")

        stage.bench.gateway.hooks.admit = admit
        transport = stage.host.connect()
        stage.transports.append(transport)
        feed(transport, UPGRADE + BEGUN)
        connection = transport.connection
        connection.pause_reading(Pause.MEMORY)
        if ends == "late":
            await advance(1000)
        if ends == "lost":
            transport.close()
        else:
            gate.set()
            await until(lambda: transport.written)
            assert transport.is_read == (ends != "granted")  # whoever gets no WebSocket is read to its end
            connection.resume_reading(Pause.MEMORY)
            await advance(0)
            assert transport.is_read
        gate.set()
        await until(lambda: not len(stage.bench.gateway.tasks))

    on_stage(play)


def test_who_brings_too_much_is_not_read_in_the_same_turn_and_keeps_nothing_once_it_is_closed():
    async def play(stage):
        small, *large = [await stage.join() for _ in range(9)]
        for transport in large:
            feed(transport, HALF, masked(Frame(Opcode.CONT, bytes(MIB), fin=False))[:-1])
        assert not large[-1].is_read
        assert small.is_read
        feed(small, masked(Frame(Opcode.PING, b"?")))
        assert small.is_read
        await advance(PATIENCE_S + 1)
        closed = [transport for transport in large if close_of(transport) == SHORT]
        assert closed
        for transport in closed:
            assert transport.connection.holding.bytes == CONNECTION_BYTES
            feed(transport, HALF)  # as a transport may that had read it before
            assert transport.connection.holding.bytes == CONNECTION_BYTES

    on_stage(play)


def test_newcomers_are_refused_then_the_largest_not_read_then_it_is_closed():
    async def play(stage):
        small, *large = [await stage.join() for _ in range(9)]
        for transport in large[:7]:
            fed(transport, 2 if transport is not large[0] else 1)
        await until(lambda: stage.holdings.is_full)  # what is not read in this turn of the loop is in the next
        await advance(0)
        assert small.is_read
        fed(large[7], 2)
        await advance(0)
        assert stage.holdings.bytes > UNREAD * LIMIT
        unread = [transport for transport in large if not transport.is_read]
        assert unread
        assert small.is_read
        assert all(close_of(transport) is None for transport in stage.transports)
        assert stage.bench.gateway.counters.shed["unread"] == len(unread)
        await advance(PATIENCE_S + 1)
        closed = [transport for transport in stage.transports if close_of(transport) == SHORT]
        assert len(closed) == 1
        assert small not in closed
        await advance(20)
        assert stage.holdings.bytes <= UNREAD * LIMIT
        feed(small, masked(Frame(Opcode.PING, b"?")))
        assert small.written.endswith(b"\x8a\x01?")

    on_stage(play, **ADDRESS)


def test_above_the_limit_the_largest_are_closed_at_once():
    async def play(stage):
        small, *large = [await stage.join() for _ in range(10)]
        for transport in large:
            fed(transport, 2)
        await advance(0)
        await advance(1)
        closed = [transport for transport in stage.transports if close_of(transport) == SHORT]
        assert closed
        assert small not in closed
        assert stage.holdings.bytes <= LIMIT
        assert b"retry in 10 s" in closed[0].written

    on_stage(play, **ADDRESS)


def test_what_one_address_holds_has_a_limit_too():
    async def play(stage):
        one, two, three = [await stage.join() for _ in range(3)]
        fed(one, 2)
        fed(two, 1)
        await advance(0)
        assert close_of(one) is None
        fed(three, 1)
        await advance(0)
        assert close_of(one) == SHORT
        assert close_of(two) is close_of(three) is None

    on_stage(play, held_per_address={"bytes": "3584KiB"})


@pytest.mark.parametrize("by", ["principal", "canister"])
def test_what_one_principal_or_canister_holds_has_a_limit_from_the_moment_that_it_is_switched_on(by):
    async def play(stage):
        gateway, client = stage.bench.gateway, Client()
        stage.bench.ic.canisters[bytes(OTHER_CANISTER)] = FakeCanister(OTHER_CANISTER, GATEWAY)
        one, elsewhere = await stage.join(client), await stage.join(Client(key=client.key), OTHER_CANISTER)
        other = await stage.join()
        for transport, size in ((one, 2), (elsewhere, 1), (other, 1)):
            fed(transport, size)
        await advance(0)
        limit = {"mode": "enforce", "bytes": "3584KiB"}
        held = gateway.config.limits.model_dump() | {"memory": "16MiB", f"held_per_{by}": limit}
        gateway.limits.follow(gateway.config.model_copy(update={"limits": HeldLimits.model_validate(held)}))
        await advance(0)
        assert not any(map(close_of, stage.transports))
        grown = elsewhere if by == "principal" else other
        feed(grown, masked(Frame(Opcode.CONT, bytes(MIB // 2), fin=False)))
        await advance(0)
        assert close_of(one) == SHORT
        assert f"limits.held_per_{by}".encode() in one.written
        assert close_of(elsewhere) is close_of(other) is None

    on_stage(play, canisters=[CANISTER, OTHER_CANISTER], **ADDRESS)


def test_of_one_address_as_many_are_closed_as_hold_too_much():
    async def play(stage):
        clients = [await stage.join() for _ in range(3)]
        for transport in clients:
            fed(transport, 2)
        await advance(0)
        assert sum(close_of(transport) == SHORT for transport in clients) == 2

    on_stage(play, held_per_address={"bytes": "3584KiB"})


def test_what_a_closing_client_holds_closes_nobody_else():
    async def play(stage):
        client, gate = Client(), asyncio.Event()
        one = await stage.join(client)
        two, three = [await stage.join() for _ in range(2)]
        stage.bench.ic.before_submit = lambda request: gate.wait()
        feed(one, masked(Frame(Opcode.BINARY, client.message(bytes(MIB)))))  # its call holds it twice
        await until(lambda: stage.holdings.bytes > 2 * MIB)
        fed(two, 1)
        fed(three, 1)
        await advance(0)
        assert close_of(one) == SHORT
        feed(three, masked(Frame(Opcode.CONT, bytes(1000), fin=False)))
        await advance(1)
        assert stage.holdings.excess()
        assert close_of(two) is close_of(three) is None
        gate.set()

    on_stage(play, held_per_address={"bytes": "3584KiB"})


def test_when_there_is_room_again_everybody_is_read():
    async def play(stage):
        large = [await stage.join() for _ in range(8)]
        for transport in large:
            fed(transport, 2 if transport is not large[0] else 1)
        await advance(0)
        unread = [transport for transport in large if not transport.is_read]
        assert unread
        gone = [transport for transport in large if transport not in unread]
        for transport in gone:
            transport.close()
        await advance(0)
        await advance(1)
        assert all(transport.is_read for transport in unread)
        assert all(transport.connection._phase is Phase.OPEN for transport in unread)

    on_stage(play, **ADDRESS)


def test_who_is_not_read_and_cannot_finish_does_not_stay_unread_for_ever():
    """Between the two bounds nobody new comes, and those who are not read give nothing back."""

    async def play(stage):
        large = [await stage.join() for _ in range(8)]
        for transport in large:
            fed(transport, 2 if transport is not large[0] else 1)
        await advance(0)
        unread = [transport for transport in large if not transport.is_read]
        assert unread
        large[0].close()
        await advance(0)
        assert stage.holdings.bytes < UNREAD * LIMIT
        await until(lambda: stage.holdings.is_full)  # what is not read in this turn of the loop is in the next
        await advance(PATIENCE_S + 2)
        await advance(20)
        assert not stage.holdings.is_full
        assert all(transport.is_read for transport in unread if close_of(transport) is None)

    on_stage(play, **ADDRESS)


def test_what_a_failed_parser_drops_is_not_counted():
    async def play(stage):
        transport = await stage.join()
        before = stage.holdings.bytes
        feed(transport, b"\x82\xff" + (1 << 62).to_bytes(8, "big") + bytes(4))  # closed with 1009
        for _ in range(64):
            feed(transport, bytes(MIB // 16))
            await advance(0)
        assert stage.holdings.bytes - before < 4096

    on_stage(play)
