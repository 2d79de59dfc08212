"""Shares the turns of the event loop between clients with TLS, before anything of them is decrypted.

A TLS record may have one byte, and decrypting it costs 4 us. The protocols of the event loops decrypt all that a read
brings, of up to 256 KiB and, with uvloop, 32 times in one turn: 364,000 records, more than a second. So this protocol
stands between the socket and theirs, cuts the stream at the ends of records, whose lengths are not encrypted (RFC 8446
section 5.1), and passes on a few in each turn.
"""

import asyncio
import ssl
from asyncio import sslproto
from collections.abc import Callable
from typing import Any, cast

import structlog

from appliance.gateway.sockets.turns import Turns

try:
    import uvloop
except ImportError:  # not on every system
    uvloop = None  # type: ignore[assignment]

_log = structlog.get_logger(__name__)

OF_FRAME = 8
"""Records that count as a frame: decrypting these costs as much as handling that."""
ORDINARY = 1024
"""A record of so many bytes or more is no flood: a large message has many, of which some programs make small ones."""
_HEADER = 5


class _Pause:
    """Reasons not to read the socket, to be combined. Plain numbers, as in ``reading.Pause``."""

    NONE = 0
    RECORDS = 1
    """Records that were read wait for their turn."""
    CLIENT = 2
    """The connection does not read the client. Nothing is decrypted then: all that waits would be in one turn later."""
    TLS = 4
    """The protocol of the loop is full."""


