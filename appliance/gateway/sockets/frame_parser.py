"""The WebSocket protocol of a connection after its upgrade, without I/O (RFC 6455, sections 5 and 7), for a server.

The ``websockets`` library parses with generators, whose variables and attributes take 1.3 KiB of each connection as
long as it is there. Here an idle connection keeps a few flags.
"""

from typing import NamedTuple

from websockets.exceptions import ProtocolError
from websockets.frames import Close, Opcode
from websockets.frames import Frame as OutgoingFrame
from websockets.protocol import State

try:
    from websockets.speedups import apply_mask
except ImportError:  # there are no wheels for every platform
    from websockets.utils import apply_mask

PROTOCOL_ERROR = 1002
INVALID_DATA = 1007
TOO_BIG = 1009
"""Close codes (RFC 6455 section 7.4.1)."""
MAX_CONTROL = 125
"""Bytes of a control frame (RFC 6455 section 5.5)."""
_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_MASK_SIZE = 4
_OPCODES = {opcode.value: opcode for opcode in Opcode}
_NOTHING: tuple[()] = ()
"""For what almost always holds nothing: an empty list or bytearray takes 56 bytes of each connection."""


class Frame(NamedTuple):
    """A frame of a message: text, binary or the continuation of one. ``fin`` if it is the last of its message."""

    opcode: Opcode
    data: bytes
    fin: bool


class _Head(NamedTuple):
    """The head of a frame: its own size, and that of the payload behind it."""

    opcode: Opcode
    fin: bool
    size: int
    length: int


