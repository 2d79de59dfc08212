"""Faults of the way: time, connections, and the bytes of HTTP."""

import asyncio

from tests.faults.kinds.registry import fault
from tests.faults.proxy import Answer, Exchange

PIECE_PAUSE_S = 0.03
REFUSAL_S = 0.4


@fault()
async def latency(exchange: Exchange) -> None:
    """The honest answer after 300 ms."""
    await asyncio.sleep(0.3)
    await exchange.send(await exchange.honest())


@fault()
async def jitter(exchange: Exchange) -> None:
    """The honest answer after up to 300 ms: answers overtake each other."""
    await asyncio.sleep(0.3 * exchange.random.random())
    await exchange.send(await exchange.honest())


@fault()
async def slow_drip(exchange: Exchange) -> None:
    """The honest answer in ten pieces."""
    data = (await exchange.honest()).encoded()
    size = len(data) // 10 + 1
    for start in range(0, len(data), size):
        await exchange.connection.write(data[start : start + size])
        await asyncio.sleep(PIECE_PAUSE_S)


@fault()
async def endless_drip(exchange: Exchange) -> None:
    """A byte now and then, until the gateway gives up."""
    await exchange.connection.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/cbor\r\nContent-Length: 100000\r\n\r\n"
    )
    while True:
        await exchange.connection.write(b"\0")
        await asyncio.sleep(PIECE_PAUSE_S)


@fault()
async def half_open(exchange: Exchange) -> None:
    """The request is taken and never answered."""
    await exchange.connection.gone()


@fault()
async def answer_never_sent(exchange: Exchange) -> None:
    """The network gets the request, the gateway no answer."""
    await exchange.honest()
    await exchange.connection.gone()


@fault()
async def reset_before_forwarding(exchange: Exchange) -> None:
    """A reset; the network does not get the request."""
    exchange.connection.reset()


@fault()
async def reset_after_forwarding(exchange: Exchange) -> None:
    """A reset; the network has the request."""
    await exchange.honest()
    exchange.connection.reset()


@fault()
async def reset_in_body(exchange: Exchange) -> None:
    """A reset after half of the answer."""
    data = (await exchange.honest()).encoded()
    await exchange.connection.write(data[: len(data) * 2 // 3])
    exchange.connection.reset()


@fault()
async def closed_without_answer(exchange: Exchange) -> None:
    """The connection is closed in good order instead of an answer."""
    exchange.connection.finish()


@fault()
async def truncated_body(exchange: Exchange) -> None:
    """The connection is closed in good order before the end of the body."""
    data = (await exchange.honest()).encoded()
    await exchange.connection.write(data[:-1])
    exchange.connection.finish()


@fault()
async def connection_refused(exchange: Exchange) -> None:
    """Nobody listens for a while, and connections are cut."""
    exchange.endpoint.refuse_for(REFUSAL_S)


@fault()
async def closed_after_each_answer(exchange: Exchange) -> None:
    """An honest answer that promises to keep the connection, which is closed all the same."""
    await exchange.send(await exchange.honest())
    exchange.connection.finish()


@fault()
async def http_1_0(exchange: Exchange) -> None:
    """The honest answer in HTTP/1.0: its end is the end of the connection."""
    honest = await exchange.honest()
    head = f"HTTP/1.0 {honest.status} OK\r\nContent-Type: {honest.content_type}\r\n\r\n"
    await exchange.connection.write(head.encode() + honest.body)
    exchange.connection.finish()


@fault()
async def chunked_with_trailers(exchange: Exchange) -> None:
    """The honest answer in chunks of odd sizes with extensions and trailers."""
    honest = await exchange.honest()
    head = f"HTTP/1.1 {honest.status} OK\r\nContent-Type: {honest.content_type}\r\nTransfer-Encoding: chunked\r\n"
    await exchange.connection.write(f"{head}Trailer: X-Digest\r\n\r\n".encode())
    for start in range(0, len(honest.body), 97):
        piece = honest.body[start : start + 97]
        await exchange.connection.write(f"{len(piece):x};part={start}\r\n".encode() + piece + b"\r\n")
    await exchange.connection.write(b"0\r\nX-Digest: none\r\n\r\n")


@fault()
async def early_hints(exchange: Exchange) -> None:
    """Informational responses before the honest answer."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </>; rel=preload\r\n\r\n"
    await exchange.connection.write(hints + (await exchange.honest()).encoded())


@fault()
async def garbage_instead_of_http(exchange: Exchange) -> None:
    """Bytes that are no HTTP."""
    await exchange.connection.write(exchange.random.randbytes(400) + b"\r\n\r\n")
    exchange.connection.finish()


@fault()
async def content_length_too_small(exchange: Exchange) -> None:
    """The rest of the body stands where the next response is expected."""
    answer = await exchange.honest()
    short = Answer(answer.status, answer.content_type, answer.body[: len(answer.body) // 2])
    await exchange.connection.write(short.encoded() + answer.body[len(answer.body) // 2 :])


@fault()
async def answer_sent_twice(exchange: Exchange) -> None:
    """The second copy stands where the answer to the next request is expected."""
    await exchange.connection.write(2 * (await exchange.honest()).encoded())


@fault()
async def content_length_too_large(exchange: Exchange) -> None:
    """The promised rest of the body is never sent."""
    answer = await exchange.honest()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {answer.content_type}\r\nContent-Length: {len(answer.body) + 100}\r\n\r\n"
    await exchange.connection.write(head.encode() + answer.body)
    await exchange.connection.gone()


@fault()
async def content_length_not_a_number(exchange: Exchange) -> None:
    """A length that nobody can read."""
    await exchange.connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n")
    exchange.connection.finish()


@fault()
async def flood_of_headers(exchange: Exchange) -> None:
    """More headers than anybody should read."""
    await exchange.connection.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(4000):
        await exchange.connection.write(f"X-{number}: {'x' * 50}\r\n".encode())
    await exchange.connection.write(b"Content-Length: 0\r\n\r\n")


@fault()
async def huge_body(exchange: Exchange) -> None:
    """A body whose announced length is a terabyte."""
    await exchange.connection.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/cbor\r\nContent-Length: 1099511627776\r\n\r\n"
    )
    await exchange.connection.gone()


@fault()
async def endless_body(exchange: Exchange) -> None:
    """A chunked body without end, as fast as it is read."""
    await exchange.connection.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/cbor\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b"\0" * 0x10000 + b"\r\n"
    while True:
        await exchange.connection.write(chunk)
