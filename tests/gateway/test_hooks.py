"""What the data plane asks and tells, through real sockets."""

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from appliance.errors import PluginUnavailable, PostponedByPlugin, RefusedByPlugin
from appliance.gateway.hooks import CanisterMessage, ClientMessage, Ending, Hooks, Visit, Who
from tests.gateway.bench import until
from tests.gateway.clients import CANISTER, Client, greeting
from tests.gateway.fake_ic import OK
from tests.gateway.served import Raw, Served, served

BINARY, CLOSE = 0x82, 0x88
REFUSED = RefusedByPlugin("test", "members only")
POSTPONED = PostponedByPlugin("test", "not now", 2.5)
UNAVAILABLE = PluginUnavailable("test")


async def agrees(*facts: object) -> None:
    """Every decision."""


async def refuses(*facts: object) -> None:
    raise REFUSED


async def head_of(it: Served, path: str = "/", **options: object) -> int:
    """The HTTP status of an upgrade."""
    try:
        async with connect(it.listener.url + path, compression=None, **options):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


class Pending:
    """A decision that the test takes."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __call__(self, *facts: object) -> None:
        self.asked.append(facts)
        await self.answer


async def sent_request(it: Served) -> Raw:
    """A raw client that has sent its request, and a ping behind it, and reads nothing yet."""
    raw = await it.raw()
    lines = ["GET / HTTP/1.1", "Host: gateway", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    raw.writer.write("\r\n".join([*lines, "", ""]).encode())
    raw.send(0x89, b"early")
    return raw


def test_binding_is_seen_by_all_who_hold_the_hooks():
    held = Hooks()
    hooks = Hooks(admit=agrees, open=agrees, close=print)
    held.bind(hooks)
    assert held == hooks
    held.bind(Hooks())
    assert held == Hooks()


async def test_a_visit_is_told_with_what_is_known_of_it():
    visits: list[Visit] = []

    async def admit(visit: Visit) -> None:
        visits.append(visit)

    async with served() as it:
        it.gateway.hooks.admit = admit
        async with connect(
            f"{it.listener.url}/v2?token=x", compression=None, additional_headers={"X-Team": "blue"}
        ) as socket:
            assert await socket.recv() == greeting()
        assert await head_of(it, f"/canister/{CANISTER}") == 101
        await it.nobody()
    assert [(visit.address, visit.path, visit.generation) for visit in visits] == [
        ("127.0.0.1", "/v2?token=x", "v2"),
        ("127.0.0.1", f"/canister/{CANISTER}", "v2"),
    ]
    assert visits[0].headers["x-team"] == "blue"
    assert [visit.canister for visit in visits] == [None, str(CANISTER)]


@pytest.mark.parametrize(
    ("refusal", "status", "retry_after"), [(REFUSED, 403, None), (POSTPONED, 503, "3"), (UNAVAILABLE, 503, None)]
)
async def test_a_visit_that_is_refused_is_answered_with_a_status(refusal, status, retry_after):
    async def admit(visit: Visit) -> None:
        raise refusal

    async with served() as it:
        it.gateway.hooks.admit = admit
        raw = await it.raw()
        answered, headers, body = await raw.request("/")
        assert (answered, headers.get("retry-after")) == (status, retry_after)
        assert body.decode() == f"{refusal}\n"
        raw.close()
        await it.nobody()
        assert it.counters.rejected_requests == {status: 1}
        assert not it.counters.closed


async def test_what_came_with_the_request_is_heard_after_the_decision():
    async with served() as it:
        it.gateway.hooks.admit = pending = Pending()
        raw = await sent_request(it)
        await until(lambda: pending.asked)
        assert it.counters.rejected_requests == {}
        pending.answer.set_result(None)
        head = await raw.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert await raw.frame() == (BINARY, greeting())
        assert await raw.frame() == (0x8A, b"early")
        client = Client()
        raw.send(BINARY, client.open())
        assert (await raw.frame())[0] == BINARY
        raw.close()
        await it.nobody()


async def test_a_client_that_is_late_while_it_is_decided_on_is_answered_once():
    async with served(gateway={"handshake_timeout": "1s"}) as it:
        it.gateway.hooks.admit = pending = Pending()
        raw = await sent_request(it)
        assert (await raw.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 408 ")
        pending.answer.set_result(None)
        assert await raw.reader.read() == b"The request was not complete in time.\n"
        raw.close()
        await it.nobody()


async def test_a_gateway_that_stops_while_it_is_decided_on_lets_nobody_in():
    async with served(drain={"deadline": "10ms"}) as it:
        it.gateway.hooks.admit = pending = Pending()
        raw = await sent_request(it)
        await until(lambda: pending.asked)
        it.gateway.begin_stop()
        pending.answer.set_result(None)
        assert (await raw.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503 ")
        raw.close()
        await it.nobody()


async def test_a_socket_that_ends_while_it_is_decided_on_leaves_nothing():
    async with served() as it:
        it.gateway.hooks.admit = pending = Pending()
        raw = await sent_request(it)
        await until(lambda: pending.asked)
        raw.writer.transport.abort()
        pending.answer.set_result(None)
        await it.nobody()


async def test_who_is_refused_at_the_opening_is_unknown_to_the_canister():
    asked: list[Who] = []

    async def decide(who: Who) -> None:
        asked.append(who)
        raise REFUSED

    async with served() as it:
        it.gateway.hooks.open = decide
        client = Client()
        async with it.websocket() as socket:
            await socket.send(client.open())
            with pytest.raises(ConnectionClosed) as caught:
                await socket.recv()
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4518, "members only")
        await it.nobody()
        assert it.canister.left == []
        assert it.canister.clients == {}
        assert it.counters.refused == {"refused_by_plugin": 1}
    [who] = asked
    assert (who.canister, who.generation) == (str(CANISTER), "v2")
    assert who.client.startswith(str(client.principal))


async def test_a_message_that_is_refused_closes_the_socket_and_those_behind_it_do_not_go():
    messages: list[ClientMessage] = []

    async def decide(who: Who, message: ClientMessage) -> None:
        messages.append(message)
        if len(messages) == 2:
            raise POSTPONED

    async with served() as it:
        it.gateway.hooks.client_message = decide
        async with it.session() as (client, socket):
            for number in range(5):
                await socket.send(client.message(b"%d" % number))
            with pytest.raises(ConnectionClosed) as caught:
                await socket.recv()
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4110, "not now; retry in 2.5 s")
        await it.nobody()
        assert it.canister.received == [(client.client_key, b"0")]
        assert it.canister.left == [client.client_key]
    assert [message.method for message in messages] == ["ws_message", "ws_message"]
    assert all(len(message.request_id) == 64 and message.arg.startswith(b"DIDL") for message in messages)


async def test_messages_wait_for_their_decisions_in_order():
    async with served() as it:
        it.gateway.hooks.client_message = pending = Pending()
        async with it.session() as (client, socket):
            for number in range(3):
                await socket.send(client.message(b"%d" % number))
            await until(lambda: pending.asked)
            assert it.canister.received == []
            pending.answer.set_result(None)
            await until(lambda: len(it.canister.received) == 3)
            assert [payload for _, payload in it.canister.received] == [b"0", b"1", b"2"]
        await it.nobody()


async def test_what_goes_to_a_client_and_its_end_are_told():
    told: list[tuple[Who, object]] = []
    async with served() as it:
        it.canister.on_message = lambda key, payload: it.canister.send(key, payload) or OK
        it.gateway.hooks.bind(
            Hooks(
                canister_message=lambda who, message: told.append((who, message)),
                close=lambda who, ending: told.append((who, ending)),
            )
        )
        async with it.session() as (client, socket):
            await socket.send(client.message(b"echo"))
            frame = await socket.recv()
        await it.nobody()
    *messages, (who, ending) = told
    assert {each for each, _ in told} == {who}
    assert (who.address, who.path, who.canister) == ("127.0.0.1", "/", str(CANISTER))
    assert [message.nonce for _, message in messages] == [0, 1]
    assert all(isinstance(message, CanisterMessage) for _, message in messages)
    assert messages[-1][1].frame.endswith(frame)
    assert isinstance(ending, Ending)
    assert (ending.code, ending.cause, ending.reason, ending.delivered) == (1000, "client", None, 2)
    assert ending.seconds > 0


async def test_the_end_is_told_with_what_caused_it():
    endings: list[Ending] = []
    async with served(drain={"deadline": "10ms"}) as it:
        it.gateway.hooks.close = lambda who, ending: endings.append(ending)
        raw = await it.upgraded()
        raw.send(BINARY, b"garbage")
        code, cause = await raw.close_frame()
        raw.send(CLOSE, b"\x11\x94")
        await raw.end()
        await until(lambda: endings)
    assert [(ending.code, ending.cause, ending.reason) for ending in endings] == [(code, cause, "malformed")]


async def test_a_request_that_is_turned_away_anyway_is_not_asked_about():
    async with served(gateway={"origins": ["https://dapp.example"]}) as it:
        it.gateway.hooks.admit = pending = Pending()
        assert await head_of(it, "/nowhere") == 404
        assert await head_of(it, origin="https://elsewhere.example") == 403
        assert pending.asked == []
        await it.nobody()
