"""Real sockets: what RFC 6455 and its abusers do, in every state of a session."""

import asyncio
import logging

import pytest
import structlog
from websockets.exceptions import ConnectionClosed

from appliance.errors import GatewayError
from tests.gateway.bench import until
from tests.gateway.clients import CANISTER, Client
from tests.gateway.fake_ic import OK, err
from tests.gateway.served import Raw, Served, served

BINARY, TEXT, CONTINUE, CLOSE, PING, PONG, FINAL = 0x2, 0x1, 0x0, 0x88, 0x89, 0x8A, 0x80


async def upgraded(it: Served) -> Raw:
    return await it.upgraded()


async def opening(it: Served) -> Raw:
    """Joined, and the canister does not answer."""
    raw = await it.upgraded()
    joined = it.counters.joined
    it.ic.before_submit = lambda request: asyncio.get_running_loop().create_future()
    raw.send(FINAL | BINARY, Client().open())
    await until(lambda: it.counters.joined > joined)
    return raw


async def opened(it: Served) -> Raw:
    raw = await it.upgraded()
    raw.send(FINAL | BINARY, Client().open())
    first, _ = await raw.frame()
    assert first == FINAL | BINARY
    return raw


states = pytest.mark.parametrize("reach", [upgraded, opening, opened])


def quick(**settings: object) -> dict[str, object]:
    return {"drain": {"deadline": "10ms"}, "gateway": settings}


async def test_ping_pong_with_a_canister():
    async with served() as it:
        it.canister.on_message = lambda key, payload: it.canister.send(key, payload) or OK
        async with it.session() as (client, socket):
            for number in range(20):
                await socket.send(client.message(b"ping %d" % number))
                assert b"ping %d" % number in await socket.recv()
        await it.nobody()
        assert it.canister.left == [client.client_key]
        assert it.counters.closed == {1000: 1}
        assert not it.counters.refused


@states
async def test_pings_are_answered_in_every_state_and_pongs_ignored(reach):
    async with served(**quick()) as it:
        raw = await reach(it)
        raw.send(PONG, b"nobody asked")
        raw.send(PING, b"are you there?")
        assert await raw.frame() == (PONG, b"are you there?")
        raw.close()
        await until(lambda: not len(it.listener))


@states
async def test_a_close_is_answered_in_every_state(reach):
    async with served(**quick()) as it:
        raw = await reach(it)
        raw.send(CLOSE, b"\x03\xe8bye")
        assert await raw.close_frame() == (1000, "bye")
        await raw.end()
        await until(lambda: not len(it.listener))
        assert it.counters.closed == {1000: 1}
        assert not it.counters.refused


@states
async def test_a_close_without_a_code_is_answered_without_one(reach):
    async with served(**quick()) as it:
        raw = await reach(it)
        raw.send(CLOSE)
        assert await raw.frame() == (CLOSE, b"")
        await raw.end()
        await until(lambda: not len(it.listener))


@states
async def test_half_open_sockets_end(reach):
    async with served(**quick()) as it:
        raw = await reach(it)
        raw.writer.write_eof()
        await raw.end()
        await until(lambda: not len(it.listener))
        assert it.counters.closed == {1006: 1}


@states
async def test_sockets_that_vanish_leave_nothing(reach):
    async with served(**quick()) as it:
        raw = await reach(it)
        raw.writer.transport.abort()
        await until(lambda: not len(it.listener))
        assert len(it.gateway.hub) == 0


@states
async def test_text_closes_with_1003(reach):
    async with served(**quick()) as it:
        raw = await reach(it)
        raw.send(FINAL | TEXT, b"hello")
        assert await raw.close_frame() == (1003, "text frames are not part of this protocol, send binary ones")
        raw.send(CLOSE, b"\x03\xeb")
        await raw.end()
        await until(lambda: not len(it.listener))
        assert it.counters.refused == {"text_frame": 1}


@states
async def test_garbage_closes_and_says_what_was_wrong(reach):
    async with served(**quick()) as it:
        raw = await reach(it)
        raw.send(FINAL | BINARY, b"garbage")
        code, reason = await raw.close_frame()
        assert code == 4500
        assert reason.startswith("malformed ")
        raw.send(CLOSE, b"\x11\x94")
        await raw.end()
        await until(lambda: not len(it.listener))


@states
async def test_broken_framing_is_a_protocol_error(reach):
    async with served(**quick()) as it:
        raw = await reach(it)
        raw.writer.write(b"\x82\x05nomask"[:7])
        code, _ = await raw.close_frame()
        assert code == 1002
        await raw.end()
        await until(lambda: not len(it.listener))


