"""One accepted socket: phases and their timers, WebSocket frames and the close, around a peer.

``websockets``' protocol without I/O implements RFC 6455; this module and ``upgrade`` are the only ones that know it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import NamedTuple, Protocol, cast

import structlog
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from appliance.config.schema import Gateway as Settings
from appliance.errors import GatewayError, OpenTimeout, PingTimeout, SlowClient
from appliance.gateway.gateway import Gateway
from appliance.gateway.outbox import SHOWN, LoggingTransport, Outbox
from appliance.gateway.peer import ConnectionSource, Peer
from appliance.gateway.recording.timeline import ConnectionEnd, EndedBy, Timeline
from appliance.gateway.sockets.closing import close_of, cut_reason, reason_of, record_end
from appliance.gateway.sockets.http import Route
from appliance.gateway.sockets.upgrade import Upgrade

_log = structlog.get_logger(__name__)
_library_log = logging.getLogger(f"{__name__}.websockets")
_library_log.setLevel(logging.WARNING)


class ConnectionOwner(Protocol):
    """The listener, as its connections use it."""

    gateway: Gateway
    settings: Settings

    @property
    def is_full(self) -> bool:
        """Whether a further client has to be rejected."""

    def accepted(self, connection: "Connection") -> None:
        """The socket was accepted."""

    def lost(self, connection: "Connection") -> None:
        """The socket is gone."""


class Phase(Enum):
    """How far a connection is. ``TIMERS`` has the limit of each. Phases are entered from the top down, but OPEN, PINGED
    and UNREAD alternate; from CLOSING only CLOSED follows.
    """

    REQUEST = auto()
    """Until the HTTP request is whole and answered."""
    UPGRADED = auto()
    """The WebSocket is established; until the client's opening message is verified."""
    JOINED = auto()
    """The client is registered; until the canister accepted it."""
    OPEN = auto()
    """Messages flow."""
    PINGED = auto()
    """A ping waits for any sign of life."""
    UNREAD = auto()
    """The session is open, but its socket is not read, because the client's messages wait for the IC. Its silence means
    nothing then. The calls that wait bound this phase: it ends when there is room, or when one of them expires."""
    STOPPING = auto()
    """The gateway stops before the request is whole: only the answer 503 is left."""
    CLOSING = auto()
    """The close frame or the HTTP rejection is written, or the client has ended its side."""
    CLOSED = auto()
    """The socket is gone."""


