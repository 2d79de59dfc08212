"""The answer to a request that opens a WebSocket, by the ``websockets`` library (RFC 6455, section 4.2.2)."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import cast

from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from appliance.gateway.sockets.http import HttpRejection, handshake_of
from appliance.gateway.sockets.request_head import RequestHead

_library_log = logging.getLogger(f"{__name__}.websockets")
_library_log.setLevel(logging.WARNING)


class _Handshake(ServerProtocol):
    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """The one that the client prefers: browsers end a WebSocket for which they offered some and got none."""
        return subprotocols[0] if subprotocols else None

    def end(self) -> None:
        """Let go of the parser, which holds the protocol that holds it: 2 KiB of each connection would be left to the
        garbage collector.
        """
        self.parser.close()


def accept(request: RequestHead) -> bytes | HttpRejection:
    """The response that opens the WebSocket, or the rejection of a handshake that is none."""
    protocol = _Handshake(logger=_library_log)
    protocol.receive_data(handshake_of(request))
    (handshake,) = protocol.events_received()
    response = protocol.accept(cast("Request", handshake))
    protocol.end()
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        return HttpRejection(response.status_code, (response.body or b"").decode(), "malformed")
    return response.serialize()


def reject(status: int, text: str, headers: Mapping[str, str], *, has_body: bool) -> bytes:
    """The response with another status than 101. ``headers`` replace those of the library; a response to HEAD
    ``has_body`` of none, and the length of the one that it stands for.
    """
    protocol = _Handshake(logger=_library_log)
    response = protocol.reject(status, text)
    protocol.end()
    for name, value in headers.items():
        if name in response.headers:  # setting it would add a second one
            del response.headers[name]
        response.headers[name] = value
    if not has_body:
        response.body = b""
    return response.serialize()