@states
async def test_frames_that_claim_too_much_are_refused_before_they_come(reach):
    async with served(**quick(max_frame=1024)) as it:
        raw = await reach(it)
        raw.send(FINAL | BINARY, b"x", claim=1025)
        code, _ = await raw.close_frame()
        assert code == 1009
        await raw.end()
        await until(lambda: not len(it.listener))


async def test_fragments_are_put_together():
    async with served() as it:
        raw = await it.upgraded()
        frame = Client().open()
        raw.send(BINARY, frame[:10])
        raw.send(PING, b"between")
        raw.send(CONTINUE, frame[10:99])
        raw.send(CONTINUE)
        raw.send(FINAL | CONTINUE, frame[99:])
        assert await raw.frame() == (PONG, b"between")
        first, _ = await raw.frame()
        assert first == FINAL | BINARY
        raw.close()
        await it.nobody()
        assert it.counters.frames == 1


async def test_fragments_count_together():
    async with served(gateway={"max_frame": 1024}) as it:
        raw = await it.upgraded()
        for first in (BINARY, CONTINUE, CONTINUE):
            raw.send(first, b"x" * 400)
        code, _ = await raw.close_frame()
        assert code == 1009
        await raw.end()
        await it.nobody()


async def test_a_client_that_says_nothing_is_asked_to_leave():
    async with served(gateway={"handshake_timeout": "1s"}) as it:
        silent, half = await it.upgraded(), await it.raw()
        half.writer.write(b"GET / HTTP/1.1\r\n")
        assert (await half.reader.readline()).startswith(b"HTTP/1.1 408 ")
        assert await silent.close_frame() == (4105, "no opening message of the client within 1 s")
        silent.close()
        half.close()
        await it.nobody()


async def test_a_canister_that_says_nothing_ends_the_session():
    async with served(gateway={"open_timeout": "1s"}) as it:
        it.canister.on_open = lambda key: OK
        it.canister.send = lambda *_: None
        raw = await it.upgraded()
        client = Client()
        raw.send(FINAL | BINARY, client.open())
        assert await raw.close_frame() == (4105, "no answer of the canister within 1 s")
        raw.close()
        await it.nobody()
        assert it.canister.left == [client.client_key]


async def test_a_forged_opening_is_told_why():
    async with served() as it, it.websocket() as socket:
        await socket.send(Client().open(break_signature=True))
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd.code == 4502
        assert caught.value.rcvd.reason.startswith("signature does not verify")
        await it.nobody()
        assert not it.ic.log


@pytest.mark.parametrize(("level", "frames"), [(logging.INFO, 0), (logging.DEBUG, 4)])
async def test_the_log_has_a_line_for_coming_and_going_and_for_frames_only_when_asked(level, frames):
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    try:
        with structlog.testing.capture_logs() as lines:
            # So few places that the machine's limit of open files is no reason for a line.
            async with served(gateway={"max_connections": 10}) as it:
                it.canister.on_message = lambda key, payload: it.canister.send(key, payload) or OK
                async with it.session() as (client, socket):
                    await socket.send(client.message(b"ping"))
                    await socket.recv()
                await it.nobody()
    finally:
        structlog.reset_defaults()
    opened, closed = (line for line in lines if line["event"] in ("session open", "connection closed"))
    assert opened["peer"] == closed["peer"]
    assert closed["client"] == f"{client.principal}_{client.nonce}"
    assert (closed["code"], closed["cause"]) == (1000, "client")
    assert sum(line["event"] in ("< frame", "> frame") and line["bytes"] > 60 for line in lines) == frames
    assert sum(line["log_level"] != "warning" for line in lines) <= 3 or level == logging.DEBUG


async def test_a_duplicate_is_refused_without_hurting_the_first():
    async with served() as it, it.session() as (client, first):
        async with it.websocket() as second:
            await second.send(client.open())
            with pytest.raises(ConnectionClosed) as caught:
                await second.recv()
            assert caught.value.rcvd.code == 4508
        await until(lambda: len(it.listener) == 1)
        it.canister.send(client.client_key, b"still here")
        assert b"still here" in await first.recv()