class Connection(asyncio.Protocol):
    """The shell of a peer (``peer.ConnectionHandle``). Whatever happens, ``connection_lost`` releases everything."""

    def __init__(self, owner: ConnectionOwner, generation: str) -> None:
        """``generation`` is the one at the path ``/`` of the address that accepted the socket."""
        self._owner = owner
        self._generation = generation
        self._settings = owner.settings
        self._loop = asyncio.get_running_loop()
        self._protocol = ServerProtocol(max_size=self._settings.max_frame, logger=_library_log)
        self._upgrade: Upgrade | None = None
        self._parts = bytearray()
        self._frames: deque[Frame] = deque()
        self._is_read = True
        self._trace = _log.is_enabled_for(logging.DEBUG)
        self._peer: Peer | None = None
        self._cause: Exception | None = None
        self._phase = Phase.REQUEST
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = self._begun_at = self._pinged_at = self._loop.time()

    @property
    def is_closing(self) -> bool:
        """Whether the socket ends, or has ended: nothing of the client counts any more."""
        return self._phase is Phase.CLOSING or self._phase is Phase.CLOSED

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket was accepted."""
        transport = cast("asyncio.Transport", transport)  # uvloop's transport does not inherit from it
        owner, gateway = self._owner, self._owner.gateway
        self._transport = transport
        self._outbox = Outbox(transport, self._settings.outbox)
        self._timeline = Timeline(gateway.clock())
        self._upgrade = Upgrade(
            self,
            self._protocol,
            transport,
            gateway,
            self._timeline,
            root=self._generation,
            is_full=lambda: owner.is_full,
        )
        owner.accepted(self)
        self._enter(Phase.REQUEST)

    def data_received(self, data: bytes) -> None:
        """Read bytes of the client. Whatever is wrong with them closes this socket and no other."""
        self._heard_at = self._loop.time()
        try:
            if self._upgrade is not None:
                data = self._upgrade.receive(data)
            if data:
                self._protocol.receive_data(data)
            self._handle_frames()
        except Exception as error:  # whatever it is, it ends this socket and no other
            self.close(error)

    def eof_received(self) -> None:
        """The client sends no more. The transport closes when everything is written, or is aborted in time."""
        self._protocol.receive_eof()
        self.begin_closing()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone: the one place where everything is released."""
        self._enter(Phase.CLOSED)
        self._frames.clear()
        self._is_read = True  # the calls of the client may go on, and there is nothing to read any more
        self._outbox.seal(drop=True)
        self._owner.lost(self)
        gateway = self._owner.gateway
        if self._peer is not None:
            gateway.connections.remove(self._peer)
            gateway.leave(self._peer)
            record_end(gateway, self._peer, self._end(), self._loop.time() - self._begun_at)
        gateway.recorder.ended(self._timeline)

    def pause_writing(self) -> None:
        """The transport is full."""
        self._outbox.pause()

    def resume_writing(self) -> None:
        """The transport takes bytes again."""
        self._outbox.resume()

    # --- peer.ConnectionHandle --------------------------------------------------------------------------------------

    def close(self, error: Exception) -> None:
        """Close the socket for this reason; the first one counts. Never raises."""
        if self.is_closing:
            return
        self._cause = error
        if not isinstance(error, GatewayError):
            _log.error("connection failed", peer=self._peer and self._peer.id, exc_info=error)
        if self._protocol.state is State.CONNECTING:
            if self._owner.gateway.stopping:
                self._enter(Phase.STOPPING)
            else:
                self._transport.abort()
            return
        if self._protocol.state is State.OPEN:
            code, reason = close_of(error)
            self._timeline.closing(self._owner.gateway.clock(), code, reason)
            self._protocol.send_close(code, cut_reason(reason))
        # A slow client would have to read everything that waits before the close frame: it gets the close frame only.
        self._outbox.seal(drop=isinstance(error, SlowClient))
        self.begin_closing()
        self.flush()

    def abort(self) -> None:
        """End the socket at once."""
        self._transport.abort()

    def joined(self) -> None:
        """The opening message was verified and the client registered: the canister has to accept it."""
        self._enter(Phase.JOINED)

    def opened(self) -> None:
        """The session is open."""
        self._enter(Phase.OPEN if self._is_read else Phase.UNREAD)

    def pause_reading(self) -> None:
        """Pass on no further message of the client until ``resume_reading``."""
        if self.is_closing or not self._is_read:
            return
        self._is_read = False
        self._transport.pause_reading()
        if self._phase is Phase.OPEN or self._phase is Phase.PINGED:
            self._enter(Phase.UNREAD)

    def resume_reading(self) -> None:
        """Pass on messages again. Does nothing unless they were paused."""
        if self._is_read:
            return
        self._is_read = True
        self._heard_at = self._loop.time()
        self._transport.resume_reading()
        if self._phase is Phase.UNREAD:
            self._enter(Phase.OPEN)
        self._loop.call_soon(self._read_on)  # not at once: this may be called while a frame is being handled

    def _read_on(self) -> None:
        try:
            self._handle_frames()
        except Exception as error:  # as in data_received
            self.close(error)

    # --- the upgrade (upgrade.UpgradeOwner) -------------------------------------------------------------------------

    def upgraded(self, route: Route, path: str) -> None:
        """The WebSocket is established: make the peer."""
        gateway = self._owner.gateway
        self._upgrade = None
        self._enter(Phase.UPGRADED)
        self._peer = Peer(
            gateway.session(route.generation),
            self._outbox,
            connection=self,
            services=gateway,
            canister_id=route.canister_id,
            source=ConnectionSource(self._timeline.address, path.partition("?")[0], gateway.clock()),
            timeline=self._timeline,
        )
        self._timeline.upgraded(gateway.clock(), path, route.generation)
        gateway.recorder.began(self._timeline)
        gateway.connections.add(self._peer)
        if self._trace:
            self._outbox.redirect(LoggingTransport(self._transport, self._peer.id))
        self._peer.connect()

    def begin_closing(self) -> None:
        """From here on the client's messages are ignored, and the socket ends within ``close_timeout``."""
        if not self.is_closing:
            self._outbox.seal()
            self._enter(Phase.CLOSING)
            self._frames.clear()
            self.resume_reading()  # for the client's close frame

    # --- frames -----------------------------------------------------------------------------------------------------

    def _handle_frames(self) -> None:
        self._frames.extend(event for event in self._protocol.events_received() if isinstance(event, Frame))
        while self._frames and self._is_read:
            self._handle_frame(self._frames.popleft())
        self.flush()
        if self._protocol.close_expected() or self._protocol.state is State.CLOSED:
            self._outbox.seal()
            if not self._frames:  # what the client sent before its close frame is relayed first
                self.begin_closing()

    def _handle_frame(self, frame: Frame) -> None:
        # Control frames (above BINARY) are answered by the library.
        if self.is_closing or self._peer is None or frame.opcode > Opcode.BINARY:
            return
        if frame.opcode is Opcode.TEXT:
            self._peer.receive_text()
            return
        if not frame.fin:
            self._parts += frame.data
            return
        message = bytes(self._parts + frame.data if self._parts else frame.data)
        self._parts.clear()
        gateway = self._owner.gateway
        gateway.counters.frames += 1
        if self._trace:
            _log.debug("< frame", peer=self._peer.id, bytes=len(message), begins=message[:SHOWN].hex())
        self._peer.receive(message, now_ns=gateway.clock())

    def flush(self) -> None:
        """Write what the library has ready; an empty chunk is the end of our side."""
        for chunk in self._protocol.data_to_send():
            if chunk:
                self._outbox.put_control(chunk)
            else:
                self._outbox.finish(self._end_writing)

    def _end_writing(self) -> None:
        # TLS has no half-closed sockets.
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        else:
            self._transport.close()

    # --- phases and timers ------------------------------------------------------------------------------------------

    def _enter(self, phase: Phase, *, seconds: float | None = None) -> None:
        """Begin a phase and its timer, of ``seconds`` where its own limit is not meant.

        A connection that closes does not leave that phase but by its end: the canister may accept a client, or a plugin
        decide, after the close began, and must not replace the timer that ends the socket.
        """
        if phase is not Phase.CLOSED and self.is_closing:
            return
        self._phase = phase
        timer = TIMERS[phase]
        if timer.continues:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if timer.limit_s is not None:
            seconds = timer.limit_s(self._settings) if seconds is None else seconds
            self._timer = self._loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        try:
            TIMERS[self._phase].act(self)
        except Exception as error:  # a timer has nobody to raise to
            self.close(error)

    def _reject_request(self) -> None:
        if self._upgrade is not None:
            self._upgrade.time_out()

    def _close_unjoined(self) -> None:
        opens_with = "" if self._peer is None else self._peer.session.opens_with
        self.close(OpenTimeout(self._settings.handshake_timeout, opens_with))

    def _close_unopened(self) -> None:
        self.close(OpenTimeout(self._settings.open_timeout, "answer of the canister"))

    def _ping_if_silent(self) -> None:
        # A time is noted for every read instead of a timer started: reads are frequent and pings are not.
        silent = self._loop.time() - self._heard_at
        if silent < self._settings.ping_interval:
            self._enter(Phase.OPEN, seconds=self._settings.ping_interval - silent)
            return
        self._timeline.pinged(self._owner.gateway.clock())
        self._protocol.send_ping(b"")
        self.flush()
        self._pinged_at = self._loop.time()
        self._enter(Phase.PINGED)

    def _check_pong(self) -> None:
        # Any byte of the client is as good as the pong.
        if self._heard_at < self._pinged_at:
            self.close(PingTimeout(self._settings.ping_timeout))
        else:
            self._ping_if_silent()

    # --- the end ----------------------------------------------------------------------------------------------------

    def _end(self) -> ConnectionEnd:
        sent = self._protocol.close_sent
        by: EndedBy = "gateway" if self._cause else "client" if self._protocol.close_rcvd else "network"
        code = sent.code if sent is not None else 1006
        return ConnectionEnd(self._owner.gateway.clock(), code, by, self._close_reason(), reason_of(self._cause))

    def _close_reason(self) -> str:
        if self._cause is not None:
            return str(self._cause)
        received = self._protocol.close_rcvd
        if received is not None:
            return f"client: {received.reason}" if received.reason else "client"
        return str(self._protocol.parser_exc or "connection lost")


