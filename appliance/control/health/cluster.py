"""The cluster of this node, as operators see it. That its engine is away is no reason to send clients elsewhere."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

from appliance.control.health.health import Finding

SILENT_MS = 10_000
"""A node without a heartbeat for longer does not hold its name any more (``cluster.engine.DEAD_MS``)."""


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


class Requests(Protocol):
    """What nodes ask each other (``cluster.requests.requests.Requests``)."""

    answered: int

    @property
    def asked(self) -> Mapping[str, int]:
        """Requests of this node by result."""

    @property
    def refused(self) -> Mapping[Any, int]:
        """What came and was not believed or not done, by reason."""

    @property
    def under_way(self) -> int:
        """Those that this node has sent or works at."""

    def serve(self, kinds: Collection[str], handler: Callable[[str, str, bytes], Awaitable[bytes]]) -> None:
        """Answer requests of these kinds: ``handler`` gets the kind, the name of the node that asks, and the body."""

    async def ask(self, node: str, incarnation: str, kind: str, body: bytes, timeout_s: float) -> bytes:
        """The answer of a node. Raises NodeSilent and NodeRefused."""


class Settings(Protocol):
    """The section ``cluster`` of the configuration."""

    @property
    def request_timeout(self) -> float:
        """Seconds for the answer of another node."""

    @property
    def requests(self) -> int:
        """The most requests to other nodes that are under way."""

    @property
    def limit_keys(self) -> int:
        """The most keys of rate limits that the engine has to be told of."""


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

    @property
    def peer(self) -> str:
        """Where it answers other nodes; empty for nowhere."""

    @property
    def draining(self) -> bool:
        """Whether it closes its sessions."""

    @property
    def revision(self) -> int:
        """Of its configuration."""

    @property
    def failing(self) -> str:
        """The names of the checks of its readiness that fail, with commas between."""


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


class Registry(Protocol):
    """What the engine keeps of the clients of this node (``cluster.registry.ledger.Ledger``)."""

    bytes: int
    limit: int
    dropped: int

    def __len__(self) -> int:
        """Clients."""

    @property
    def waiting(self) -> int:
        """Changes that the engine has to be told."""


class Suspect(Protocol):
    """A process of a node (``cluster.registry.engine.Suspect``)."""

    @property
    def node(self) -> str:
        """Its name."""

    @property
    def incarnation(self) -> str:
        """Another for each process."""

    @property
    def silent_ms(self) -> int:
        """Time since its last heartbeat."""

    @property
    def info(self) -> NodeInfo:
        """What it said of itself."""

    @property
    def is_replaced(self) -> bool:
        """Whether another process has its name."""

    @property
    def given(self) -> Literal["", "given", "returned"]:
        """Whether it is given up, and whether it has noticed that."""

    @property
    def by(self) -> str:
        """The node that gave it up."""

    @property
    def given_ms(self) -> int:
        """When (ms since 1970, by the clock of the engine)."""

    @property
    def clients(self) -> int:
        """Clients of its node that the engine keeps."""

    @property
    def told(self) -> int:
        """Clients of its node that canisters were told of by others."""


class OwnClients(Protocol):
    """The clients of this node at the engine (``cluster.registry.own.OwnClients``)."""

    @property
    def ledger(self) -> Registry:
        """What the engine keeps of them."""


class Speaking(Protocol):
    """What this node does for others that died (``cluster.registry.speaking.Speaking``)."""

    given_up: int
    """Other nodes that this one has given up."""

    @property
    def suspects(self) -> Sequence[Suspect]:
        """Every process that had a heartbeat lately or is given up, when the engine last answered."""

    @property
    def problem(self) -> str | None:
        """Which silent node nobody will give up, as a sentence."""


class Answering(Protocol):
    """The peer address of this node (``cluster.registry.peers.Answering``)."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Questions by result."""


class SharedPolls(Protocol):
    """The polls that nodes share (``cluster.shared.shared_polls.SharedPolls``)."""

    @property
    def counts(self) -> Mapping[str, int]:
        """What became of their entries."""

    @property
    def roles(self) -> Mapping[str, int]:
        """The canisters that this node polls, by who asks them."""

    @property
    def problem(self) -> str | None:
        """Why some canister's polls are not shared any more, as a sentence."""


class Rates(Protocol):
    """The rate limits that all nodes count together (``cluster.limits.rates.Rates``)."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Commands by result."""

    @property
    def problem(self) -> str | None:
        """Why this node counts alone although it has joined, as a sentence."""


class Doorbell(Protocol):
    """What nodes tell all others (``cluster.doorbell.Doorbell``)."""

    problem: str | None
    """Why what this node rings does not come back to it, as a sentence."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Messages by result."""


class Pauses(Protocol):
    """Endpoints that asked to be left alone (``cluster.pauses.Pauses``)."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Pauses by result."""


class ClusterNode(Protocol):
    """A node in its cluster (``cluster.node.Node``)."""

    name: str
    cluster: str
    incarnation: str
    others: int

    @property
    def requests(self) -> Requests:
        """What this node asks others, and they it."""

    @property
    def settings(self) -> Settings:
        """The configuration that runs."""

    @property
    def doorbell(self) -> Doorbell:
        """What nodes tell all others."""

    @property
    def pauses(self) -> Pauses:
        """Endpoints of the IC that asked to be left alone."""

    @property
    def claims(self) -> Mapping[str, int]:
        """Claimed opening messages by result."""

    @property
    def polls(self) -> SharedPolls:
        """The polls that it shares with others."""

    @property
    def rates(self) -> Rates:
        """The rate limits that it counts with others."""

    @property
    def contact(self) -> Contact:
        """The contact with the engine."""

    @property
    def commands(self) -> Commands:
        """The commands to the engine."""

    returned: int

    @property
    def own(self) -> OwnClients:
        """The clients of this node at the engine."""

    @property
    def speaking(self) -> Speaking:
        """What this node does for others that died."""

    @property
    def answering(self) -> Answering:
        """Its peer address."""

    @property
    def spoken_for(self) -> Mapping[str, int]:
        """Clients of nodes that are given up, by result."""

    def describe(self, *, draining: bool, revision: int, failing: str) -> None:
        """Say this of this node from the next heartbeat on."""

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
    """What keeps the node from its cluster, from ringing for the others, or from taking what they got, as a sentence;
    None where nothing does.
    """
    if node.contact.state != "joined":
        return f"this node goes on without its cluster: {node.contact.problem}"
    if node.doorbell.problem is not None:
        return f"nodes poll at their own pace, not when something is sent at another: {node.doorbell.problem}"
    if node.rates.problem is not None:
        return f"limits with scope cluster are counted by this node alone: {node.rates.problem}"
    return node.speaking.problem or node.polls.problem
