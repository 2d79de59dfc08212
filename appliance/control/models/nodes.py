"""The nodes of a cluster."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from appliance.control.models.base import Answer


class Node(Answer):
    """One node."""

    name: str
    """Its name in the cluster."""
    is_this: bool
    """Whether it is the one that answers."""
    state: Literal["alive", "silent", "given up", "returned"]
    """``silent``: without a heartbeat for more than 10 s. ``given up``: its canisters are told by others that its
    clients left; ``returned``: it had only been cut off, and has noticed that, or another process has its name."""
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
    peer: str | None = None
    """Where it answers other nodes; None where nobody can give it up."""
    given_up_by: str | None = None
    """The node that gave it up."""
    given_up_at: datetime | None = None
    clients: int | None = None
    """Clients of the node that the engine keeps, so that others can speak for it; None where nobody knows."""
    told: int | None = None
    """Clients of the node that canisters were told of by others, within a day."""
    draining: bool = False
    """Whether it closes its sessions."""
    generation: int | None = None
    """Of its configuration; None for a process that has ended."""
    failing: list[str] = Field(default_factory=list)
    """The checks of its readiness that failed, up to 10 s ago."""


class MissingNode(Answer):
    """A node that an answer says nothing of."""

    node: str | None
    """None for all other nodes: the engine does not answer."""
    problem: str
    """Why, as a sentence."""


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
