"""The HTTP phase of a connection: reads the request, asks limits, configuration and plugins, and answers."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from appliance.errors import RefusedByPlugin, TooLarge
from appliance.gateway.gateway import Gateway
from appliance.gateway.hooks import PluginDecision
from appliance.gateway.recording.timeline import Timeline
from appliance.gateway.sockets.http import (
    NOT_ACCEPTING,
    RESPONSE_408,
    RESPONSE_431,
    HttpRejection,
    RequestHeadReader,
    Route,
    check_upgrade,
    client_address,
    rejection_by_limit,
    rejection_by_plugin,
    upgrade_request,
)


class UpgradeOwner(Protocol):
    """The connection, as its upgrade uses it."""

    @property
    def is_closing(self) -> bool:
        """Whether it ends anyway."""

    def data_received(self, data: bytes) -> None:
        """Read bytes of the client."""

    def flush(self) -> None:
        """Write what the library has ready."""

    def upgraded(self, route: Route, path: str) -> None:
        """The request was granted and the answer is written: from here on frames are read."""

    def begin_closing(self) -> None:
        """The request was not granted."""

    def close(self, error: Exception) -> None:
        """Close for this reason."""


class Upgrade:
    """The HTTP request of one connection, from its first byte to the answer.

    ``root`` is the generation at the path ``/``, ``is_full`` whether a further client has to be rejected.
    """

    def __init__(
        self,
        owner: UpgradeOwner,
        protocol: ServerProtocol,
        transport: asyncio.Transport,
        gateway: Gateway,
        timeline: Timeline,
        *,
        root: str,
        is_full: Callable[[], bool],
    ) -> None:
        self._owner = owner
        self._protocol = protocol
        self._transport = transport
        self._gateway = gateway
        self._timeline = timeline
        self._root = root
        self._is_full = is_full
        self._reader: RequestHeadReader | None = RequestHeadReader()
        self._held: bytearray | None = None
        self._is_refused = False

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the client; returns those behind the request that the library may read now."""
        if self._reader is not None:
            data = self._read_request(self._reader, data)
        if self._held is not None:
            self._held += data
            return b""
        return b"" if self._is_refused else data

    def time_out(self) -> None:
        """The request is not whole, or plugins have not decided, within the time for it."""
        self._refuse(RESPONSE_408)

    def _read_request(self, reader: RequestHeadReader, data: bytes) -> bytes:
        try:
            whole = reader.feed(data)
        except TooLarge:
            self._refuse(RESPONSE_431)
            return b""
        if whole is None:
            return b""
        self._reader = None
        request, behind = whole
        self._protocol.receive_data(request)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._check(event)
        return behind

    def _check(self, request: Request) -> None:
        gateway, origin = self._gateway, request.headers.get("Origin")
        self._timeline.address = address = self._address_of(request)
        # The rate limit first: it also bounds requests that are rejected for other reasons.
        verdict = self._check_rate(address) or check_upgrade(
            request.path, origin, self._root, gateway.config, is_full=self._is_full()
        )
        if isinstance(verdict, Route) and (admit := gateway.hooks.admit) is not None:
            visit = upgrade_request(address, request.path, request.headers.raw_items(), verdict)
            self._hold(admit(visit), request, verdict)
        else:
            self._answer(request, verdict)

    def _check_rate(self, address: str) -> HttpRejection | None:
        gateway = self._gateway
        if (exceeded := gateway.limits.connection(address)) is None:
            return None
        exceeded.record(self._timeline, gateway.event_bus, gateway.clock())
        return rejection_by_limit(exceeded) if exceeded.is_enforced else None

    def _address_of(self, request: Request) -> str:
        forwarded_for = ",".join(request.headers.get_all("X-Forwarded-For"))
        trusted = self._gateway.config.gateway.trusted_proxies
        return client_address(self._transport.get_extra_info("peername"), forwarded_for, trusted)

    def _hold(self, decision: PluginDecision, request: Request, route: Route) -> None:
        """Wait for the plugins. Reading pauses, so that a client cannot fill memory meanwhile; the bytes that came with
        the request are kept, for a transport may still deliver what it has read.
        """
        self._held = bytearray()
        self._transport.pause_reading()
        self._gateway.tasks.start(self._decide(decision, request, route))

    async def _decide(self, decision: PluginDecision, request: Request, route: Route) -> None:
        verdict: Route | HttpRejection = route
        try:
            await decision
        except RefusedByPlugin as refusal:
            verdict = rejection_by_plugin(refusal)
        if self._owner.is_closing:
            return
        held, self._held = self._held or b"", None
        try:
            # The gateway may have filled up, or begun to stop, while the plugins decided.
            self._answer(request, NOT_ACCEPTING if self._is_full() else verdict)
            self._transport.resume_reading()
            self._owner.data_received(bytes(held))
        except Exception as error:  # a task has nobody to raise to
            self._owner.close(error)

    def _answer(self, request: Request, verdict: Route | HttpRejection) -> None:
        if isinstance(verdict, Route):
            response = self._protocol.accept(request)
        else:
            response = self._protocol.reject(verdict.status, verdict.text)
            response.headers.update(verdict.headers)
        self._protocol.send_response(response)
        self._owner.flush()
        # The library itself rejects what is no valid handshake, e.g. with 426.
        if isinstance(verdict, Route) and response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._owner.upgraded(verdict, request.path)
        else:
            self._rejected(response)

    def _rejected(self, response: Response) -> None:
        cause = response.body.decode(errors="replace").strip()
        self._record_rejection(response.status_code, cause)
        self._owner.begin_closing()

    def _refuse(self, response: bytes) -> None:
        """Answer a request that the library never saw whole, so that it cannot answer itself."""
        status = HTTPStatus(int(response[9:12]))
        self._record_rejection(status, status.phrase)
        self._is_refused, self._reader = True, None
        self._transport.write(response)
        self._transport.close()
        self._owner.begin_closing()

    def _record_rejection(self, status: int, cause: str) -> None:
        self._gateway.counters.rejected_requests[int(status)] += 1
        self._timeline.turned_away(self._gateway.clock(), int(status), cause)
