"""Accepts sockets, a few in each turn of the loop, and goes on when the process has run out of descriptors."""

import asyncio
import errno
import socket
from collections.abc import Callable

import structlog

from appliance.gateway.recording.measurements import Counters

_log = structlog.get_logger(__name__)

ACCEPTS = 16
"""Sockets that are accepted in one turn."""
PAUSE_S = 0.5
"""How long none is accepted when there is no descriptor for it. Clients wait in the kernel's queue meanwhile."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Arrived = Callable[[socket.socket, object], None]
"""Takes an accepted socket, which does not block, and the address of its other end."""


class Acceptor:
    """Accepts at one listening socket, from ``start`` to ``stop``.

    The event loop's servers would do this too, but they count no socket before its TLS handshake is done, and try to
    accept without end when there is no descriptor.
    """

    def __init__(self, listening: socket.socket, arrived: Arrived, counters: Counters) -> None:
        self._listening = listening
        self._arrived = arrived
        self._counters = counters
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Accept from now on."""
        self._pause = None
        asyncio.get_running_loop().add_reader(self._listening.fileno(), self._accept)

    def stop(self) -> None:
        """Accept no more. The listening socket stays open."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        asyncio.get_running_loop().remove_reader(self._listening.fileno())

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                client, peer = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    _log.error("cannot accept", cause=str(error))
                self._rest(error)
                return
            client.setblocking(False)
            self._arrived(client, peer)

    def _rest(self, error: OSError) -> None:
        self._counters.accept_pauses += 1
        _log.warning(
            "no client is accepted for a moment: raise the limit of open files (LimitNOFILE in the unit), "
            "or lower gateway.max_connections",
            seconds=PAUSE_S,
            cause=error.strerror,
        )
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listening.fileno())
        self._pause = loop.call_later(PAUSE_S, self.start)
