"""Men in the middle: what a lying gateway or boundary node would do to what passes through."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Data

from appliance.crypto import BlsSecretKey, HashTree, decode_cbor, encode_cbor, encode_certificate

Deceit = Callable[[int, bytes], list[bytes]]
"""From the number (1 is the first) and the frame of a certified message for the client to the frames that it gets."""


@asynccontextmanager
async def lying_gateway(
    upstream: str,
    deceit: Deceit | None = None,
    *,
    deafness: Callable[[int], bool] = lambda _: False,
    loses_greeting: bool = False,
) -> AsyncIterator[str]:
    """A WebSocket proxy that passes all on as it is but certified messages, with which `deceit` does what it likes.

    Of what the client says it loses the frames with numbers (1 is the first) for which it has `deafness`; with
    `loses_greeting` also the frames of the gateway itself. Yields its URL, which has the path of the gateway's.
    """
    deceive = deceit or (lambda _, frame: [frame])

    async def handle(client: ServerConnection) -> None:
        async with connect(upstream, compression=None, max_size=None) as gateway:
            up = asyncio.create_task(_pass_up(client, gateway.send, gateway.close, deafness))
            numbers = itertools.count(1)
            try:
                async for frame in gateway:
                    if isinstance(frame, bytes) and "cert" in read_message(frame):
                        for passed in deceive(next(numbers), frame):
                            await client.send(passed)
                    elif not loses_greeting:
                        await client.send(frame)
            except ConnectionClosed:
                pass
            code = gateway.close_code or 1011
            await client.close(1011 if code in (1005, 1006) else code, gateway.close_reason or "")
            await up

    server = await serve(handle, "127.0.0.1", 0, compression=None, max_size=None)
    async with server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}{urlsplit(upstream).path}"


async def _pass_up(
    client: ServerConnection,
    send: Callable[[Data], Awaitable[None]],
    close: Callable[[], Awaitable[None]],
    deafness: Callable[[int], bool],
) -> None:
    numbers = itertools.count(1)
    try:
        async for frame in client:
            if not deafness(next(numbers)):
                await send(frame)
    except ConnectionClosed:
        pass
    await close()


def read_message(frame: bytes) -> dict[str, bytes]:
    """The fields of a frame for a client, whatever its wire generation."""
    return cast("dict[str, bytes]", decode_cbor(frame))


FORGER = BlsSecretKey.from_seed(b"a key that no network knows about")
"""Signs forged certificates."""


def forge(_: int, frame: bytes) -> list[bytes]:
    """The same message with a certificate that another root key has signed, and is perfect otherwise."""
    message = read_message(frame)
    certificate = cast("dict[str, list[int]]", decode_cbor(message["cert"]))
    tree = HashTree.from_cbor(encode_cbor(certificate["tree"]))
    forged = encode_certificate(tree, FORGER.sign_root(tree.digest))
    return [encode_cbor({**message, "cert": forged}, tagged=False)]


@asynccontextmanager
async def lying_boundary(upstream: str, deceit: Callable[[str, bytes], bytes]) -> AsyncIterator[str]:
    """An HTTP proxy that changes answers as `deceit` wants, by path and body; yields its URL."""
    async with aiohttp.ClientSession() as session:

        async def handle(request: web.Request) -> web.Response:
            headers = {"Content-Type": request.headers["Content-Type"]} if request.can_read_body else {}
            url = upstream + request.path
            async with session.request(request.method, url, data=await request.read(), headers=headers) as reply:
                body = deceit(request.path, await reply.read())
                return web.Response(status=reply.status, body=body, content_type=reply.content_type)

        application = web.Application(client_max_size=8 * 1024**2)
        application.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
