"""Answers HEAD like GET without the body, which the server drops (RFC 9110 section 9.3.2)."""

from starlette.types import ASGIApp, Receive, Scope, Send

ENDLESS = frozenset({"/v1/events"})
"""Paths whose answer to GET does not end."""


class HeadAsGet:
    """ASGI middleware: monitors and balancers ask with HEAD, and routes are declared for GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        is_head = scope["type"] == "http" and scope["method"] == "HEAD" and scope["path"] not in ENDLESS
        await self._app({**scope, "method": "GET"} if is_head else scope, receive, send)
