"""Tunnels (RFC 9110 section 9.3.6) for a gateway without a network of its own.

TLS is between the gateway and the endpoint: what passes here is read by nobody, and cannot be changed unnoticed.
"""

import asyncio
import socket
from typing import Protocol, Self, cast

import structlog

from appliance.gateway.tasks import Tasks

_log = structlog.get_logger(__name__)

MAX_HEAD = 8192
"""Bytes of a request. The gateway's own have about 100."""
HEAD_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
"""As long as the gateway waits for a connection (``exchanges.CONNECT_TIMEOUT_S``)."""
NEXT_ADDRESS_S = 0.25
"""After which the next address of a name is tried beside the one before (RFC 8305)."""
BACKLOG = 4096
"""Connections that wait to be accepted. Beyond, a Unix socket refuses them."""


class Destination(Protocol):
    """What may be connected to."""

    @property
    def file(self) -> str:
        """Where it is written."""

    async def allow(self, target: str) -> bool:
        """Whether it has this host and port."""


class Refused(Exception):
    """There is no tunnel; ``status`` and a reason for the answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Tunnels:
    """Opens a tunnel for each CONNECT at the sockets that it serves. An async context: leaving it ends all of them."""

    def __init__(self, destinations: Destination) -> None:
        self.destinations = destinations
        self.tasks = Tasks()
        self.ends: set[End] = set()
        self._servers: list[asyncio.Server] = []

    async def serve(self, listening: socket.socket) -> None:
        """Accept at a Unix socket, which is closed at the end."""
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_unix_server(lambda: Request(self), sock=listening, backlog=BACKLOG))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        await self.tasks.cancel()
        for end in list(self.ends):
            end.transport.abort()
        while self.ends:  # noqa: ASYNC110 - they end in the next turn of the loop
            await asyncio.sleep(0)


class End(asyncio.Protocol):
    """One end of a tunnel. What arrives here leaves at the other end, at the pace of that."""

    transport: asyncio.Transport

    def __init__(self, tunnels: Tunnels, other: "End | None" = None) -> None:
        self.other = other
        self._tunnels = tunnels
        self._has_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self.transport = cast("asyncio.Transport", transport)
        self._tunnels.ends.add(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self.other is not None:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """See asyncio. The other direction goes on until it ends, too."""
        self._has_ended = True
        if self.other is None or self.other._has_ended:
            return False
        self.other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        """See asyncio."""
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio."""
        if self.other is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio."""
        self._tunnels.ends.discard(self)
        if self.other is not None:
            self.other.transport.close()


class Request(End):
    """The gateway's end: a request comes first."""

    def __init__(self, tunnels: Tunnels) -> None:
        super().__init__(tunnels)
        self._head = b""
        self._timer: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        super().connection_made(transport)
        late = Refused(408, f"no request within {HEAD_TIMEOUT_S:g} s")
        self._timer = asyncio.get_running_loop().call_later(HEAD_TIMEOUT_S, self._refuse, late)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self.other is not None:
            super().data_received(data)
            return
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end and len(self._head) <= MAX_HEAD:
            return
        self._timer.cancel()
        self.transport.pause_reading()
        self._tunnels.tasks.start(self._open(head if end else None, rest))

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio."""
        self._timer.cancel()
        super().connection_lost(error)

    async def _open(self, head: bytes | None, rest: bytes) -> None:
        try:
            far = await self._connected(_target(head))
        except Refused as refusal:
            self._refuse(refusal)
            return
        if self.transport.is_closing():  # the gateway has not waited
            far.transport.abort()
            return
        if far.transport.is_closing():  # it has told nobody, for it had no other end
            self._refuse(Refused(502, "the endpoint has closed the connection"))
            return
        self.other, far.other = far, self
        self.transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
        if rest:
            far.transport.write(rest)
        self.transport.resume_reading()
        far.transport.resume_reading()

    async def _connected(self, target: str) -> End:
        """An end that does not read yet. Raises Refused."""
        destinations = self._tunnels.destinations
        if not await destinations.allow(target):
            _log.warning("refused: no endpoint of network.url", target=target, file=destinations.file)
            raise Refused(403, f"{target} is no endpoint in network.url of {destinations.file}")
        host, _, port = target.rpartition(":")
        connecting = asyncio.get_running_loop().create_connection(
            lambda: _Far(self._tunnels), host.strip("[]"), int(port), happy_eyeballs_delay=NEXT_ADDRESS_S
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return (await connecting)[1]
        except TimeoutError:
            raise Refused(504, f"no connection to {target} within {CONNECT_TIMEOUT_S:g} s") from None
        except OSError as error:
            raise Refused(502, f"no connection to {target}: {error}") from None

    def _refuse(self, refusal: Refused) -> None:
        reason = " ".join(str(refusal).encode("ascii", "replace").decode().split())
        self.transport.write(f"HTTP/1.1 {refusal.status} {reason}\r\nContent-Length: 0\r\n\r\n".encode())
        self.transport.close()


class _Far(End):
    """The endpoint's end, which waits until the other one knows it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        super().connection_made(transport)
        self.transport.pause_reading()


def _target(head: bytes | None) -> str:
    """Host and port of a request. Raises Refused."""
    if head is None:
        raise Refused(431, f"the request has more than {MAX_HEAD} bytes")
    words = head.split(b"\r\n", 1)[0].decode("ascii", "replace").split(" ")
    match words:
        case ["CONNECT", target, "HTTP/1.1"] if target.rpartition(":")[2].isdecimal():
            return target
        case [_, _, "HTTP/1.1"]:
            raise Refused(405, "this proxy opens tunnels, by CONNECT host:port")
    raise Refused(400, "this is no request of HTTP/1.1")
