"""The nodes of a cluster."""

from datetime import datetime
from typing import Literal

from appliance.control.models.base import Answer


class Node(Answer):
    """One node."""

    name: str
    """Its name in the cluster."""
    is_this: bool
    """Whether it is the one that answers."""
    state: Literal["alive", "silent"]
    """``silent``: without a heartbeat for more than 10 s."""
    silent_s: float
    """Time since its last heartbeat, by the clock of the engine."""
    incarnation: str
    """Another for each process."""
    host: str
    pid: int
    version: str
    started_at: datetime
    sessions: int
    """Clients that have joined there."""


class Nodes(Answer):
    """The nodes of the cluster of this gateway."""

    cluster: str | None
    """Its name; None where no cluster is configured."""
    node: str | None
    """The name of the gateway that answers."""
    engine: Literal["joined", "away", "refused"] | None
    """Its contact with the engine. While that is not ``joined``, ``items`` is empty."""
    problem: str | None
    """Why it is not ``joined``."""
    items: list[Node]
