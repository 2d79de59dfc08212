"""The HTTP phase of a connection: reads the request, asks limits, configuration and plugins, and answers."""

from collections.abc import Callable, Mapping
from typing import Protocol

from appliance.errors import Malformed, RefusedByPlugin, TooLarge
from appliance.gateway.gateway import Gateway
from appliance.gateway.hooks import HealthCheck, PluginDecision
from appliance.gateway.limits.rate_limits import network_of
from appliance.gateway.recording.timeline import Timeline
from appliance.gateway.sockets.accepting.arrivals import Accepted
from appliance.gateway.sockets.frame_parser import FrameParser
from appliance.gateway.sockets.handshake import accept, reject
from appliance.gateway.sockets.http import (
    FULL,
    HEALTH_PATHS,
    NO_REQUEST,
    NOT_ACCEPTING,
    HttpRejection,
    Route,
    check_upgrade,
    client_address,
    rejection_by_address,
    rejection_by_error,
    rejection_by_limit,
    rejection_by_plugin,
    upgrade_request,
)
from appliance.gateway.sockets.reading import Pause, Reading
from appliance.gateway.sockets.refusals import MAX_TEXT, Refusal, Refusals
from appliance.gateway.sockets.request_head import RequestHead, RequestHeadReader, parse_request


class UpgradeOwner(Protocol):
    """The connection, as its upgrade uses it."""

    @property
    def is_closing(self) -> bool:
        """Whether it ends anyway."""

    def data_received(self, data: bytes) -> None:
        """Read bytes of the client."""

    def hold(self, number: int) -> None:
        """Count bytes that are kept for the client, or fewer where negative."""

    def flush(self) -> None:
        """Write what the library has ready."""

    def upgraded(self, route: Route, path: str) -> None:
        """The request was granted and the answer is written: from here on frames are read."""

    def begin_closing(self) -> None:
        """The request was not granted."""

    def close(self, error: Exception) -> None:
        """Close for this reason."""


class UpgradeHost(Protocol):
    """The listener, as upgrades use it."""

    gateway: Gateway
    refusals: Refusals
    health: HealthCheck | None
    """Answers monitors; None while the gateway starts."""

    @property
    def is_full(self) -> bool:
        """Whether a further client has to be rejected."""