class Timer(NamedTuple):
    """The limit of a phase: its length by the settings, None for no limit, and what happens at its end.

    With ``continues`` the timer of the phase before goes on, and acts as this phase has it.
    """

    limit_s: Callable[[Settings], float] | None
    act: Callable[[Connection], None]
    continues: bool = False


TIMERS: Mapping[Phase, Timer] = {
    Phase.REQUEST: Timer(lambda settings: settings.handshake_timeout, Connection._reject_request),
    # The limit of REQUEST covers the opening message too: a limit for each would give a slow client twice the time.
    Phase.UPGRADED: Timer(None, Connection._close_unjoined, continues=True),
    Phase.JOINED: Timer(lambda settings: settings.open_timeout, Connection._close_unopened),
    Phase.OPEN: Timer(lambda settings: settings.ping_interval, Connection._ping_if_silent),
    Phase.PINGED: Timer(lambda settings: settings.ping_timeout, Connection._check_pong),
    Phase.UNREAD: Timer(None, Connection.abort),
    # Whoever sends its request now gets 503 with Retry-After; aborting would be a reset without a reason.
    Phase.STOPPING: Timer(lambda settings: settings.close_timeout, Connection.abort),
    Phase.CLOSING: Timer(lambda settings: settings.close_timeout, Connection.abort),
    Phase.CLOSED: Timer(None, Connection.abort),
}
"""The one timer of a connection, by phase."""
