"""The endpoint that the calls of one client share while they are under way together."""

from collections.abc import Awaitable, Callable

from appliance.crypto import Poll
from appliance.errors import GatewayError
from appliance.ic.endpoints import Endpoint
from appliance.ic.http.responses import Reply
from appliance.ic.http.transport import Transport


class Route:
    """Where a call is sent, and whether all went well.

    ``url`` is the endpoint that is asked first. None until the first request has chosen one. ``on_trouble`` is called
    when anything else happens than that this endpoint answers as it should: the call may then reach the IC late.
    """

    __slots__ = ("on_trouble", "url")

    def __init__(self, on_trouble: Callable[[], None], url: str | None = None) -> None:
        self.on_trouble = on_trouble
        self.url = url


class RoutedTransport:
    """A transport that asks the endpoint of a route first, and reports trouble to the route (``Transport``)."""

    def __init__(self, transport: Transport, route: Route) -> None:
        self._transport = transport
        self._route = route

    @property
    def urls(self) -> list[str]:
        """See Transport."""
        return self._transport.urls

    def order(self, *, after: str | None = None) -> list[Endpoint]:
        """See Transport. Chooses the endpoint of a route that has none; another one than that is trouble."""
        try:
            endpoints = self._transport.order(after=after)
        except GatewayError:
            self._route.on_trouble()
            raise
        if self._route.url is None and endpoints:
            self._route.url = endpoints[0].url
        # An endpoint whose last answer settled nothing is not asked first again: one that only ever says "accepted"
        # would starve the client. Asking another one is trouble, because the call may then reach the IC late.
        if self._route.url != after and endpoints and endpoints[0].url != self._route.url:
            endpoints.sort(key=lambda endpoint: endpoint.url != self._route.url)
        if not endpoints or endpoints[0].url != self._route.url:
            self._route.on_trouble()
        return endpoints

    def resting(self) -> list[Endpoint]:
        """See Transport."""
        return self._transport.resting()

    def pause_s(self) -> float:
        """See Transport."""
        return self._transport.pause_s()

    def succeeded(self, endpoint: Endpoint) -> None:
        """See Transport."""
        self._transport.succeeded(endpoint)

    def send(
        self, endpoint: Endpoint, path: str, body: bytes | Poll | None = None, *, timeout_s: float | None = None
    ) -> Awaitable[Reply]:
        """See Transport. Whoever waits for the reply reports trouble with it."""
        return self._transport.send(endpoint, path, body, timeout_s=timeout_s)

    def failed(self, endpoint: Endpoint, error: Exception) -> None:
        """See Transport."""
        self._route.on_trouble()
        self._transport.failed(endpoint, error)