class Upgrade:
    """The HTTP request of one connection, from its first byte to the answer. ``root`` is the generation at ``/``,
    ``accepted`` the socket.
    """

    def __init__(
        self,
        owner: UpgradeOwner,
        parser: FrameParser,
        reading: Reading,
        timeline: Timeline,
        *,
        host: UpgradeHost,
        root: str,
        accepted: Accepted,
    ) -> None:
        self._owner = owner
        self._parser = parser
        self._reading = reading
        self._host = host
        self._gateway = host.gateway
        self._timeline = timeline
        self._root = root
        self._accepted = accepted
        self._reader: RequestHeadReader | None = RequestHeadReader()
        self._request: RequestHead | None = None
        self._request_bytes = 0
        self._held: bytearray | None = None
        self._counted = 0

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the client; returns those behind the request that the library may read now."""
        if self._reader is not None:
            data = self._read_request(self._reader, data)
        if self._held is not None:
            self._held += data
            data = b""
        self._count()
        return b"" if self._owner.is_closing else data

    def end(self) -> None:
        """Keep nothing any more: the request was granted, or the socket is gone."""
        self._reader, self._request_bytes, self._held = None, 0, None
        self._count()

    def _count(self) -> None:
        """Count what is kept: the beginning of a request or the whole of it, and the bytes behind it."""
        number = self._request_bytes + (len(self._reader) if self._reader else 0) + len(self._held or b"")
        if number != self._counted:
            self._owner.hold(number - self._counted)
            self._counted = number

    def time_out(self) -> None:
        """The request is not whole, or plugins have not decided, within the time for it."""
        self._reject(NO_REQUEST)

    def _read_request(self, reader: RequestHeadReader, data: bytes) -> bytes:
        try:
            whole = reader.feed(data)
            if whole is None:
                return b""
            self._reader = None
            self._request = parse_request(whole[0])
            self._request_bytes = len(whole[0])
        except (Malformed, TooLarge) as error:
            self._reject(self._check_rate() or rejection_by_error(error))
            return b""
        if self._gateway.config.gateway.health and (path := self._request.path.partition("?")[0]) in HEALTH_PATHS:
            self._check_health(self._request, path)
        else:
            self._check(self._request)
        return whole[1]

    def _check_health(self, request: RequestHead, path: str) -> None:
        """Answer a monitor: whoever it says it is, and however many connect from its address."""
        if request.method not in ("GET", "HEAD"):
            text = f"{path} takes GET and HEAD, not {request.method[:40]}.\n"
            self._reject(HttpRejection(405, text, "method", {"Allow": "GET, HEAD"}))
            return
        self._hold()
        self._gateway.tasks.start(self._report_health(path))

    async def _report_health(self, path: str) -> None:
        health = self._host.health
        is_ok = health is not None and await health(path)
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        text = '{"status":"ok"}\n' if is_ok else '{"status":"failing"}\n'
        self._go_on(lambda: self._respond(200 if is_ok else 503, text, headers))

    def _check(self, request: RequestHead) -> None:
        gateway = self._gateway
        # The rate limit first: it also bounds requests that are rejected for other reasons.
        verdict = (
            self._check_rate()
            or self._check_held(self._timeline.address)
            or check_upgrade(request, self._root, gateway.config, not_accepting=self._not_accepting())
        )
        if isinstance(verdict, Route) and (admit := gateway.hooks.admit) is not None:
            self._hold()
            visit = upgrade_request(self._timeline.address, request, verdict)
            gateway.tasks.start(self._decide(admit(visit), request, verdict))
        else:
            self._answer(request, verdict)

    def _check_rate(self) -> HttpRejection | None:
        gateway = self._gateway
        self._timeline.address = address = self._address_of(self._request)
        if (exceeded := gateway.limits.connection(address)) is None:
            return None
        exceeded.record(self._timeline, gateway.event_bus, gateway.clock())
        return rejection_by_limit(exceeded) if exceeded.is_enforced else None

    def _check_held(self, address: str) -> HttpRejection | None:
        account, holding = self._gateway.limits.holdings.address, self._accepted.holding
        holding.move(network_of(address))
        share = holding.of_address
        if share is None or not account.exceeds(share):
            return None
        return rejection_by_address(address, share.connections - 1, account.limit.connections)

    def _not_accepting(self) -> HttpRejection | None:
        if not self._host.is_full:
            return None
        return FULL if self._gateway.is_accepting else NOT_ACCEPTING

    def _address_of(self, request: RequestHead | None) -> str:
        forwarded_for = None
        if request is not None and self._accepted.may_forward:
            forwarded_for = request.joined("x-forwarded-for")
        trusted = self._gateway.config.gateway.trusted_proxies
        return client_address(self._accepted.peer, forwarded_for, trusted)

    def _hold(self) -> None:
        """Wait for an answer that takes time. Reading pauses, so that a client cannot fill memory meanwhile; the bytes
        that came with the request are kept, for a transport may still deliver what it has read.
        """
        self._held = bytearray()
        self._reading.pause(Pause.UPGRADE)

    async def _decide(self, decision: PluginDecision, request: RequestHead, route: Route) -> None:
        verdict: Route | HttpRejection = route
        try:
            await decision
        except RefusedByPlugin as refusal:
            verdict = rejection_by_plugin(refusal)
        # The gateway may have filled up, or begun to stop, while the plugins decided.
        self._go_on(lambda: self._answer(request, self._not_accepting() or verdict))

    def _go_on(self, answer: Callable[[], None]) -> None:
        """Give the answer, and read again."""
        if self._owner.is_closing:
            return
        held, self._held = self._held or b"", None
        try:
            answer()
            self._owner.data_received(bytes(held))
        except Exception as error:  # a task has nobody to raise to
            self._owner.close(error)
        self._reading.resume(Pause.UPGRADE)  # after an error too: the end of the client is still to be read

    def _answer(self, request: RequestHead, verdict: Route | HttpRejection) -> None:
        if isinstance(verdict, HttpRejection):
            self._reject(verdict)
            return
        response = accept(request)
        if isinstance(response, HttpRejection):  # a key that is none, for example
            self._reject(response)
            return
        self._parser.opened(response)
        self._owner.flush()
        self._owner.upgraded(verdict, request.path)

    def _reject(self, rejection: HttpRejection) -> None:
        self._reader, cause = None, rejection.text.strip()
        self._record(rejection.reason, cause, rejection.status)
        self._gateway.counters.rejected_requests[rejection.status] += 1
        self._timeline.turned_away(self._gateway.clock(), rejection.status, cause)
        self._respond(rejection.status, rejection.text, rejection.headers)

    def _respond(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        """Answer, and let the client close the socket: closing it here could reset it before the answer is read."""
        has_body = self._request is None or self._request.method != "HEAD"
        self._parser.rejected(reject(status, text, headers, has_body=has_body))
        self._owner.flush()
        self._owner.begin_closing()
        self._held = None
        self._reading.resume(
            Pause.UPGRADE
        )  # late: a plugin's decision will come to nothing, but the client's end is seen

    def _record(self, reason: str, cause: str, status: int | None) -> None:
        now_ns, request = self._gateway.clock(), self._request
        if not self._timeline.address:
            self._timeline.address = self._address_of(request)
        refusal = Refusal(self._timeline.id, now_ns, self._timeline.address, reason, cause, status)
        if request is not None:
            path, origin = request.path.partition("?")[0], request.get("origin")
            refusal = refusal._replace(path=path[:MAX_TEXT], origin=origin and origin[:MAX_TEXT])
        self._host.refusals.reject(refusal)
