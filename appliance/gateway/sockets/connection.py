"""One accepted socket: phases and their timers, WebSocket frames (``frame_parser``) and the close, around a peer."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol, cast

import structlog
from websockets.frames import Opcode
from websockets.protocol import State

from appliance.config.schema import Gateway as Settings
from appliance.errors import GatewayError, MemoryShort, OpenTimeout, PingTimeout, SlowClient
from appliance.gateway.connection_handle import ConnectionSource
from appliance.gateway.outbox import SHOWN, WRITE_BUFFER, LoggingTransport, Outbox
from appliance.gateway.peer import Peer
from appliance.gateway.recording.timeline import Timeline
from appliance.gateway.sockets.accepting.arrivals import Accepted, frames_of
from appliance.gateway.sockets.closing import close_of, cut_reason, end_of, record_end
from appliance.gateway.sockets.frame_parser import Frame, FrameParser
from appliance.gateway.sockets.frames import Part
from appliance.gateway.sockets.http import Route
from appliance.gateway.sockets.phases import Phase, Timer, Timers
from appliance.gateway.sockets.reading import Pause, Reading
from appliance.gateway.sockets.turns import Turns
from appliance.gateway.sockets.upgrade import Upgrade, UpgradeHost

_log = structlog.get_logger(__name__)


class ConnectionOwner(UpgradeHost, Protocol):
    """The listener, as its connections use it."""

    settings: Settings
    turns: Turns
    timers: Timers

    def accepted(self, connection: "Connection") -> None:
        """The socket was accepted."""

    def lost(self, connection: "Connection") -> None:
        """The socket is gone."""

    def press(self, connection: "Connection") -> None:
        """A client brings bytes while more are held than is good."""


class Connection(asyncio.Protocol):
    """The shell of a peer (``ConnectionHandle``). Whatever happens, ``connection_lost`` releases everything."""

    # A dictionary of so many attributes would take 1 KiB of each connection.
    __slots__ = (
        *("_accepted", "_begun_at", "_cause", "_generation", "_heard_at", "_loop", "_outbox", "_owner", "_parser"),
        *("_parts", "_peer", "_phase", "_pinged_at", "_reading", "_records", "_settings", "_timeline", "_timer"),
        *("_trace", "_transport", "_upgrade", "holding"),
    )

    def __init__(self, owner: ConnectionOwner, generation: str, accepted: Accepted) -> None:
        """``generation`` is the one at the path ``/`` of the address that accepted the socket."""
        self._owner = owner
        self._accepted: Accepted | None = accepted
        self.holding = accepted.holding
        self._generation = generation
        self._settings = owner.settings
        self._loop = asyncio.get_running_loop()
        most = min(self._settings.max_opening, self._settings.max_frame)
        self._parser = FrameParser(most)
        self._upgrade: Upgrade | None = None
        self._parts: bytearray | None = None
        self._trace = _log.is_enabled_for(logging.DEBUG)
        self._peer: Peer | None = None
        self._cause: Exception | None = None
        self._phase = Phase.REQUEST
        self._timer: asyncio.TimerHandle | float | None = None
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
        # Not kept: its address and its time would take 0.2 KiB of each connection.
        accepted, self._accepted = cast("Accepted", self._accepted), None
        self._records = accepted.records
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._reading = Reading(self, self._parser, transport, owner.turns)
        self._outbox = Outbox(transport, self._settings.outbox, self)
        self._timeline = Timeline(gateway.clock())
        self._upgrade = Upgrade(
            self, self._parser, self._reading, self._timeline, host=owner, root=self._generation, accepted=accepted
        )
        owner.accepted(self)
        over_at = accepted.at + self._settings.handshake_timeout
        self._enter(Phase.REQUEST, seconds=max(0.0, over_at - self._loop.time()))

    def data_received(self, data: bytes) -> None:
        """Read bytes of the client. Whatever is wrong with them closes this socket and no other."""
        self._heard_at = self._loop.time()
        try:
            if self._upgrade is not None:
                data = self._upgrade.receive(data)
                self._reading.handle_frames()  # for what the library has to write
            self._reading.receive(data)
        except Exception as error:  # whatever it is, it ends this socket and no other
            self.close(error)

    def eof_received(self) -> None:
        """The client sends no more. The transport closes when everything is written, or is aborted in time."""
        self._parser.receive_eof()
        self.begin_closing()
        self._reading.ignore()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone: the one place where everything is released."""
        self._enter(Phase.CLOSED)
        self._reading.ignore()
        self._outbox.end()
        self._forget_parts()
        self._end_upgrade()
        self.holding.release()
        self._owner.lost(self)
        gateway = self._owner.gateway
        if self._peer is not None:
            gateway.connections.remove(self._peer)
            gateway.limits.ended(self._peer.id)
            gateway.leave(self._peer)
            end = end_of(self._parser, self._cause, gateway.clock())
            record_end(gateway, self._owner.refusals, self._peer, end, self._loop.time() - self._begun_at)
        gateway.recorder.ended(self._timeline)

    def pause_writing(self) -> None:
        """The transport is full."""
        self._outbox.pause(self._transport.get_write_buffer_size())

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
        if self._parser.state is State.CONNECTING:
            self._enter(Phase.STOPPING) if self._owner.gateway.stopping else self._transport.abort()
            return
        if self._parser.state is State.OPEN:
            code, reason = close_of(error)
            self._timeline.closing(self._owner.gateway.clock(), code, reason)
            self._parser.send_close(code, cut_reason(reason))
        # A slow client would have to read everything that waits before the close frame: it gets the close frame only.
        self._outbox.seal(drop=isinstance(error, SlowClient | MemoryShort))
        self.begin_closing()
        self.flush()

    def abort(self) -> None:
        """End the socket at once."""
        self._transport.abort()

    def joined(self) -> None:
        """The opening message was verified and the client registered: the canister has to accept it."""
        if self._peer is not None and self._peer.limited_as is not None:
            self.holding.join(*self._peer.limited_as)
        self._parser.limit(self._settings.max_frame)
        self._enter(Phase.JOINED)

    def opened(self) -> None:
        """The session is open."""
        self._enter(Phase.UNREAD if self._reading.is_unread else Phase.OPEN)

    def pause_reading(self, reason: int = Pause.RELAY) -> None:
        """Pass on no further message of the client until ``resume_reading``."""
        if self.is_closing:
            if reason == Pause.MEMORY:  # half a message would still grow until its close frame, which is not worth it
                self._reading.ignore()
            return
        self._reading.pause(reason)
        if self._phase is Phase.OPEN or self._phase is Phase.PINGED:
            self._enter(Phase.UNREAD)

    def resume_reading(self, reason: int = Pause.RELAY) -> None:
        """Pass on messages again, if this was the last reason not to."""
        if self._reading.resume(reason):
            self._heard_at = self._loop.time()  # whatever it sent meanwhile was not read: its silence begins now
            if self._phase is Phase.UNREAD:
                self._enter(Phase.OPEN)

    def hold(self, number: int) -> None:
        """Count bytes that are kept for the client, or fewer where negative."""
        if self.holding.add(number):
            self._owner.press(self)

    # --- the upgrade (upgrade.UpgradeOwner) -------------------------------------------------------------------------

    def upgraded(self, route: Route, path: str) -> None:
        """The WebSocket is established: make the peer."""
        gateway = self._owner.gateway
        self._end_upgrade()
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

    def _end_upgrade(self) -> None:
        if self._upgrade is not None:
            self._upgrade.end()
            self._upgrade = None

    def begin_closing(self) -> None:
        """From here on the client's messages are ignored, and the socket ends in time."""
        if not self.is_closing:
            self._outbox.seal()
            self._enter(Phase.CLOSING, seconds=self._time_to_close_s)
            self._reading.forget_frames()
            self._forget_parts()
            if self._peer is not None:
                self._peer.forget_message()
            self.resume_reading(Pause.UNREAD)  # for the client's close frame

    @property
    def _time_to_close_s(self) -> float:
        """The close frame waits behind what the client has not read. To learn why it is closed, it must read again: it
        has as long for that as a silent client.
        """
        settings, is_full = self._settings, self._outbox.is_paused
        return max(settings.close_timeout, settings.ping_interval + settings.ping_timeout if is_full else 0)

    # --- frames (reading.ReadingOwner) ------------------------------------------------------------------------------

    @property
    def has_joined(self) -> bool:
        """Whether the client's opening message was verified."""
        return self._peer is not None and self._peer.join is not None

    def is_within_budgets(self, part: Part) -> bool:
        """Count bytes of the client; False if they are too many: then it is closed, and not listened to any more."""
        gateway, peer, frames = self._owner.gateway, self._peer, frames_of(part.frames, self._records)
        if peer is None:
            return True
        exceeded = gateway.limits.received(peer.id, peer.source.address, frames=frames, size=len(part.data))
        if exceeded is None:
            return True
        exceeded.record(self._timeline, gateway.event_bus, gateway.clock())
        if not exceeded.is_enforced:
            return True
        self.close(exceeded.error())
        self._reading.ignore()
        return False

    def settle(self, *, is_idle: bool) -> None:
        """Write what the library has ready, and see whether the connection ends. ``is_idle`` if no frame waits."""
        self.flush()
        if (state := self._parser.state) is not State.OPEN and (state is State.CLOSED or self._parser.close_expected()):
            self._outbox.seal()
            if is_idle:  # what the client sent before its close frame is relayed first
                self.begin_closing()

    def handle_frame(self, frame: Frame) -> None:
        """Process a frame. Raises GatewayError."""
        # Control frames (above BINARY) are answered by the library.
        if self.is_closing or self._peer is None or frame.opcode > Opcode.BINARY:
            return
        if frame.opcode is Opcode.TEXT:
            self._peer.receive_text()
            return
        if not frame.fin:
            if self._parts is None:
                self._parts = bytearray()
            self._parts += frame.data
            self.hold(len(frame.data))
            return
        message = frame.data
        if self._parts is not None:
            message = bytes(self._parts + message)
            self._forget_parts()
        gateway = self._owner.gateway
        gateway.counters.frames += 1
        if self._trace:
            _log.debug("< frame", peer=self._peer.id, bytes=len(message), begins=message[:SHOWN].hex())
        self._peer.receive(message, now_ns=gateway.clock())

    def _forget_parts(self) -> None:
        if self._parts:
            self.hold(-len(self._parts))
        self._parts = None

    def flush(self) -> None:
        """Write what the library has ready; an empty chunk is the end of our side."""
        chunks = self._parser.data_to_send()
        if data := b"".join(chunks):  # together: a write for each pong would be a system call for each
            self._outbox.put_control(data)
        if chunks and not chunks[-1]:
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
            self._owner.timers.cancel(self, self._timer)
            self._timer = None
        if timer.limit_s is not None:
            whole_s = timer.limit_s(self._settings)
            seconds, shared = whole_s if seconds is None else seconds, whole_s if phase is Phase.OPEN else None
            self._timer = self._owner.timers.start(self, seconds, shared=shared)

    def expire(self) -> None:
        """The time of the phase is over. Never raises."""
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
        self._parser.send_ping(b"")
        self.flush()
        self._pinged_at = self._loop.time()
        self._enter(Phase.PINGED)

    def _check_pong(self) -> None:
        # Any byte of the client is as good as the pong.
        if self._heard_at < self._pinged_at:
            self.close(PingTimeout(self._settings.ping_timeout))
        else:
            self._ping_if_silent()


TIMERS: Mapping[Phase, Timer[Connection]] = {
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
