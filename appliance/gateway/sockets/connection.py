"""One accepted socket: HTTP upgrade, WebSocket frames, timers and the close, around a peer.

``websockets``' protocol without I/O does RFC 6455; this module and the listener are the only ones that know it.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus
from typing import Protocol, cast

import structlog
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from appliance.config.schema import Gateway as Settings
from appliance.errors import GatewayError, OpenTimeout, PingTimeout, RefusedByPlugin, SlowClient, TooLarge
from appliance.gateway.gateway import Gateway
from appliance.gateway.hooks import Deciding, Ending
from appliance.gateway.outbox import SHOWN, Outbox, Traced
from appliance.gateway.peer import Origin, Peer
from appliance.gateway.recording.timeline import ConnectionEnd, EndedBy, Timeline
from appliance.gateway.sockets.client_address import remote_address
from appliance.gateway.sockets.close_frames import COMMON_CODES, close_of, cut_reason, reason_of
from appliance.gateway.sockets.request_head import TOO_LATE, TOO_LONG, Head
from appliance.gateway.sockets.routes import Route
from appliance.gateway.sockets.upgrade import FULL, TurnedAway, judge, too_many, turned_away_by, visit_of

_log = structlog.get_logger(__name__)
_library_log = logging.getLogger(f"{__name__}.websockets")
_library_log.setLevel(logging.WARNING)


class Host(Protocol):
    """The listener, as its connections know it."""

    gateway: Gateway
    settings: Settings

    @property
    def is_full(self) -> bool:
        """Whether a further client has to be turned away."""

    def accepted(self, connection: "Connection") -> None:
        """The socket is there."""

    def lost(self, connection: "Connection") -> None:
        """The socket is gone."""


class Connection(asyncio.Protocol):
    """The shell of a peer. Whatever happens, ``connection_lost`` releases everything."""

    def __init__(self, host: Host, generation: str) -> None:
        """``generation`` is what is spoken at the path ``/`` of the address that accepted the socket."""
        self._host = host
        self._generation = generation
        self.address = ""
        """Of the client, known from the upgrade on."""
        self._settings = host.settings
        self._loop = asyncio.get_running_loop()
        self._protocol = ServerProtocol(max_size=self._settings.max_frame, logger=_library_log)
        self._head: Head | None = Head()
        self._parts = bytearray()
        self._held: bytearray | None = None
        self._trace = _log.is_enabled_for(logging.DEBUG)
        self._peer: Peer | None = None
        self._cause: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._heard_at = self._begun_at = self._loop.time()

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket was accepted."""
        transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._transport = transport
        self._outbox = Outbox(transport, self._settings.outbox)
        self._timeline = Timeline(self._host.gateway.clock())
        self._host.accepted(self)
        self._arm(self._settings.handshake_timeout, self._late)

    def data_received(self, data: bytes) -> None:
        """Bytes came. What goes wrong with them closes the socket."""
        self._heard_at = self._loop.time()
        try:
            if self._head is not None:
                data = self._read_head(self._head, data)
            if self._held is not None:
                self._held += data
            elif data:
                self._protocol.receive_data(data)
                self._handle_events()
        except Exception as error:  # whatever it is, it ends this socket and no other
            self.close(error)

    def eof_received(self) -> None:
        """The client sends no more; the transport closes when everything is written, or is aborted in time."""
        self._protocol.receive_eof()
        self._begin_closing()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone: the one place where everything is released."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._outbox.seal(drop=True)
        self._host.lost(self)
        if self._peer is not None:
            self._host.gateway.connections.remove(self._peer)
            self._host.gateway.leave(self._peer)
            self._report(self._peer)
        self._host.gateway.recorder.ended(self._timeline)

    def pause_writing(self) -> None:
        """The transport is full."""
        self._outbox.pause()

    def resume_writing(self) -> None:
        """The transport takes bytes again."""
        self._outbox.resume()

    # --- Shell ------------------------------------------------------------------------------------------------------

    def close(self, error: Exception) -> None:
        """Close the socket for this reason; the first one counts. Never raises."""
        if self._closing:
            return
        self._cause = error
        if not isinstance(error, GatewayError):
            _log.error("connection failed", peer=self._peer and self._peer.id, exc_info=error)
        if self._protocol.state is State.CONNECTING:
            if self._host.gateway.stopping:  # who comes now is told so when it asks, instead of being reset
                self._arm(self._settings.close_timeout, self._transport.abort)
            else:
                self._transport.abort()
            return
        if self._protocol.state is State.OPEN:
            code, told = close_of(error)
            self._timeline.closing(self._host.gateway.clock(), code, told)
            self._protocol.send_close(code, cut_reason(told))
        self._outbox.seal(drop=isinstance(error, SlowClient))
        self._begin_closing()
        self._flush()

    def abort(self) -> None:
        """End the socket at once."""
        self._transport.abort()

    def joined(self) -> None:
        """The opening message was accepted: now it is the canister's turn."""
        self._arm(self._settings.open_timeout, self._late)

    def opened(self) -> None:
        """The session is open: from now on only silence is watched."""
        self._arm(self._settings.ping_interval, self._watch_silence)

    # --- the HTTP upgrade -------------------------------------------------------------------------------------------

    def _read_head(self, head: Head, data: bytes) -> bytes:
        """Collect the HTTP request and answer it; returns what came behind it.

        Frames that a client sends before it has the answer must not be looked at before the answer is written.
        """
        try:
            whole = head.feed(data)
        except TooLarge:
            self._refuse(TOO_LONG)
            return b""
        if whole is None:
            return b""
        self._head = None
        self._protocol.receive_data(whole[0])
        self._handle_events()
        return whole[1]

    def _upgrade(self, request: Request) -> None:
        self.address = self._timeline.address = self._remote(request)
        origin, config = request.headers.get("Origin"), self._host.gateway.config
        verdict = self._limited() or judge(request.path, origin, self._generation, config, is_full=self._host.is_full)
        if isinstance(verdict, Route) and (admit := self._host.gateway.hooks.admit) is not None:
            visit = visit_of(self.address, request.path, request.headers.raw_items(), verdict)
            self._hold(admit(visit), request, verdict)
        else:
            self._answer(request, verdict)

    def _limited(self) -> TurnedAway | None:
        gateway = self._host.gateway
        if (exceeded := gateway.limits.connection(self.address)) is None:
            return None
        exceeded.record(self._timeline, gateway.event_bus, gateway.clock())
        return too_many(exceeded) if exceeded.is_enforced else None

    def _answer(self, request: Request, verdict: Route | TurnedAway) -> None:
        if isinstance(verdict, Route):
            response = self._protocol.accept(request)
        else:
            response = self._protocol.reject(verdict.status, verdict.text)
            response.headers.update(verdict.headers)
        self._protocol.send_response(response)
        self._flush()
        if isinstance(verdict, Route) and response.status_code == 101:
            self._begin(verdict, request.path)
        else:
            self._turned_away(response)

    def _hold(self, deciding: Deciding, request: Request, leads_to: Route) -> None:
        """Wait for the plugins that decide. Meanwhile nothing is read, and what came with the request is kept."""
        self._held = bytearray()
        self._transport.pause_reading()
        self._host.gateway.tasks.start(self._decide(deciding, request, leads_to))

    async def _decide(self, deciding: Deciding, request: Request, leads_to: Route) -> None:
        verdict: Route | TurnedAway = leads_to
        try:
            await deciding
        except RefusedByPlugin as refusal:
            verdict = turned_away_by(refusal)
        if self._closing:
            return
        held, self._held = self._held or b"", None
        try:
            self._answer(request, FULL if self._host.is_full else verdict)
            self._transport.resume_reading()
            self.data_received(bytes(held))
        except Exception as error:  # a task has nobody to raise to
            self.close(error)

    def _remote(self, request: Request) -> str:
        forwarded_for = ",".join(request.headers.get_all("X-Forwarded-For"))
        trusted = self._host.gateway.config.gateway.trusted_proxies
        return remote_address(self._transport.get_extra_info("peername"), forwarded_for, trusted)

    def _begin(self, leads_to: Route, path: str) -> None:
        gateway = self._host.gateway
        self._peer = Peer(
            gateway.session(leads_to.generation),
            self._outbox,
            shell=self,
            home=gateway,
            settings=self._settings,
            canister_id=leads_to.canister_id,
            origin=Origin(self.address, path.partition("?")[0], gateway.clock()),
            timeline=self._timeline,
        )
        self._timeline.upgraded(gateway.clock(), path, leads_to.generation)
        gateway.recorder.began(self._timeline)
        gateway.connections.add(self._peer)
        if self._trace:
            self._outbox.redirect(Traced(self._transport, self._peer.id))
        self._peer.connect()

    def _turned_away(self, response: Response) -> None:
        self._host.gateway.counters.rejected_requests[response.status_code] += 1
        cause = response.body.decode(errors="replace").strip()
        self._timeline.turned_away(self._host.gateway.clock(), response.status_code, cause)
        self._begin_closing()

    def _refuse(self, response: bytes) -> None:
        status = int(response[9:12])
        self._host.gateway.counters.rejected_requests[status] += 1
        self._timeline.turned_away(self._host.gateway.clock(), status, HTTPStatus(status).phrase)
        self._head = Head()
        self._transport.write(response)
        self._transport.close()
        self._begin_closing()

    # --- frames -----------------------------------------------------------------------------------------------------

    def _handle_events(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._handle_frame(event)
            elif isinstance(event, Request):
                self._upgrade(event)
        self._flush()
        if self._protocol.close_expected() or self._protocol.state is State.CLOSED:
            self._begin_closing()

    def _handle_frame(self, frame: Frame) -> None:
        if self._closing or self._peer is None or frame.opcode > Opcode.BINARY:
            return
        if frame.opcode is Opcode.TEXT:
            self._peer.receive_text()
            return
        if not frame.fin:
            self._parts += frame.data
            return
        message = bytes(self._parts + frame.data if self._parts else frame.data)
        self._parts.clear()
        self._host.gateway.counters.frames += 1
        if self._trace:
            _log.debug("< frame", peer=self._peer.id, bytes=len(message), begins=message[:SHOWN].hex())
        self._peer.receive(message, now_ns=self._host.gateway.clock())

    def _flush(self) -> None:
        """Pass on what the library wants written; an empty chunk is the end of our side."""
        for chunk in self._protocol.data_to_send():
            if chunk:
                self._outbox.put_control(chunk)
            else:
                self._outbox.finish(self._end)

    def _end(self) -> None:
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        else:
            self._transport.close()

    # --- timers -----------------------------------------------------------------------------------------------------

    def _arm(self, seconds: float, act: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if self._closing else self._loop.call_later(seconds, act)

    def _late(self) -> None:
        if self._peer is None:
            self._refuse(TOO_LATE)
        elif self._peer.join is None:
            self.close(OpenTimeout(self._settings.handshake_timeout, self._peer.session.opens_with))
        else:
            self.close(OpenTimeout(self._settings.open_timeout, "answer of the canister"))

    def _watch_silence(self) -> None:
        silent = self._loop.time() - self._heard_at
        if silent < self._settings.ping_interval:
            self._arm(self._settings.ping_interval - silent, self._watch_silence)
            return
        try:
            self._timeline.pinged(self._host.gateway.clock())
            self._protocol.send_ping(b"")
            self._flush()
        except Exception as error:  # a timer has nobody to raise to
            self.close(error)
            return
        self._pinged_at = self._loop.time()
        self._arm(self._settings.ping_timeout, self._expect_pong)

    def _expect_pong(self) -> None:
        if self._heard_at < self._pinged_at:
            self.close(PingTimeout(self._settings.ping_timeout))
        else:
            self._watch_silence()

    def _begin_closing(self) -> None:
        """From here on the client's messages are ignored, and the socket ends within the time for closing."""
        if self._closing:
            return
        self._outbox.seal()
        self._arm(self._settings.close_timeout, self._transport.abort)
        self._closing = True

    # --- the timeline ------------------------------------------------------------------------------------------------

    def _report(self, peer: Peer) -> None:
        counters = self._host.gateway.counters
        sent = self._protocol.close_sent
        code = sent.code if sent is not None else 1006
        counters.closed[code if self._cause or code in COMMON_CODES else 0] += 1
        if (reason := reason_of(self._cause)) is not None:
            counters.refused[reason] += 1
        timeline, told, seconds = self._timeline, self._told(), self._loop.time() - self._begun_at
        _log.info(
            "connection closed",
            peer=peer.id,
            canister=timeline.canister,
            client=timeline.client,
            code=code,
            cause=told,
            seconds=round(seconds, 3),
        )
        by: EndedBy = "gateway" if self._cause else "client" if self._protocol.close_rcvd else "network"
        timeline.ended(ConnectionEnd(self._host.gateway.clock(), code, by, told, reason))
        if (tell := self._host.gateway.hooks.close) is not None:
            tell(peer.who, Ending(code, told, reason, seconds, timeline.delivered))
        if timeline.opened_at_ns is not None:
            facts = asdict(peer.who) | {"code": code, "cause": told, "delivered": timeline.delivered}
            self._host.gateway.event_bus.publish("session.closed", **facts)

    def _told(self) -> str:
        if self._cause is not None:
            return str(self._cause)
        received = self._protocol.close_rcvd
        if received is not None:
            return f"client: {received.reason}" if received.reason else "client"
        return str(self._protocol.parser_exc or "connection lost")
