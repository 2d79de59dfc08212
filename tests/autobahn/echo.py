"""A listener whose connections send back every message, which is what the suite needs of a server.

Everything below a message is the gateway's own: sockets, upgrade, frames, turns of the loop, timers, the close. A
gateway has no use for text, and closes with 1003; here it comes back too, so that the suite's cases of text reach the
code that puts fragments together. Whether it is valid UTF-8 is checked here.
"""

import codecs
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch

from websockets.frames import Frame as OutgoingFrame
from websockets.frames import Opcode

from appliance.gateway.sockets import listener
from appliance.gateway.sockets.connection import Connection
from appliance.gateway.sockets.frame_parser import Frame
from appliance.gateway.sockets.http import Route
from tests.gateway.served import served

LARGEST = 16 * 1024**2
"""The suite's largest message."""
_OFF = {"mode": "off"}
_SECTIONS = {
    "gateway": {"max_frame": LARGEST, "max_opening": LARGEST, "outbox": 4 * LARGEST, "close_timeout": "10s"},
    "limits": {"held_per_address": _OFF},
    # The suite sends what the limits exist for: a message of four million fragments, thousands of connections.
    "rate_limits": dict.fromkeys(
        ("connections_per_ip", "frames_per_ip", "frames_per_connection", "bytes_per_connection"), _OFF
    ),
}


class EchoConnection(Connection):
    """A connection that has no peer."""

    _opcode = Opcode.BINARY

    def upgraded(self, route: Route, path: str) -> None:
        """The WebSocket is established: that is all that this session needs."""
        self._end_upgrade()
        self.joined()
        self.opened()

    def handle_frame(self, frame: Frame) -> None:
        """Send a message back when it is whole. Raises what the connection is closed for."""
        if self.is_closing or frame.opcode > Opcode.BINARY:
            return
        if frame.opcode is not Opcode.CONT:
            self._opcode, self._decoder = frame.opcode, codecs.getincrementaldecoder("utf-8")()
        if self._opcode is Opcode.TEXT:
            try:
                self._decoder.decode(frame.data, frame.fin)
            except UnicodeDecodeError:
                self._fail()
                return
        self._parts = self._parts or bytearray()
        self._parts += frame.data
        if frame.fin:
            message, self._parts = bytes(self._parts), None
            self._outbox.put(OutgoingFrame(self._opcode, message).serialize(mask=False))

    def _fail(self) -> None:
        self._parser.fail(1007, "invalid UTF-8")
        self.flush()
        self.begin_closing()


@asynccontextmanager
async def echoing() -> AsyncIterator[str]:
    """Serve at a free port; yields the URL."""
    with patch.object(listener, "Connection", EchoConnection):
        async with served(**_SECTIONS) as serving:
            yield serving.listener.url
