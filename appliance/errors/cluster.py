"""Several nodes as one gateway: what keeps a node from its cluster. None of these closes a socket."""

from appliance.errors.base import GatewayError


class ClusterError(GatewayError, reason="cluster"):
    """A node is not part of its cluster."""


class EngineAway(ClusterError, reason="engine_away"):
    """The engine does not answer, or not in time. Everything goes on without it."""

    problem: str
    sentence = "the engine of the cluster does not answer: {problem}"


class EngineUnsuitable(ClusterError, reason="engine_unsuitable"):
    """The engine answers, and is of a kind that the cluster cannot use. ``problem`` says why, with the remedy."""

    problem: str
    sentence = "this engine cannot carry a cluster: {problem}"


class ClusterMismatch(ClusterError, reason="cluster_mismatch"):
    """The living nodes of the cluster agree on something that this node has otherwise: ``what``, as words."""

    cluster: str
    what: str
    ours: str
    theirs: str
    sentence = (
        "the nodes of cluster {cluster} have {what} {theirs}, this one has {ours}; all need the same, "
        "or this one another cluster.name"
    )


class NodeUnknown(ClusterError, reason="node_unknown"):
    """The engine knows no node of this name."""

    cluster: str
    node: str
    sentence = "cluster {cluster} has no node {node}; `icws nodes` lists them"


class NodeSilent(ClusterError, reason="node_silent"):
    """A node that was asked does not answer. Nobody knows whether it did what it was asked for."""

    node: str
    problem: str
    sentence = "node {node} does not answer: {problem}"


class NodeRefused(ClusterError, reason="node_refused"):
    """A node that was asked did nothing, and says why."""

    node: str
    problem: str
    sentence = "node {node} did nothing: {problem}"


class NodeNameTaken(ClusterError, reason="node_name_taken"):
    """A living node of the cluster has the name of this one."""

    cluster: str
    node: str
    sentence = "a node named {node} runs in cluster {cluster} already; give this one another name in cluster.node"


class PeerAddressUnusable(ClusterError, reason="peer_address"):
    """The node cannot listen where others ask whether it lives."""

    address: str
    problem: str
    sentence = "the address {address} of cluster.peer cannot be used: {problem}"


class EntryForged(ClusterError, reason="entry_forged"):
    """No node of the cluster wrote this entry of a shared poll."""

    size: int
    sentence = "the engine has an entry of {size} bytes that no node of this cluster wrote"


class EntryReplayed(ClusterError, reason="entry_replayed"):
    """The engine has an entry of a shared poll at another place than the one that it was written for."""

    written: int
    found: int
    sentence = "the engine has entry {written} of another time or place as entry {found}"


class EntryUnknown(ClusterError, reason="entry_unknown"):
    """An entry of a shared poll has another schema: a node of another release wrote it."""

    theirs: int
    ours: int
    sentence = "the nodes that share polls write entries of schema {theirs}, this one reads {ours}"


class RestartUnderWay(GatewayError, reason="restart_under_way"):
    """The workers are being replaced already, or the gateway stops."""

    sentence = "the workers are being restarted already, or the gateway stops"


class WorkerFailed(GatewayError, reason="worker_failed"):
    """A worker that was started did not become ready."""

    number: int
    problem: str
    sentence = "worker {number} did not become ready: {problem}"


class WorkersUnsupported(GatewayError, reason="workers_unsupported"):
    """Several workers need what only Linux has."""

    sentence = "gateway.workers needs Linux; write 1, or run several gateways as a cluster"


class WorkerAway(GatewayError, reason="worker_away"):
    """A worker gives no answer."""

    number: int
    problem: str
    sentence = "worker {number} does not answer: {problem}"
