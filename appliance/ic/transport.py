"""How requests reach an endpoint: the interface, and HTTP through aiohttp (interface specification, "HTTPS")."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Protocol, Self, TypeVar

import aiohttp

from appliance.errors import BadReply, CertificateError, GatewayError, IcRefused, IcUnreachable, Malformed, TooLarge
from appliance.ic.endpoints import Endpoint, Endpoints

CONNECT_TIMEOUT_S = 5.0
SHOWN_TEXT = 500  # characters of an error body that are kept

T = TypeVar("T")

_log = logging.getLogger(__name__)
_TRY_AGAIN = frozenset({408, 425, 429})  # beside all of 5xx
_HEADERS = {"Content-Type": "application/cbor", "Accept-Encoding": "identity", "User-Agent": "icws"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with a status of 2xx."""

    status: int
    body: bytes


class Transport(Protocol):
    """The network as an Agent uses it."""

    def order(self, *, after: str | None = None) -> list[Endpoint]:
        """The endpoints to try now, in order; with ``after`` beginning behind that address. Raises IcUnreachable where
        all have asked for a pause.
        """

    async def send(
        self, endpoint: Endpoint, path: str, body: bytes | None = None, *, timeout_s: float | None = None
    ) -> Reply:
        """One request to one endpoint: POST with a body, GET without. Keeps note of the endpoint's health.

        Raises IcUnreachable (worth trying again), IcRefused (not worth it) or TooLarge (the reply).
        """

    def failed(self, endpoint: Endpoint, error: Exception) -> None:
        """Its answer was unusable: prefer the others for a while."""

    @property
    def urls(self) -> list[str]:
        """The normalised addresses."""


async def first_answer(
    transport: Transport, attempt: Callable[[Endpoint], Awaitable[T]], *, after: str | None = None
) -> T:
    """Try one endpoint after the other until one gives a usable answer; with ``after`` from behind that address on.

    Raises what was wrong with the last one: IcUnreachable, BadReply, Malformed or a CertificateError; and at once
    whatever else ``attempt`` raises, because another endpoint would answer the same.
    """
    problem: GatewayError | None = None
    for endpoint in transport.order(after=after):
        try:
            return await attempt(endpoint)
        except IcUnreachable as error:
            problem = error
        except (BadReply, CertificateError, Malformed) as error:
            transport.failed(endpoint, error)
            problem = error
    raise problem or IcUnreachable("the IC", "there is no endpoint to ask")


class HttpTransport:
    """One pool of kept connections to all endpoints. An async context manager.

    ``timeout_s`` is for a whole request and its reply, ``max_reply`` in bytes. The pool has no bound of its own:
    callers bound their requests, e.g. ``Agent`` its calls.
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

    def follow(self, urls: Iterable[str], *, timeout_s: float, max_reply: int) -> None:
        """Use these endpoints and limits from now on; the health of known endpoints is kept.

        Requests that are under way go on. Raises as the constructor does, and has changed nothing then.
        """
        self._endpoints = Endpoints(urls, known=self._endpoints.all)
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

    def failed(self, endpoint: Endpoint, error: Exception) -> None:
        """As Transport.failed."""
        if not endpoint.failures:
            _log.warning("others are asked before endpoint %s for a while: %s", endpoint.url, error)
        endpoint.failed(str(error), self._monotonic_ns(), getattr(error, "retry_after_s", None))

    async def send(
        self, endpoint: Endpoint, path: str, body: bytes | None = None, *, timeout_s: float | None = None
    ) -> Reply:
        """As Transport.send."""
        try:
            reply = await self._attempt(endpoint, path, body, timeout_s or self._timeout_s)
        except IcUnreachable as error:
            self.failed(endpoint, error)
            raise
        if endpoint.failures:
            _log.info("endpoint %s answers again", endpoint.url)
            endpoint.succeeded()
        return reply

    async def _attempt(self, endpoint: Endpoint, path: str, body: bytes | None, timeout_s: float) -> Reply:
        try:
            async with asyncio.timeout(timeout_s):
                try:
                    return await self._exchange(endpoint, path, body)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                    if isinstance(error, aiohttp.ClientConnectorError):
                        raise
                    # A kept connection that the server closed meanwhile. Every request of the IC may be sent twice.
                    return await self._exchange(endpoint, path, body)
        except aiohttp.ServerTimeoutError:
            raise IcUnreachable(endpoint.url, f"no connection within {CONNECT_TIMEOUT_S:g} s") from None
        except TimeoutError:
            raise IcUnreachable(endpoint.url, f"no answer within {timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise IcUnreachable(endpoint.url, str(error) or type(error).__name__) from error

    async def _exchange(self, endpoint: Endpoint, path: str, body: bytes | None) -> Reply:
        if self._session is None:
            self._session = _new_session()
        method = "GET" if body is None else "POST"
        async with self._session.request(
            method, endpoint.url + path, data=body, headers=_HEADERS, allow_redirects=False
        ) as response:
            content = await self._read(response)
            _check(endpoint, response, content)
            return Reply(response.status, content)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._max_reply
        if (response.content_length or 0) > limit:
            raise TooLarge("reply of the IC", response.content_length or 0, limit)
        chunks, size = [], 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > limit:
                raise TooLarge("reply of the IC", size, limit)
            chunks.append(chunk)
        return b"".join(chunks)


def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


def _check(endpoint: Endpoint, response: aiohttp.ClientResponse, content: bytes) -> None:
    status = response.status
    if 200 <= status < 300:
        if response.content_type.startswith("text/") and content:
            raise IcRefused(endpoint.url, status, f"it answers {response.content_type}; is it an endpoint of the IC?")
        return
    text = content[: 4 * SHOWN_TEXT].decode(errors="replace").strip()[:SHOWN_TEXT]
    if status >= 500 or status in _TRY_AGAIN:
        problem = f"HTTP {status}: {text}" if text else f"HTTP {status}"
        raise IcUnreachable(endpoint.url, problem, _retry_after_s(response))
    raise IcRefused(endpoint.url, status, text or response.headers.get("Location", ""))


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    """Seconds, from a number or a date (RFC 9110 section 10.2.3); None where there is none or it makes no sense."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
