"""Tells the other nodes of endpoints of the IC that asked to be left alone.

An endpoint that has enough of requests says so to whoever sent the last one (429 or 503, with ``Retry-After``), and
means the address that they come from. Nodes behind the same address leave it alone together.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from appliance.cluster.contact import Contact
from appliance.cluster.rings import Pause
from appliance.config.cluster import Cluster

LEAST_S = 0.5
"""How much longer a pause has to be than the one that was told before: each of many requests gets the same answer."""
REMEMBERED = 256
"""Endpoints whose pauses are known to have been told."""


class Bell(Protocol):
    """The doorbell of the node."""

    def pause(self, pause: Pause) -> None:
        """Tell all other nodes of an endpoint."""


class Pausing(Protocol):
    """The node whose endpoints these are (``cluster.node.Node``)."""

    settings: Cluster
    contact: Contact
    others: int

    @property
    def doorbell(self) -> Bell:
        """What it tells all others by."""


class Asker(Protocol):
    """The gateway of the node."""

    def pause(self, url: str, seconds: float) -> None:
        """Leave an endpoint alone."""


class Pauses:
    """``counts`` has the pauses by result: ``told`` to others, ``heard`` from another node and followed, or
    ``elsewhere``: of a node behind another address. Those that are heard are followed by ``gateway``, once there is
    one.
    """

    def __init__(self, node: Pausing, *, host: str, monotonic: Callable[[], float]) -> None:
        """``host`` is the name of this machine."""
        self.counts: Counter[str] = Counter()
        self.gateway: Asker | None = None
        self._node = node
        self._host = host
        self._monotonic = monotonic
        self._told: dict[str, float] = {}

    @property
    def _address(self) -> bytes:
        return address_of(self._node.settings.outgoing or self._host)

    def asked(self, url: str, seconds: float) -> None:
        """An endpoint has asked this node to leave it alone for so long."""
        if self._node.contact.state != "joined" or not self._node.others:
            return
        until = self._monotonic() + seconds
        if until < self._told.get(url, 0.0) + LEAST_S:
            return
        if len(self._told) >= REMEMBERED:
            del self._told[next(iter(self._told))]
        self._told[url] = until
        self.counts["told"] += 1
        self._node.doorbell.pause(Pause(self._address, seconds, url))

    def heard(self, pause: Pause) -> None:
        """Another node was asked to."""
        if pause.address != self._address:
            self.counts["elsewhere"] += 1
            return
        self.counts["heard"] += 1
        if self.gateway is not None:
            self.gateway.pause(pause.url, pause.seconds)


def address_of(name: str) -> bytes:
    """Whom a pause is for: nodes whose requests come from the same address."""
    return hashlib.sha256(name.encode()).digest()[:16]