class _Violation(Exception):
    """What a client must not send: the close code, and the reason as the close frame says it."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class FrameParser:
    """Parses the frames of a client, answers pings and the close frame, and makes the frames of the gateway.

    ``state`` is CONNECTING until ``opened``. ``close_sent`` and ``close_rcvd`` are the close frames of both sides.
    ``eof_sent`` once the gateway writes no more: whatever the client sends is dropped then. ``problem`` says what was
    wrong with the client's frames, or that its stream ended without a close frame.
    """

    __slots__ = (
        *("_buffer", "_events", "_limit", "_message_size", "_writes", "close_rcvd", "close_sent", "eof_received"),
        *("eof_sent", "problem", "state"),
    )

    def __init__(self, limit: int) -> None:
        """For messages of at most so many bytes."""
        self.state = State.CONNECTING
        self.close_rcvd: Close | None = None
        self.close_sent: Close | None = None
        self.eof_received = False
        self.eof_sent = False
        self.problem: str | None = None
        self._limit = limit
        self._message_size: int | None = None
        """Bytes of the fragments before; None between two messages."""
        self._buffer: bytearray | tuple[()] = _NOTHING
        self._events: list[Frame] | tuple[()] = _NOTHING
        self._writes: list[bytes] | tuple[()] = _NOTHING

    # --- the handshake ----------------------------------------------------------------------------------------------

    def opened(self, response: bytes) -> None:
        """The request is granted by this response; frames follow."""
        self._write(response)
        self.state = State.OPEN

    def rejected(self, response: bytes) -> None:
        """The request is not granted; nothing follows this response."""
        self._write(response)
        self._send_eof()

    # --- what the client sends --------------------------------------------------------------------------------------

    def limit(self, size: int) -> None:
        """Take messages of at most so many bytes from now on. Call it between two frames."""
        self._limit = size

    def receive_data(self, data: bytes) -> None:
        """Take bytes of the client. See ``events_received`` and ``data_to_send`` for what they mean.

        Never raises: what is wrong with a frame fails the connection (RFC 6455 section 7.1.7).
        """
        if self.eof_sent or self.eof_received:
            return
        buffer: bytes | bytearray = data
        if self._buffer:
            buffer = self._buffer
            buffer += data
        at, end = 0, len(buffer)
        try:
            while at < end and not self.eof_sent:
                head = self._head(buffer, at)
                if head is None or end - at < head.size + head.length:
                    break
                begin = at + head.size
                at = begin + head.length
                payload = apply_mask(buffer[begin:at], buffer[begin - _MASK_SIZE : begin])
                self._receive(head.opcode, head.fin, payload)
        except _Violation as violation:
            self.fail(violation.code, violation.reason)
        if self.eof_sent or at == end:
            self._buffer = _NOTHING
        else:
            self._buffer = bytearray(memoryview(buffer)[at:]) if at or buffer is data else self._buffer

    def receive_eof(self) -> None:
        """The client sends no more."""
        if self.eof_received:
            return
        self.eof_received = True
        if not self.eof_sent:
            self.problem = "stream ends in the middle of a frame" if self._buffer else "unexpected end of stream"
            self._send_eof()
        self.drop()
        self.state = State.CLOSED

    def events_received(self) -> "list[Frame] | tuple[()]":
        """The frames of messages that were received since the last call."""
        events, self._events = self._events, _NOTHING
        return events

    def drop(self) -> None:
        """Keep nothing of a frame that has begun. Nothing may be parsed after this."""
        self._buffer = _NOTHING

    def _head(self, data: bytes | bytearray, at: int) -> _Head | None:
        """The head of the frame that begins here; None if it is not whole. Raises _Violation."""
        there = len(data) - at
        if there < 2:
            return None
        first, second = data[at], data[at + 1]
        opcode = _OPCODES.get(first & _OPCODE)
        if opcode is None:
            raise _Violation(PROTOCOL_ERROR, "invalid opcode")
        if not second & _MASKED:
            raise _Violation(PROTOCOL_ERROR, "incorrect masking")
        length, size = second & _LENGTH, 2 + _MASK_SIZE
        if length > MAX_CONTROL:
            width = 2 if length == 126 else 8
            if there < 2 + width:
                return None
            length, size = int.from_bytes(data[at + 2 : at + 2 + width], "big"), size + width
        fin, is_control = first >= _FIN, opcode >= Opcode.CLOSE
        if not is_control and length > self._limit - (self._message_size or 0):
            raise _Violation(TOO_BIG, self._too_big(length))
        if first & _RESERVED:
            raise _Violation(PROTOCOL_ERROR, "reserved bits must be 0")
        if is_control and length > MAX_CONTROL:
            raise _Violation(PROTOCOL_ERROR, "control frame too long")
        if is_control and not fin:
            raise _Violation(PROTOCOL_ERROR, "fragmented control frame")
        return _Head(opcode, fin, size, length)

    def _too_big(self, length: int) -> str:
        after = "" if self._message_size is None else f"after reading {self._message_size} bytes "
        return f"frame with {length} bytes {after}exceeds limit of {self._limit} bytes"

    def _receive(self, opcode: Opcode, fin: bool, data: bytes) -> None:
        if opcode <= Opcode.BINARY:
            self._receive_part(opcode, fin, data)
        elif opcode is Opcode.PING:
            self._send(Opcode.PONG, data)
        elif opcode is Opcode.CLOSE:
            self._receive_close(data)

    def _receive_part(self, opcode: Opcode, fin: bool, data: bytes) -> None:
        before = self._message_size
        if (opcode is Opcode.CONT) != (before is not None):
            wrong = "unexpected continuation frame" if before is None else "expected a continuation frame"
            raise _Violation(PROTOCOL_ERROR, wrong)
        self._message_size = None if fin else (before or 0) + len(data)
        frame = Frame(opcode, data, fin)
        if self._events:
            self._events.append(frame)
        else:
            self._events = [frame]

    def _receive_close(self, data: bytes) -> None:
        # A client may leave in the middle of a message (RFC 6455 section 5.4), so that is no fault.
        try:
            self.close_rcvd = Close.parse(data)
        except ProtocolError as error:
            raise _Violation(PROTOCOL_ERROR, str(error)) from None
        except UnicodeDecodeError as error:
            raise _Violation(INVALID_DATA, f"{error.reason} at position {error.start}") from None
        if self.state is State.OPEN:
            self._send(Opcode.CLOSE, data)  # as it came: a close frame without a code is answered by one without
            self.close_sent = self.close_rcvd
            self.state = State.CLOSING
        self._send_eof()

    # --- what the gateway sends -------------------------------------------------------------------------------------

    def send_ping(self, data: bytes) -> None:
        """Send a ping, which the client answers by a pong of the same bytes."""
        self._send(Opcode.PING, data)

    def send_close(self, code: int, reason: str) -> None:
        """Begin to close. Frames of the client are parsed on, until its close frame. Once, while the state is OPEN."""
        close = Close(code, reason)
        self._send(Opcode.CLOSE, close.serialize())
        self.close_sent = close
        self.state = State.CLOSING

    def fail(self, code: int, reason: str) -> None:
        """Close at once, for what the client did (RFC 6455 section 7.1.7): nothing that it sends counts any more."""
        self.problem = reason
        if self.state is State.OPEN:
            self.send_close(code, reason)
        if not self.eof_sent:
            self._send_eof()

    def data_to_send(self) -> "list[bytes] | tuple[()]":
        """What is to be written since the last call; an empty chunk is the end of our side, and the last."""
        writes, self._writes = self._writes, _NOTHING
        return writes

    def close_expected(self) -> bool:
        """Whether the socket is to be closed soon, by the client or in time by us."""
        return self.state is State.CLOSING or (self.state is State.CONNECTING and self.eof_sent)

    def _send(self, opcode: Opcode, data: bytes) -> None:
        self._write(OutgoingFrame(opcode, data).serialize(mask=False))

    def _send_eof(self) -> None:
        self.eof_sent = True
        self._write(b"")

    def _write(self, data: bytes) -> None:
        if self._writes:
            self._writes.append(data)
        else:
            self._writes = [data]
