"""How requests reach an endpoint: the interface, and HTTP (interface specification, "HTTPS Interface")."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self

from appliance.crypto import Poll
from appliance.errors import IcUnreachable
from appliance.ic.endpoints import LONGEST_RETRY_AFTER_S, Endpoint, Endpoints
from appliance.ic.http.exchanges import Exchanges, HttpEndpoint, Read
from appliance.ic.http.proxies import UNIX, Proxy, ascii_url, proxy_for
from appliance.ic.http.responses import Reply, read_response

_log = logging.getLogger(__name__)


class Transport(Protocol):
    """The network as an Agent uses it."""

    def order(self, *, after: str | None = None) -> list[Endpoint]:
        """The endpoints to try now, in order; with ``after`` beginning behind that address. Raises IcUnreachable where
        all have asked for a pause.
        """

    def send(
        self, endpoint: Endpoint, path: str, body: bytes | Poll | None = None, *, timeout_s: float | None = None
    ) -> Awaitable[Reply]:
        """One request to one endpoint: POST with a body, GET without. The reply to a ``Poll`` may be read already.

        Calling or awaiting it raises IcUnreachable, IcRefused or ReplyTooLarge, and nothing else, whatever the endpoint
        sends.
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
    """The way to an endpoint. ``shown`` is its URL and the proxy, for errors: what comes through a proxy may be its own
    word. ``read`` reads its responses.
    """

    shown: str
    native: HttpEndpoint
    read: Read[Reply]


class HttpTransport:
    """HTTP/1.1 with kept connections to all endpoints. An async context manager.

    ``timeout_s`` is for a whole request and its reply, ``max_reply`` in bytes. There are as many connections as
    requests under way: callers bound these, e.g. the gateway its calls. ``HTTP_PROXY``, ``HTTPS_PROXY`` and
    ``NO_PROXY`` are read when an endpoint is asked first.
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
        self.urls = [endpoint.url for endpoint in self._endpoints.all]
        """The normalised addresses."""
        self._timeout_s = timeout_s
        self._max_reply = max_reply
        self._monotonic_ns = monotonic_ns
        self.on_pause: Callable[[str, float], None] = lambda url, seconds: None
        """Called with the URL of an endpoint that asks to be left alone, and for how many seconds."""
        self._exchanges: Exchanges | None = None
        self._is_closed = False
        self._ways: dict[str, _Way] = {}

    def follow(self, urls: Iterable[str], *, timeout_s: float, max_reply: int) -> None:
        """Use these endpoints and limits from now on; the health of known endpoints is kept.

        Requests that are under way go on. Raises as the constructor does, and has changed nothing then.
        """
        self._endpoints = Endpoints(urls, known=self._endpoints.all)
        self.urls = [endpoint.url for endpoint in self._endpoints.all]
        self._ways = {}
        self._timeout_s = timeout_s
        self._max_reply = max_reply

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection. Requests are answered by IcUnreachable from now on, also those under way."""
        self._is_closed = True
        exchanges, self._exchanges = self._exchanges, None
        self._ways = {}
        if exchanges is not None:
            exchanges.close()

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
            is_only = len(self._endpoints.all) == 1
            then = "it is the only one, and is asked again" if is_only else "others are asked before it for a while"
            _log.warning("endpoint %s fails, %s: %s", endpoint.url, then, error)
        retry_after_s: float | None = getattr(error, "retry_after_s", None)
        endpoint.failed(str(error), self._monotonic_ns(), retry_after_s)
        if retry_after_s:
            self.on_pause(endpoint.url, min(retry_after_s, LONGEST_RETRY_AFTER_S))

    def pause(self, url: str, seconds: float) -> None:
        """Leave an endpoint alone, because it has asked another node behind the same address to be. Does nothing for
        one that is not ours.
        """
        for endpoint in self._endpoints.all:
            if endpoint.url == url:
                endpoint.leave_alone(seconds, self._monotonic_ns())

    def send(
        self, endpoint: Endpoint, path: str, body: bytes | Poll | None = None, *, timeout_s: float | None = None
    ) -> Awaitable[Reply]:
        """As Transport.send."""
        way = self._ways.get(endpoint.url)
        if way is None:
            way = self._ways[endpoint.url] = _way_to(endpoint.url)
        exchanges = self._exchanges or self._begin(way)
        return exchanges.run(
            way.native, path, body, way.read, max_reply=self._max_reply, timeout_s=timeout_s or self._timeout_s
        )

    def _begin(self, way: _Way) -> Exchanges:
        if self._is_closed:  # a request that fails over meanwhile would make a client that nobody closes
            raise IcUnreachable(way.shown, "the HTTP client was closed")
        try:
            self._exchanges = Exchanges()
        except OSError as error:
            raise IcUnreachable(way.shown, f"no HTTP client: {error}") from None
        return self._exchanges


def _way_to(url: str) -> _Way:
    """Raises IcUnreachable for an address or a proxy that cannot be used."""
    proxy = proxy_for(url)
    shown = url if proxy is None else f"{url} (through the proxy {proxy.shown})"
    read = partial(read_response, shown)
    try:
        if proxy is None:
            return _Way(shown, HttpEndpoint(shown, ascii_url(url)), read)
        return _Way(shown, HttpEndpoint(shown, ascii_url(url), _ascii_proxy(proxy), proxy.authorization), read)
    except ValueError as error:  # UnicodeError is one
        raise IcUnreachable(shown, str(error)) from None


def _ascii_proxy(proxy: Proxy) -> str:
    """Raises UnicodeError."""
    return proxy.shown if proxy.shown.startswith(UNIX) else ascii_url(proxy.shown)
