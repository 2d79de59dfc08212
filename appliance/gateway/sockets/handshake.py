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


def accept(request: RequestHead) -> bytes | HttpRejection:
    """The response that opens the WebSocket, or the rejection of a handshake that is none."""
    protocol = ServerProtocol(select_subprotocol=_first_offered, logger=_library_log)
    protocol.receive_data(handshake_of(request))
    (handshake,) = protocol.events_received()
    response = protocol.accept(cast("Request", handshake))
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        return HttpRejection(response.status_code, (response.body or b"").decode(), "malformed")
    return response.serialize()


def reject(status: int, text: str, headers: Mapping[str, str], *, has_body: bool) -> bytes:
    """The response with another status than 101. ``headers`` replace those of the library; a response to HEAD
    ``has_body`` of none, and the length of the one that it stands for.
    """
    response = ServerProtocol(logger=_library_log).reject(status, text)
    for name, value in headers.items():
        if name in response.headers:  # setting it would add a second one
            del response.headers[name]
        response.headers[name] = value
    if not has_body:
        response.body = b""
    return response.serialize()


def _first_offered(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The subprotocol that the client prefers: browsers end a WebSocket for which they offered some and got none."""
    return offered[0] if offered else None