async def test_a_refusal_of_the_canister_is_quoted_after_its_last_words():
    async with served() as it, it.session() as (client, socket):
        it.canister.on_message = lambda key, payload: it.canister.send(key, b"close message") or err("é" * 200)
        await socket.send(client.message())
        assert b"close message" in await socket.recv()
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd.code == 4102
        assert caught.value.rcvd.reason.startswith("ws_message: éé")
        assert caught.value.rcvd.reason.endswith("é…")


async def test_a_client_that_does_not_read_is_closed_alone():
    # no ping meanwhile: on a busy machine it would close the client before the outbox is full
    settings = {"outbox": 512 * 1024, "ping_interval": "10m"}
    async with served(gateway=settings) as it, it.session() as (quick_client, quick):
        slow, client = await it.upgraded(), Client()
        slow.send(FINAL | BINARY, client.open())
        await slow.frame()
        slow.writer.transport.pause_reading()
        peer = it.gateway.hub.members(CANISTER)[client.client_key]
        while peer.outbox.reserve(0):  # False once it is closed
            # the kernel takes 4 MB before anything is left to the outbox
            it.canister.send(client.client_key, b"x" * 400_000)
            it.canister.send(quick_client.client_key, b"tick")
            assert b"tick" in await quick.recv()
            it.canister.queue.clear()
        slow.writer.transport.abort()  # it would have as long to read why as a silent client has to answer a ping
        await until(lambda: it.counters.refused == {"slow_client": 1})
        assert client.client_key not in it.gateway.hub.members(CANISTER)
        it.canister.send(quick_client.client_key, b"tock")
        assert b"tock" in await quick.recv()


async def test_an_error_nobody_thought_of_tells_the_client_nothing(capsys):
    async with served() as it:

        def broken(request):
            raise ZeroDivisionError("a secret")

        it.ic.before_submit = broken
        async with it.websocket() as socket:
            await socket.send(Client().open())
            with pytest.raises(ConnectionClosed) as caught:
                await socket.recv()
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1011, "the gateway failed")
        await it.nobody()
    assert "a secret" in capsys.readouterr().out


async def test_stopping_closes_everybody_and_tells_the_canister():
    async with served() as it:
        sockets = []
        for _ in range(5):
            raw = await opened(it)
            sockets.append(raw)
        idle, half = await it.upgraded(), await it.raw()

        async def answer(raw):
            assert await raw.close_frame() == (1012, "the gateway restarts, open a new connection")
            raw.send(CLOSE, b"\x03\xf4")
            await raw.end()

        answers = asyncio.gather(*map(answer, [*sockets, idle]))
        stopping = asyncio.create_task(it.listener.stop())
        await answers
        status, headers, _ = await half.request("/")
        assert (status, headers["retry-after"]) == (503, "5")
        half.close()
        await stopping
        await it.gateway.stop()
        assert len(it.canister.left) == 5
        assert it.counters.closed == {1012: 6}


async def test_stopping_does_not_wait_for_clients_that_do_not_answer():
    async with served(gateway={"close_timeout": "100ms"}) as it:
        raw, half = await opened(it), await it.raw()
        await until(lambda: len(it.listener) == 2)
        await it.listener.stop()
        assert len(it.listener) == 0
        raw.close()
        half.close()


async def test_unknown_close_codes_of_clients_do_not_grow_the_counters():
    async with served() as it:
        for code in (4200, 4201, 3999):
            raw = await it.upgraded()
            raw.send(CLOSE, code.to_bytes(2, "big"))
            assert (await raw.close_frame())[0] == code
            await raw.end()
        await it.nobody()
        assert it.counters.closed == {0: 3}


def all_errors(kind=GatewayError):
    return {kind}.union(*map(all_errors, kind.__subclasses__()))


def test_every_close_code_may_be_sent():
    for kind in all_errors():
        assert kind.close_code in {1003, 1008, 1009, 1011, 1012, 1013} or 4000 <= kind.close_code <= 4999


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_client_that_leaves_while_it_is_not_read_is_noticed_when_it_is_read_again(how):
    async with served(relay={"queue": 1}, **quick()) as it:
        raw, client, gate = await it.upgraded(), Client(), asyncio.Event()
        raw.send(FINAL | BINARY, client.open())
        await raw.frame()
        it.ic.before_submit = lambda request: gate.wait()
        for _ in range(9):
            raw.send(FINAL | BINARY, client.message(bytes(100_000)))
        await until(lambda: it.counters.frames == 3)
        if how == "close":
            raw.close()
        else:
            raw.writer.transport.abort()
        gate.set()
        await it.nobody()
        assert it.canister.left == [client.client_key]
        assert len(it.canister.received) in range(2, 10)
