"""How requests reach an endpoint: the interface, and HTTP through aiohttp (interface specification, "HTTPS")."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, Self

import aiohttp

from appliance.errors import IcError, IcUnreachable, ReplyTooLarge
from appliance.ic.endpoints import Endpoint, Endpoints
from appliance.ic.proxies import Proxy, proxy_for
from appliance.ic.responses import Reply, read_response

CONNECT_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)
_HEADERS = {"Content-Type": "application/cbor", "Accept-Encoding": "identity", "User-Agent": "icws"}


class Transport(Protocol):
    """The network as an Agent uses it."""

    def order(self, *, after: str | None = None) -> list[Endpoint]:
        """The endpoints to try now, in order; with ``after`` beginning behind that address. Raises IcUnreachable where
        all have asked for a pause.
        """

    async def send(
        self, endpoint: Endpoint, path: str, body: bytes | None = None, *, timeout_s: float | None = None
    ) -> Reply:
        """One request to one endpoint: POST with a body, GET without. Raises IcUnreachable, IcRefused or ReplyTooLarge,
        and nothing else, whatever the endpoint sends.
        """

    def resting(self) -> list[Endpoint]:
        """The endpoints that rest, so that ``order`` leaves them out where it has others."""

    def pause_s(self) -> float:
        """How long no endpoint may be asked, because all have asked for a pause."""

    def failed(self, endpoint: Endpoint, error: Exception) -> None:
        """It gave no answer, or an unusable one: prefer the others for a while."""

    def succeeded(self, endpoint: Endpoint) -> None:
        """It gave a usable answer."""

    @property
    def urls(self) -> list[str]:
        """The normalised addresses."""


@dataclass(frozen=True, slots=True)
class _Way:
    """The way to an endpoint, through a proxy or not."""

    url: str
    proxy: Proxy | None

    @property
    def shown(self) -> str:
        """For errors: whatever comes back through a proxy may be its own word."""
        return self.url if self.proxy is None else f"{self.url} (through the proxy {self.proxy.shown})"

    def without_credentials(self, text: str) -> str:
        """A text of aiohttp, which may name the proxy with its password."""
        return text if self.proxy is None else text.replace(self.proxy.url, self.proxy.shown)


class HttpTransport:
    """One pool of kept connections to all endpoints. An async context manager.

    ``timeout_s`` is for a whole request and its reply, ``max_reply`` in bytes. The pool has no bound of its own:
    callers bound their requests, e.g. the gateway its calls. ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` are read
    when an endpoint is asked first.
    """

    def __init__(
        self,
        urls: Iterable[str],
        *,
        timeout_s: float,
        max_reply: int,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Raises Malformed for a URL that is none, ValueError for no URL."""
        self._endpoints = Endpoints(urls)
        self._timeout_s = timeout_s
        self._max_reply = max_reply
        self._monotonic_ns = monotonic_ns
        self._session: aiohttp.ClientSession | None = None
        self._ways: dict[str, _Way] = {}

    def follow(self, urls: Iterable[str], *, timeout_s: float, max_reply: int) -> None:
        """Use these endpoints and limits from now on; the health of known endpoints is kept.

        Requests that are under way go on. Raises as the constructor does, and has changed nothing then.
        """
        self._endpoints = Endpoints(urls, known=self._endpoints.all)
        self._ways = {}
        self._timeout_s = timeout_s
        self._max_reply = max_reply

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def urls(self) -> list[str]:
        """The normalised addresses."""
        return [endpoint.url for endpoint in self._endpoints.all]

    @property
    def endpoints(self) -> list[Endpoint]:
        """All of them, with their health."""
        return list(self._endpoints.all)

    def order(self, *, after: str | None = None) -> list[Endpoint]:
        """As Transport.order."""
        return self._endpoints.order(self._monotonic_ns(), after=after)

    def resting(self) -> list[Endpoint]:
        """As Transport.resting."""
        return self._endpoints.resting(self._monotonic_ns())

    def pause_s(self) -> float:
        """As Transport.pause_s."""
        return self._endpoints.pause_s(self._monotonic_ns())

    def succeeded(self, endpoint: Endpoint) -> None:
        """As Transport.succeeded."""
        if endpoint.failures:
            _log.info("endpoint %s answers again", endpoint.url)
            endpoint.succeeded()

    def failed(self, endpoint: Endpoint, error: Exception) -> None:
        """As Transport.failed."""
        if not endpoint.failures:
            _log.warning("others are asked before endpoint %s for a while: %s", endpoint.url, error)
        endpoint.failed(str(error), self._monotonic_ns(), getattr(error, "retry_after_s", None))

    async def send(
        self, endpoint: Endpoint, path: str, body: bytes | None = None, *, timeout_s: float | None = None
    ) -> Reply:
        """As Transport.send."""
        way = self._way(endpoint)
        timeout_s = timeout_s or self._timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange_twice(way, endpoint.url + path, body)
        except IcError:
            raise
        except aiohttp.ClientHttpProxyError as error:
            raise IcUnreachable(way.shown, f"the proxy refuses: HTTP {error.status} {error.message}") from error
        except aiohttp.ServerTimeoutError:
            raise IcUnreachable(way.shown, f"no connection within {CONNECT_TIMEOUT_S:g} s") from None
        except TimeoutError:
            raise IcUnreachable(way.shown, f"no answer within {timeout_s:g} s") from None
        # A stranger's bytes make aiohttp raise more than its ClientError, and may never end more than this attempt.
        except Exception as error:
            raise IcUnreachable(way.shown, way.without_credentials(str(error)) or type(error).__name__) from error

    async def _exchange_twice(self, way: _Way, url: str, body: bytes | None) -> Reply:
        try:
            return await self._exchange(way, url, body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise
            # A kept connection that the server closed meanwhile. Every request of the IC may be sent twice.
            return await self._exchange(way, url, body)

    async def _exchange(self, way: _Way, url: str, body: bytes | None) -> Reply:
        if self._session is None:
            self._session = _new_session()
        method = "GET" if body is None else "POST"
        proxy = None if way.proxy is None else way.proxy.url
        async with self._session.request(
            method, url, data=body, headers=_HEADERS, allow_redirects=False, proxy=proxy
        ) as response:
            content = await self._read(response)
            return read_response(way.shown, response.status, response.headers, content, now_s=time.time())

    def _way(self, endpoint: Endpoint) -> _Way:
        way = self._ways.get(endpoint.url)
        if way is None:
            way = self._ways[endpoint.url] = _Way(endpoint.url, proxy_for(endpoint.url))
        return way

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._max_reply
        if (response.content_length or 0) > limit:
            raise ReplyTooLarge("reply of the IC", response.content_length or 0, limit)
        chunks, size = [], 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > limit:
                raise ReplyTooLarge("reply of the IC", size, limit)
            chunks.append(chunk)
        return b"".join(chunks)


def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
