"""The bounded queue of bytes for one client."""

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog

from appliance.errors import SlowClient

_log = structlog.get_logger(__name__)

CONTROL_ROOM = 256
"""Bytes above the limit that are kept for a close frame, so that a slow client learns why it is closed."""
WRITE_BUFFER = 64 * 1024
"""Bytes in a transport that make it full. Those are not counted until then; with TLS, uvloop would take 512 KiB."""
_NONE: tuple[()] = ()
"""Frames where none wait, as almost always: an empty deque takes 0.7 KiB of each connection."""
SHOWN = 24
"""Bytes of a frame that the log shows at level ``debug``."""


class Transport(Protocol):
    """The part of ``asyncio.WriteTransport`` that an outbox uses."""

    def write(self, data: bytes) -> None:
        """Take bytes; calls ``Outbox.pause`` when it has too many."""


class Holder(Protocol):
    """Whoever counts the bytes that an outbox keeps."""

    def hold(self, number: int) -> None:
        """So many bytes more are kept, or fewer where negative."""


class _Nobody:
    """For an outbox whose bytes nobody counts."""

    def hold(self, number: int) -> None:
        """Count nothing."""


NOBODY = _Nobody()


class Outbox:
    """Passes frames to a transport in order and keeps them while the transport is full.

    ``limit`` bounds the bytes kept, ``waiting`` counts them, reserved ones too, and ``passed`` those of all frames that
    were put.
    Frames of the session and control frames of the library both go through here: written past each other, a pong or a
    close frame would overtake frames that wait.
    """

    __slots__ = (
        "_finish",
        "_frames",
        "_full",
        "_holder",
        "_limit",
        "_paused",
        "_reserved",
        "_sealed",
        "_transport",
        "passed",
        "waiting",
    )

    def __init__(self, transport: Transport, limit: int, holder: Holder = NOBODY) -> None:
        """``holder`` counts the bytes that wait, those of a full transport too."""
        self._transport = transport
        self._holder = holder  # not its bound method, which would take 64 bytes of each connection
        self._limit = limit
        self._frames: deque[bytes] | tuple[()] = _NONE
        self._paused = False
        self._full = 0
        self._reserved = 0
        self._sealed = False
        self._finish: Callable[[], None] | None = None
        self.waiting = 0
        self.passed = 0

    @property
    def is_paused(self) -> bool:
        """Whether the transport is full: what is put waits until the client has read more."""
        return self._paused

    def redirect(self, transport: Transport) -> None:
        """Write to another transport from now on."""
        self._transport = transport

    def put(self, frame: bytes) -> None:
        """Send a complete frame. Raises SlowClient when too much waits; does nothing once sealed."""
        if self._sealed:
            return
        self.passed += len(frame)
        if self._paused:
            self._keep(frame, self._limit)
        else:
            self._transport.write(frame)

    def reserve(self, number: int) -> bool:
        """Count bytes that others keep for the client until ``release``, as if they waited here; False once sealed.
        Raises SlowClient when too much waits.
        """
        if self._sealed:
            return False
        waiting = self.waiting + number
        if waiting > self._limit:
            raise SlowClient(waiting, self._limit)
        self.waiting = waiting
        self._reserved += number
        self._holder.hold(number)
        return True

    def release(self) -> None:
        """Nothing is reserved any more."""
        self.waiting -= self._reserved
        self._holder.hold(-self._reserved)
        self._reserved = 0

    def put_control(self, data: bytes) -> None:
        """Send a control frame of the WebSocket library. As ``put``, but also once sealed, then with ``CONTROL_ROOM``
        above the limit; dropped if too much waits even so. Raises SlowClient unless sealed.
        """
        if not self._paused:
            self._transport.write(data)
        elif not self._sealed:
            self._keep(data, self._limit)
        else:
            with contextlib.suppress(SlowClient):
                self._keep(data, self._limit + CONTROL_ROOM)

    def seal(self, *, drop: bool = False) -> None:
        """Take no more frames: the close frame is next. With ``drop``, those that wait are forgotten."""
        self._sealed = True
        if drop:
            self._frames = _NONE
            self._finish = None
            self._holder.hold(self._reserved - self.waiting)
            self.waiting = self._reserved

    def finish(self, end: Callable[[], None]) -> None:
        """Call ``end`` when everything that waits is written; nothing may be put after this."""
        if self._frames:
            self._finish = end
        else:
            end()

    def pause(self, buffered: int = 0) -> None:
        """The transport is full, of so many bytes."""
        self._paused = True
        self._count_full(buffered)

    def resume(self) -> None:
        """The transport takes bytes again."""
        self._paused = False
        self._count_full(0)
        while self._frames and not self._paused:
            frame = self._frames.popleft()
            self.waiting -= len(frame)
            self._holder.hold(-len(frame))
            self._transport.write(frame)
        self._frames = self._frames or _NONE
        if self._finish is not None and not self._frames:
            end, self._finish = self._finish, None
            end()

    def end(self) -> None:
        """The transport is gone: keep nothing any more."""
        self.release()
        self.seal(drop=True)
        self._count_full(0)

    def _count_full(self, buffered: int) -> None:
        self._holder.hold(buffered - self._full)
        self._full = buffered

    def _keep(self, frame: bytes, limit: int) -> None:
        waiting = self.waiting + len(frame)
        if waiting > limit:
            raise SlowClient(waiting, limit)
        if not self._frames:
            self._frames = deque()
        self._frames.append(frame)
        self.waiting = waiting
        self._holder.hold(len(frame))


class LoggingTransport:
    """The transport of an outbox that logs every write at level ``debug``."""

    def __init__(self, transport: Transport, peer: str) -> None:
        self._transport = transport
        self._peer = peer

    def write(self, data: bytes) -> None:
        """Log it and pass it on."""
        _log.debug("> frame", peer=self._peer, bytes=len(data), begins=data[:SHOWN].hex())
        self._transport.write(data)
