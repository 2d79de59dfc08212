"""The sockets where clients connect: bound once for all workers, and held open while one of them is away.

All workers accept at the same queue. So a worker that ends leaves nobody behind in a queue of its own, as it would with
SO_REUSEPORT, and one that stands still keeps nobody waiting whom another could serve.
"""

import contextlib
import socket
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from appliance.gateway.sockets.accepting.addresses import listening

Address = tuple[Any, ...] | str


class Sockets:
    """Listening sockets by the address that they were asked for; port 0 is the same port for each worker."""

    def __init__(self) -> None:
        self._bound: dict[tuple[int, Address], tuple[socket.socket, bool]] = {}

    def __iter__(self) -> Iterator[socket.socket]:
        return iter(one for one, _ in self._bound.values())

    @property
    def outlive(self) -> bool:
        """Whether the service manager keeps every one of them when this process ends."""
        return all(is_kept for _, is_kept in self._bound.values())

    def at(self, family: int, address: Address) -> socket.socket:
        """The socket of an address. Raises OSError where it cannot be bound."""
        if (found := self._bound.get((family, address))) is None:
            found = self._bound[family, address] = listening(family, address)
        return found[0]

    def keep(self, names: Collection[object]) -> None:
        """Close those that are at none of these addresses, as ``getsockname`` has them: no worker listens there any
        more, and clients would wait for nobody.
        """
        for key, (one, _) in list(self._bound.items()):
            if one.getsockname() not in names:
                self._close(key)

    def close(self) -> None:
        """Close all of them."""
        for key in list(self._bound):
            self._close(key)

    def _close(self, key: tuple[int, Address]) -> None:
        one, is_kept = self._bound.pop(key)
        one.close()
        if key[0] == socket.AF_UNIX and not is_kept:
            with contextlib.suppress(OSError):
                Path(str(key[1])).unlink(missing_ok=True)
