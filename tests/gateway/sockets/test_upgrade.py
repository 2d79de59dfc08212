"""Real sockets up to the answer to the upgrade request: granted, rejected, refused or hung up on."""

import asyncio

import pytest

from tests.gateway.bench import until
from tests.gateway.clients import CANISTER
from tests.gateway.served import served

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


async def test_a_client_whose_close_call_is_pending_keeps_its_place():
    async with served(gateway={"max_connections": 1}) as it:
        gate = asyncio.Event()
        it.ic.before_call = gate.wait
        async with it.session():
            pass
        await until(lambda: it.gateway.pending_close_calls)
        raw = await it.raw()
        status, _, _ = await raw.request("/")
        assert status == 503
        raw.close()
        gate.set()
        await it.nobody()


@pytest.mark.parametrize("head", [b"\x16\x03\x01garbage\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"\r\n\r\n"])
async def test_what_is_not_http_is_hung_up_on(head):
    async with served() as it:
        raw = await it.raw()
        raw.writer.write(head)
        await raw.end()
        await it.nobody()


async def test_an_endless_request_is_refused():
    async with served() as it:
        raw = await it.raw()
        raw.writer.write(b"GET / HTTP/1.1\r\n" + b"X-Filler: yes\r\n" * 5000)
        assert (await raw.reader.readline()).startswith(b"HTTP/1.1 431 ")
        raw.close()
        await it.nobody()


async def test_connecting_and_closing_before_anything_leaves_nothing():
    async with served() as it:
        for _ in range(3):
            (await it.raw()).close()
        await until(lambda: it.counters.connections == 3)
        await it.nobody()
        assert not it.counters.closed
