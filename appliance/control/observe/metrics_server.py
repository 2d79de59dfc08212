"""Serves the metrics at an address of their own, read-only: a scraper needs no rights at the control plane."""

import asyncio
from collections.abc import Callable
from typing import Self

import structlog
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from appliance import task_end
from appliance.config.fields.address import TcpAddress, UnixAddress
from appliance.control.http.server import Permissions, Server

_log = structlog.get_logger(__name__)

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
RETRY_S = 10.0
"""Until an address that is taken is tried again."""
PERMISSIONS = Permissions(0o666)
"""Of a Unix socket: whoever reaches its folder may read."""


class MetricsServer:
    """An async context that serves ``/metrics``. An address that cannot be bound is tried again, and is no error:
    clients are not to suffer from a port that another exporter has.
    """

    def __init__(
        self, render: Callable[[], bytes], address: TcpAddress | UnixAddress, *, retry_s: float = RETRY_S
    ) -> None:
        self.url = ""
        """Where it serves, empty while it cannot."""
        self._render = render
        self._address = address
        self._retry_s = retry_s
        self._error: OSError | None = None
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._serve())
        await self._tried.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            await task_end.cancel(self._task)

    def problem(self) -> str | None:
        """Why metrics are not served, None if they are."""
        if self._error is None:
            return None
        return f"metrics.listen: {self._error.strerror}; the gateway runs without and tries again"

    async def _serve(self) -> None:
        while True:
            try:
                async with Server(self._answer, self._address, "metrics", PERMISSIONS) as server:
                    self.url, self._error = server.url, None
                    self._tried.set()
                    await asyncio.Event().wait()  # until cancelled
            except OSError as error:
                if self._error is None:
                    _log.error("metrics are not served", address=str(self._address), cause=error.strerror)
                self._error = error
                self._tried.set()
                await asyncio.sleep(self._retry_s)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._response(scope)(scope, receive, send)

    def _response(self, scope: Scope) -> Response:
        if scope["path"] not in ("/", "/metrics"):
            return PlainTextResponse("Metrics are at /metrics.\n", 404)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("Metrics are only read.\n", 405, {"Allow": "GET, HEAD"})
        return Response(self._render(), media_type=METRICS_TYPE)