class TlsRecords(asyncio.Protocol):
    """The stream of a client with TLS: the protocol of its socket, and a worker (``turns.Worker``)."""

    __slots__ = (
        *("_bytes", "_counted", "_data", "_hold", "_lacking", "_paused", "_records", "_tls", "_transport", "_turns"),
    )

    def __init__(self, turns: Turns, hold: Callable[[int], object]) -> None:
        """``hold`` is called with the bytes that wait more, or fewer where negative. ``decrypt`` has to follow."""
        self._turns = turns
        self._hold = hold
        self._paused = _Pause.NONE
        self._data = b""
        self._lacking = 0
        """Bytes of the record before ``_data`` that are still to come."""
        self._counted = 0
        self._records = 0
        self._bytes = 0

    def decrypt(
        self, protocol: asyncio.Protocol, context: ssl.SSLContext, handshake_timeout: float
    ) -> "asyncio.Future[None]":
        """Take the protocol of what is encrypted. Returns a future of the handshake, which may raise OSError."""
        loop = asyncio.get_running_loop()
        shaken: asyncio.Future[None] = loop.create_future()
        options = {"server_side": True, "ssl_handshake_timeout": handshake_timeout}
        self._tls = _kind_for(loop)(loop, _Beginning(self, protocol), context, shaken, **options)
        return shaken

    @property
    def has_work(self) -> bool:
        """Whether records wait that may be decrypted (``turns.Worker``)."""
        return self._has_records and not self._paused & _Pause.CLIENT

    def surplus(self) -> int:
        """How many frames the records since the last call are worth that were too small for the bytes they brought."""
        small = self._records - self._bytes // ORDINARY
        if 0 <= small < OF_FRAME:
            return 0
        self._records = self._bytes = 0
        return max(0, small // OF_FRAME)

    def pause(self, reason: int, *, is_paused: bool = True) -> None:
        """Do not read the socket for this reason, or no more for this one."""
        before = self._paused
        self._paused = before | reason if is_paused else before & ~reason
        if bool(self._paused) is not bool(before) and not self._transport.is_closing():
            (self._transport.pause_reading if self._paused else self._transport.resume_reading)()
        if before & ~self._paused & _Pause.CLIENT and self._has_records:
            self._turns.later(self)  # not at once: this may be called while a frame is being handled

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket was accepted."""
        self._transport = cast("asyncio.Transport", transport)
        self._tls.connection_made(_Transport(self, self._transport, _Pause.TLS))

    def data_received(self, data: bytes) -> None:
        """Decrypt what came, now or in later turns."""
        if self._is_record(data):
            self._decrypt(data, 1)
            return
        self._data += data
        if not self._paused & _Pause.CLIENT:
            self._turns.serve(self)
        self._settle()

    def eof_received(self) -> bool | None:
        """The client sends no more."""
        is_kept: bool | None = self._tls.eof_received()
        return is_kept

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._turns.forget(self)
        self._data = b""
        self._settle()
        self._tls.connection_lost(exc)

    def pause_writing(self) -> None:
        """The transport is full."""
        self._tls.pause_writing()

    def resume_writing(self) -> None:
        """The transport takes bytes again."""
        self._tls.resume_writing()

    # --- turns.Worker -----------------------------------------------------------------------------------------------

    def work(self, frames: int) -> int:
        """Decrypt as many records as so many frames are worth; returns how many of those. Never raises."""
        part, records = self._cut(frames * OF_FRAME)
        self._decrypt(part, records)
        self._settle()
        return -(-records // OF_FRAME)

    def _is_record(self, data: bytes) -> bool:
        """Whether this is one record and all that there is, as in most reads: no turn would be too short for it."""
        if self._data or self._lacking or self._paused or len(data) < _HEADER:
            return False
        return len(data) == _HEADER + int.from_bytes(data[3:_HEADER], "big")

    def _decrypt(self, part: bytes, records: int) -> None:
        self._records += records
        self._bytes += len(part)
        try:
            self._pass_on(part)
        except Exception as error:  # the connection's own never raise; whatever it is, it ends this socket and no other
            _log.error("TLS failed", exc_info=error)
            self._transport.abort()

    def _cut(self, most: int) -> tuple[bytes, int]:
        """The bytes until the end of so many further records, or as far as there are any, and the number of these."""
        data, at, lacking, records = self._data, 0, self._lacking, 0
        while True:
            step = min(lacking, len(data) - at)
            at, lacking = at + step, lacking - step
            if lacking or records == most or len(data) - at < _HEADER:
                break
            lacking = _HEADER + int.from_bytes(data[at + 3 : at + _HEADER], "big")
            records += 1
        self._data, self._lacking = data[at:], lacking
        return data[:at], records

    def _pass_on(self, data: bytes) -> None:
        while data:
            buffer = self._tls.get_buffer(len(data))
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            self._tls.buffer_updated(size)
            data = data[size:]

    @property
    def _has_records(self) -> bool:
        """Not half a header: how long its record is cannot be known yet."""
        return bool(self._data) and (self._lacking > 0 or len(self._data) >= _HEADER)

    def _settle(self) -> None:
        self.pause(_Pause.RECORDS, is_paused=self._has_records)
        if len(self._data) != self._counted:
            self._hold(len(self._data) - self._counted)
            self._counted = len(self._data)


def _kind_for(loop: asyncio.AbstractEventLoop) -> Any:
    """The class with which this loop encrypts by itself. Neither is public: ``test_records.py`` notices when one of
    them changes.
    """
    if uvloop is not None and isinstance(loop, uvloop.Loop):
        return uvloop.loop.SSLProtocol  # type: ignore[attr-defined]
    return sslproto.SSLProtocol


class _Beginning(asyncio.Protocol):
    """Makes the connection when the handshake is done, with a transport whose pauses reach the records."""

    __slots__ = ("_protocol", "_records")

    def __init__(self, records: TlsRecords, protocol: asyncio.Protocol) -> None:
        self._records = records
        self._protocol = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        cast("asyncio.Transport", transport).set_protocol(self._protocol)
        self._protocol.connection_made(cast("asyncio.Transport", _Transport(self._records, transport, _Pause.CLIENT)))


class _Transport:
    """A transport whose reading is paused through the records, for one reason."""

    __slots__ = ("_reason", "_records", "_transport", "is_closing", "write")

    def __init__(self, records: TlsRecords, transport: Any, reason: int) -> None:
        self._records = records
        self._transport = transport
        self._reason = reason
        self.write = transport.write  # bound once: these are called for each message
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def pause_reading(self) -> None:
        """See asyncio.ReadTransport."""
        self._records.pause(self._reason)

    def resume_reading(self) -> None:
        """See asyncio.ReadTransport."""
        self._records.pause(self._reason, is_paused=False)
