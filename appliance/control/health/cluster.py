"""The cluster of this node, as operators see it. That its engine is away is no reason to send clients elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from appliance.control.health.health import Finding


class Contact(Protocol):
    """The contact with the engine (``cluster.contact.Contact``)."""

    @property
    def state(self) -> Literal["joined", "away", "refused"]:
        """``refused``: the engine answers, and the node may not join."""

    @property
    def problem(self) -> str | None:
        """A sentence."""


class Commands(Protocol):
    """The commands to the engine (``cluster.commands.Commands``)."""

    limit: int
    late: int
    dropped: int

    @property
    def under_way(self) -> int:
        """Commands without an answer so far."""


class NodeInfo(Protocol):
    """What a node says of itself. Times are ns since 1970."""

    @property
    def version(self) -> str:
        """Of the gateway."""

    @property
    def host(self) -> str:
        """The name of its machine."""

    @property
    def pid(self) -> int:
        """Its process there."""

    @property
    def started_at_ns(self) -> int:
        """When it started."""

    @property
    def sessions(self) -> int:
        """Clients that have joined."""


class NodeRecord(Protocol):
    """A node as the engine knows it."""

    @property
    def name(self) -> str:
        """Its name in the cluster."""

    @property
    def incarnation(self) -> str:
        """Another for each process."""

    @property
    def silent_ms(self) -> int:
        """Time since its last heartbeat."""

    @property
    def info(self) -> NodeInfo:
        """What it says of itself."""


class ClusterNode(Protocol):
    """A node in its cluster (``cluster.node.Node``)."""

    name: str
    cluster: str
    incarnation: str
    others: int

    @property
    def bell_problem(self) -> str | None:
        """Why what this node rings does not come back to it, as a sentence."""

    @property
    def claims(self) -> Mapping[str, int]:
        """Claimed opening messages by result."""

    @property
    def rings(self) -> Mapping[str, int]:
        """Messages of the doorbell by result."""

    @property
    def contact(self) -> Contact:
        """The contact with the engine."""

    @property
    def commands(self) -> Commands:
        """The commands to the engine."""

    async def nodes(self) -> Sequence[NodeRecord]:
        """Every node of the cluster. Raises EngineAway."""


def finding_of(node: ClusterNode | None) -> Finding:
    """The check of readiness: always ok, and its detail says what is wrong."""
    if node is None:
        return Finding(True, "no cluster is configured")
    if (problem := problem_of(node)) is not None:
        return Finding(True, problem)
    others = "1 other node" if node.others == 1 else f"{node.others} other nodes"
    return Finding(True, f"node {node.name} of cluster {node.cluster}, with {others}")


def problem_of(node: ClusterNode) -> str | None:
    """What keeps the node from its cluster, or from ringing for the others, as a sentence; None where nothing does."""
    if node.contact.state != "joined":
        return f"this node goes on without its cluster: {node.contact.problem}"
    if node.bell_problem is not None:
        return f"nodes poll at their own pace, not when something is sent at another: {node.bell_problem}"
    return None
