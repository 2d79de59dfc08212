"""``ic/http/transport.py`` against a real server on loopback."""

import asyncio
import contextlib
import resource
from collections.abc import Callable

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.crypto import Request
from appliance.errors import IcRefused, IcUnreachable, Malformed, ReplyTooLarge
from appliance.ic.endpoints import LONGEST_RETRY_AFTER_S
from appliance.ic.failover import first_answer
from appliance.ic.http.responses import Reply
from appliance.ic.http.transport import HttpTransport
from tests.ic.raw_server import Serve, drips, never_reads, raw_server, sends
from tests.ic.scripted_ic import ScriptedIc, accepted, http

TransportFor = Callable[..., HttpTransport]
PATH = "/api/v2/status"


async def send(transport: HttpTransport, body: bytes | None = None, *, timeout_s: float | None = None) -> Reply:
    return await transport.send(transport.endpoints[0], PATH, body, timeout_s=timeout_s)


def answer(body: bytes, content_type: str = "application/cbor") -> Callable[[Request | None], web.Response]:
    return lambda _: web.Response(body=body, content_type=content_type)


def raw_server_answers(data: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        writer.close()

    return serve


async def test_get_without_a_body_and_post_with_one(ic: ScriptedIc, transport_for: TransportFor) -> None:
    ic.serves.add("v4/call")
    ic.script(answer(b"reply"))
    transport = transport_for(ic.url)
    assert await send(transport) == Reply(200, b"reply")
    assert (ic.seen[0].method, ic.seen[0].path, ic.seen[0].body) == ("GET", PATH, b"")


async def test_a_post_says_what_it_is(ic: ScriptedIc, transport_for: TransportFor) -> None:
    ic.serves.clear()
    with pytest.raises(IcRefused):
        await send(transport_for(ic.url), b"some bytes")
    assert (ic.seen[0].method, ic.seen[0].body) == ("POST", b"some bytes")
    assert ic.seen[0].headers["content-type"] == "application/cbor"


async def test_an_empty_202_is_a_reply(ic: ScriptedIc, transport_for: TransportFor) -> None:
    ic.script(accepted)
    assert await send(transport_for(ic.url)) == Reply(202, b"")


async def test_connections_are_kept(transport_for: TransportFor) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        transport = transport_for(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for _ in range(5):
            await send(transport)
        await transport.close()
    assert connections == 1


async def test_the_health_is_for_who_asks_to_note(ic: ScriptedIc, transport_for: TransportFor) -> None:
    """One request may be one of several versions; a 404 to the first is no fault."""
    ic.script(http(503, Retry_After="7"))
    transport = transport_for(ic.url)
    with pytest.raises(IcUnreachable, match="HTTP 503") as failure:
        await send(transport)
    assert failure.value.retry_after_s == 7
    assert transport.order() == transport.endpoints


async def test_a_redirect_is_not_followed(ic: ScriptedIc, transport_for: TransportFor) -> None:
    ic.script(http(308, "", Location=f"{ic.url}/api/v2/status"), accepted)
    with pytest.raises(IcRefused, match=r"/api/v2/status"):
        await send(transport_for(ic.url))
    assert len(ic.seen) == 1


async def test_a_refused_connection_is_unreachable(transport_for: TransportFor, unused_tcp_port: int) -> None:
    with pytest.raises(IcUnreachable, match=str(unused_tcp_port)):
        await send(transport_for(f"http://127.0.0.1:{unused_tcp_port}"))


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example"])
async def test_a_name_that_no_host_can_have_is_unreachable(transport_for: TransportFor, host: str) -> None:
    """The codec of host names raises UnicodeError, and names itself in some versions of Python."""
    with pytest.raises(IcUnreachable, match=r"idna|label empty or too long"):
        await send(transport_for(f"http://{host}"))


async def test_silence_is_unreachable(ic: ScriptedIc, transport_for: TransportFor) -> None:
    never = asyncio.Event()

    async def silent(_: Request | None) -> web.Response:
        await never.wait()
        return web.Response()

    ic.script(silent)
    with pytest.raises(IcUnreachable, match=r"no answer within 0\.05 s"):
        await send(transport_for(ic.url), timeout_s=0.05)
    never.set()


async def test_an_end_in_the_middle_is_unreachable(transport_for: TransportFor) -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Type: application/cbor\r\nContent-Length: 100\r\n\r\nhalf"
    async with await asyncio.start_server(raw_server_answers(cut), "127.0.0.1", 0) as server:  # type: ignore[arg-type]
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(IcUnreachable):
            await send(transport_for(f"http://127.0.0.1:{port}"))


async def test_what_is_no_http_is_unreachable(transport_for: TransportFor) -> None:
    async with await asyncio.start_server(raw_server_answers(b"SSH-2.0\r\n"), "127.0.0.1", 0) as server:  # type: ignore[arg-type]
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(IcUnreachable):
            await send(transport_for(f"http://127.0.0.1:{port}"))


async def test_a_kept_connection_that_was_closed_is_replaced(transport_for: TransportFor) -> None:
    """The server closes after each reply without saying so; the next request must not fail for it."""
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/cbor\r\nContent-Length: 2\r\n\r\nok"
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await reader.readuntil(b"\r\n\r\n")
        requests += 1
        writer.write(reply)
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")  # the next request on this connection is met with silence
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        transport = transport_for(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for _ in range(3):
            assert (await send(transport, b"body")).body == b"ok"
        assert requests == 3
        assert transport.endpoints[0].failures == 0
        await transport.close()


async def test_too_large_a_reply_is_not_read_to_its_end(ic: ScriptedIc, transport_for: TransportFor) -> None:
    ic.script(answer(b"x" * 1001))
    with pytest.raises(ReplyTooLarge) as refusal:
        await send(transport_for(ic.url, max_reply=1000))
    assert (refusal.value.size, refusal.value.limit) == (1001, 1000)
    ic.script(answer(b"x" * 1000))
    assert len((await send(transport_for(ic.url, max_reply=1000))).body) == 1000


async def test_too_large_a_reply_without_a_length_is_stopped_while_reading(transport_for: TransportFor) -> None:
    """The server would go on for ever."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/cbor\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"400\r\n" + bytes(1024) + b"\r\n")
                await writer.drain()
        except ConnectionError:
            ended.set()
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        transport = transport_for(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", max_reply=50_000)
        with pytest.raises(ReplyTooLarge):
            await send(transport)
        await ended.wait()


async def test_other_endpoints_are_asked_as_soon_as_it_is_told(ic: ScriptedIc, transport_for: TransportFor) -> None:
    ic.script(answer(b"reply"), answer(b"a longer reply"))
    transport = transport_for("http://127.0.0.1:1")
    with pytest.raises(IcUnreachable):
        await send(transport)
    transport.follow([ic.url], timeout_s=5, max_reply=5)
    assert await send(transport) == Reply(200, b"reply")
    with pytest.raises(ReplyTooLarge):
        await send(transport)
    with pytest.raises(Malformed):
        transport.follow(["nonsense"], timeout_s=5, max_reply=5)
    assert transport.urls == [ic.url]


async def test_who_asks_to_be_left_alone_is_named_to_whoever_wants_to_know(
    ic: ScriptedIc, transport_for: TransportFor
) -> None:
    ic.script(http(429, retry_after="7"), http(500), http(503, retry_after="100000"))
    transport, asked = transport_for(ic.url), list[tuple[str, float]]()
    transport.on_pause = lambda url, seconds: asked.append((url, seconds))
    (endpoint,) = transport.endpoints
    for _ in range(3):
        with pytest.raises(IcUnreachable) as failure:
            await send(transport)
        transport.failed(endpoint, failure.value)
    assert asked == [(ic.url, 7), (ic.url, LONGEST_RETRY_AFTER_S)]


async def test_an_endpoint_is_left_alone_for_another_node(transport_for: TransportFor) -> None:
    transport = transport_for("http://127.0.0.1:1", "http://127.0.0.1:2")
    transport.pause("http://127.0.0.1:1", 60.0)
    transport.pause("http://127.0.0.1:3", 60.0)
    assert [each.url for each in transport.order()] == ["http://127.0.0.1:2"]


async def test_closing_ends_failover_too(ic: ScriptedIc, transport_for: TransportFor) -> None:
    """The next endpoint would be asked by a client that nobody closes."""
    asked = asyncio.Event()

    async def silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with raw_server(silent) as url:
        transport = transport_for(url, ic.url)
        answered = asyncio.create_task(first_answer(transport, lambda endpoint: transport.send(endpoint, PATH)))
        await asked.wait()
        await transport.close()
        with pytest.raises(IcUnreachable, match="closed"):
            await answered
    with pytest.raises(IcUnreachable, match="closed"):
        await send(transport)
    assert not ic.seen


async def test_a_process_without_descriptors_reaches_nobody_until_it_has_some(
    ic: ScriptedIc, transport_for: TransportFor
) -> None:
    ic.script(answer(b"reply"))
    transport, limits = transport_for(ic.url), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(IcUnreachable, match="open files"):
            await send(transport)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert await send(transport) == Reply(200, b"reply")


# --- servers that do not keep to HTTP -------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/cbor\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BROKEN: dict[str, Serve] = {
    "never reads": never_reads,
    "silence": sends(b"", then="waits"),
    "no response": sends(b"", then="closes"),
    "reset": sends(b"", then="resets"),
    "half a head": sends(HEAD, then="waits"),
    "half a head, closed": sends(HEAD, then="closes"),
    "half a body": sends(HEAD + b"Content-Length: 100\r\n\r\nhalf", then="waits"),
    "half a body, closed": sends(HEAD + b"Content-Length: 100\r\n\r\nhalf", then="closes"),
    "half a body, reset": sends(HEAD + b"Content-Length: 100\r\n\r\nhalf", then="resets"),
    "a negative length": sends(HEAD + b"Content-Length: -5\r\n\r\nhalf"),
    "a length that is none": sends(HEAD + b"Content-Length: many\r\n\r\nhalf"),
    "two lengths": sends(HEAD + b"Content-Length: 4\r\nContent-Length: 2\r\n\r\nhalf"),
    "a length of 400 digits": sends(HEAD + b"Content-Length: " + b"9" * 400 + b"\r\n\r\nhalf"),
    "half a chunk": sends(CHUNKED + b"400\r\nhalf", then="waits"),
    "half a chunk, closed": sends(CHUNKED + b"400\r\nhalf", then="closes"),
    "no last chunk": sends(CHUNKED + b"4\r\nhalf\r\n", then="waits"),
    "no last chunk, closed": sends(CHUNKED + b"4\r\nhalf\r\n", then="closes"),
    "a chunk size that is none": sends(CHUNKED + b"many\r\nhalf\r\n"),
    "a chunk that is longer": sends(CHUNKED + b"2\r\nhalf\r\n0\r\n\r\n"),
    "an endless body": drips(HEAD + b"\r\n", bytes(4096)),
    "endless chunks": drips(CHUNKED, b"400\r\n" + bytes(1024) + b"\r\n"),
    "an endless head": drips(HEAD, b"X-More: of it\r\n"),
    "one endless line": drips(HEAD + b"X: ", b"x" * 4096),
    "endless promises": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a slow body": drips(HEAD + b"\r\n", b"x", pause_s=0.02),
    "a slow chunk": drips(CHUNKED + b"ffff\r\n", b"x", pause_s=0.02),
    "a slow head": drips(HEAD + b"X: ", b"x", pause_s=0.02),
    "another protocol": sends(b"SSH-2.0\r\n"),
    "HTTP/2": sends(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])),
    "another upgrade": sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "no status": sends(b"HTTP/1.1 OK\r\n\r\n"),
    "a huge status": sends(b"HTTP/1.1 99999999999 OK\r\n\r\n"),
    "a type that is none": sends(
        b"HTTP/1.1 200 OK\r\nContent-Type: \xff;;=\r\nContent-Length: 2000\r\n\r\n" + bytes(2000)
    ),
    "cookies that are none": sends(b"HTTP/1.1 503 No\r\nSet-Cookie: \xff=;;\r\nContent-Length: 0\r\n\r\n"),
}


@pytest.mark.parametrize("serve", BROKEN.values(), ids=BROKEN)
async def test_a_broken_server_is_that_endpoints_trouble_and_no_more(transport_for: TransportFor, serve: Serve) -> None:
    """Each attempt ends within its time-out: the test has no other limit, and fails by its own time-out else."""
    async with raw_server(serve) as url, asyncio.timeout(20):
        transport = transport_for(url, max_reply=1000)
        for _ in range(2):
            with pytest.raises((IcUnreachable, IcRefused, ReplyTooLarge)) as failure:
                await send(transport, b"body", timeout_s=0.2)
            assert failure.value.close_code == 4101
        await transport.close()


@pytest.mark.parametrize("serve", BROKEN.values(), ids=BROKEN)
async def test_another_endpoint_answers_in_its_place(transport_for: TransportFor, ic: ScriptedIc, serve: Serve) -> None:
    ic.script(answer(b"reply"))
    async with raw_server(serve) as url:
        transport = transport_for(url, ic.url, max_reply=1000)
        reply = await first_answer(transport, lambda endpoint: transport.send(endpoint, PATH, timeout_s=0.2))
        assert reply == Reply(200, b"reply")
        assert [endpoint.failures for endpoint in transport.endpoints] == [1, 0]
        await transport.close()


LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 202 Accepted",
        b"HTTP/1.1 503 No",
        b"Content-Length: 3",
        b"Content-Length: 99999999999999999999",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Content-Encoding: br",
        b"Connection: close",
        b"Connection: upgrade",
        b"Retry-After: Tue, 14 Nov 2023 22:13:27 +999999999999999",
        b"Set-Cookie: a=b; Max-Age=\xb2",
        b"Location: http://[::1",
        b"",
        b"3",
        b"0",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES | st.binary(max_size=12), max_size=8).map(b"\r\n".join), st.sampled_from(["closes", "resets"]))
async def test_whatever_bytes_a_server_sends_only_our_errors_leave(data: bytes, then: str) -> None:
    async with (
        raw_server(sends(data, then=then)) as url,
        HttpTransport([url], timeout_s=0.5, max_reply=100) as transport,
    ):
        with contextlib.suppress(IcUnreachable, IcRefused, ReplyTooLarge):
            assert (await send(transport, b"body")).status in {200, 202}
