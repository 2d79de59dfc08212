"""Real sockets up to the answer to the upgrade request: granted, rejected, refused or hung up on."""

import asyncio

import pytest

from appliance.gateway.sockets.listener import PENDING
from tests.gateway.bench import until
from tests.gateway.clients import CANISTER
from tests.gateway.served import Served, served

BINARY, CLOSE, PONG, FINAL = 0x2, 0x88, 0x8A, 0x80


async def test_bytes_may_come_one_by_one():
    async with served() as it:
        raw = await it.raw()
        sent, raw.writer.write = raw.writer.write, lambda data: [sent(bytes([byte])) for byte in data]
        status, headers, _ = await raw.request("/v2")
        assert status == 101
        assert "sec-websocket-extensions" not in headers
        await raw.frame()
        raw.send(CLOSE)
        await raw.frame()
        await raw.end()
        await it.nobody()


async def test_a_client_that_does_not_wait_for_the_upgrade_still_gets_it_first():
    async with served() as it:
        raw = await it.raw()
        masked_ping = b"\x89\x80\0\0\0\0"
        raw.writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" + masked_ping
        )
        head = await raw.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert (await raw.frame())[0] == FINAL | BINARY
        assert await raw.frame() == (PONG, b"")
        raw.close()
        await it.nobody()


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        ("/v3", {}, 404),
        ("/v2/chat", {}, 404),
        ("/canister/unknown", {}, 404),
        ("/favicon.ico", {"upgrade": False}, 404),
        ("/", {"upgrade": False}, 426),
        ("/", {"method": "POST"}, 405),
    ],
)
async def test_what_is_no_upgrade_gets_an_answer_for_people(path, options, status):
    async with served() as it:
        raw = await it.raw()
        got, headers, body = await raw.request(path, **options)
        assert got == status
        assert headers["content-length"] == str(len(body))
        assert body.endswith(b"\n")
        raw.close()
        await it.nobody()
        assert it.counters.rejected_requests == {status: 1}


@pytest.mark.parametrize("path", ["/", "/v2", "/v2/", "/?from=app", "/v2?x", f"/canister/{CANISTER}"])
async def test_where_the_generation_is_spoken(path):
    async with served() as it, it.websocket(path):
        pass


async def test_when_it_is_full_it_says_when_to_come_back():
    async with served(gateway={"max_connections": 1}) as it:
        async with it.session():
            raw = await it.raw()
            status, headers, _ = await raw.request("/")
            assert status == 503
            assert int(headers["retry-after"]) > 0
            raw.close()
            await until(lambda: len(it.listener) == 1)
        await it.nobody()
        async with it.websocket():
            pass


async def test_a_gateway_that_holds_too_many_bytes_says_when_to_come_back():
    async with served(limits={"memory": "16MiB"}) as it:
        held = it.gateway.limits.holdings.hold(None)
        held.grow(13 * 1024**2)
        raw = await it.raw()
        status, headers, _ = await raw.request("/")
        assert status == 503
        assert int(headers["retry-after"]) > 0
        raw.close()
        held.release()
        await it.nobody()
        async with it.websocket():
            pass


async def test_a_client_that_is_gone_gives_its_place_back_until_too_many_close_calls_wait():
    async with served(gateway={"max_connections": 1}) as it:
        gate = asyncio.Event()
        it.ic.before_call = gate.wait
        for gone in range(1, PENDING + 1):
            async with it.session():
                pass
            await until(lambda gone=gone: it.gateway.pending_close_calls == gone and not len(it.listener))
        raw = await it.raw()
        status, _, _ = await raw.request("/")
        assert status == 503
        raw.close()
        gate.set()
        await it.nobody()


async def answer(it: Served, data: bytes) -> tuple[int, str]:
    """What the gateway answers to these bytes, which end the request: the status and the body."""
    raw = await it.raw()
    raw.writer.write(data)
    head = (await raw.reader.readuntil(b"\r\n\r\n")).decode()
    body = (await raw.reader.read()).decode()
    raw.close()
    await it.nobody()
    return int(head.split()[1]), body


HANDSHAKE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.mark.parametrize(
    ("head", "status", "text"),
    [
        ("\x16\x03\x01", 400, "it is a TLS handshake"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", 400, "PROXY protocol, which this gateway does not expect"),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "'no colon' is not a header"),
        ("nonsense\r\n\r\n", 400, "it begins with 'nonsense'"),
        (f"GET / HTTP/1.1\r\n{HANDSHAKE}\r\n", 400, "no Host header"),
        (f"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n{HANDSHAKE}\r\n", 400, "2 Host headers"),
        (f"GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://a\r\nOrigin: https://b\r\n{HANDSHAKE}\r\n", 400, "2 Origin"),
        (f"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n{HANDSHAKE}\r\n", 400, "folded"),
        (f"GET / HTTP/1.0\r\nHost: a\r\n{HANDSHAKE}\r\n", 426, "have the proxy speak HTTP/1.1"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "is not a path"),
        (f"GET / HTTP/2.0\r\nHost: a\r\n{HANDSHAKE}\r\n", 505, "HTTP/1.1"),
        (f"GET / HTTP/1.1\r\nHost: a\r\n{HANDSHAKE.replace('AA==', '')}\r\n", 400, "Sec-WebSocket-Key"),
        (f"GET / HTTP/1.1\r\nHost: a\r\n{HANDSHAKE.replace('13', '12')}\r\n", 426, "version 13"),
        (f"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Protocol: ,a b\r\n{HANDSHAKE}\r\n", 400, "Protocol"),
        (f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n{HANDSHAKE}\r\nhi", 405, "with GET"),
    ],
)
async def test_every_corner_gets_an_answer_and_no_traceback(head, status, text, capfd):
    async with served() as it:
        got, body = await answer(it, head.encode("iso-8859-1"))
        assert got == status
        assert text in body
        assert it.counters.rejected_requests == {status: 1}
        assert it.listener.refusals.rejected.total() == 1
    assert "Traceback" not in "".join(capfd.readouterr())


async def test_the_answer_to_head_has_no_body():
    async with served() as it:
        assert await answer(it, b"HEAD /nowhere HTTP/1.1\r\nHost: a\r\n\r\n") == (404, "")


async def test_cookies_may_be_longer_than_the_library_takes():
    async with served() as it, it.websocket(additional_headers={"Cookie": "c" * 50_000}):
        pass


@pytest.mark.parametrize("target", ["http://gateway/v2", "ws://elsewhere/v2?x"])
async def test_a_proxy_may_send_the_absolute_form(target):
    async with served() as it:
        raw = await it.raw()
        status, _, _ = await raw.request(target)
        assert status == 101
        raw.close()
        await it.nobody()


async def test_the_first_subprotocol_is_chosen():
    async with served() as it:
        async with it.websocket(subprotocols=["chat", "v2.chat"]) as socket:
            assert socket.subprotocol == "chat"
        async with it.websocket() as socket:
            assert socket.subprotocol is None


async def test_an_endless_request_is_refused():
    async with served() as it:
        raw = await it.raw()
        raw.writer.write(b"GET / HTTP/1.1\r\n" + b"X-Filler: yes\r\n" * 5000)
        assert (await raw.reader.readline()).startswith(b"HTTP/1.1 431 ")
        assert b"the limit is 65536" in await raw.reader.read()
        raw.close()
        await it.nobody()


async def test_connecting_and_closing_before_anything_leaves_nothing():
    async with served() as it:
        for _ in range(3):
            (await it.raw()).close()
        await until(lambda: it.counters.connections == 3)
        await it.nobody()
        assert not it.counters.closed
