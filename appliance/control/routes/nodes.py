"""The nodes of the cluster."""

from appliance.control.health.cluster import ClusterNode, NodeRecord, problem_of
from appliance.control.http.encoding import timestamp
from appliance.control.models import Node, Nodes
from appliance.control.routes.depends import Plane
from appliance.control.routes.routing import Operations
from appliance.errors import EngineAway

router = Operations("nodes")

SILENT_MS = 10_000
"""A node without a heartbeat for longer does not hold its name any more (``cluster.engine.DEAD_MS``)."""


@router.view("/v1/nodes", "getNodes")
async def nodes(control: Plane) -> Nodes:
    """The nodes of the cluster that this gateway belongs to."""
    node = control.node
    if node is None:
        return Nodes(cluster=None, node=None, engine=None, problem=None, items=[])
    try:
        items, problem = [_shown(each, node) for each in await node.nodes()], problem_of(node)
    except EngineAway as error:
        items, problem = [], problem_of(node) or str(error)
    return Nodes(cluster=node.cluster, node=node.name, engine=node.contact.state, problem=problem, items=items)


def _shown(record: NodeRecord, node: ClusterNode) -> Node:
    info = record.info
    return Node(
        name=record.name,
        is_this=record.incarnation == node.incarnation,
        state="alive" if record.silent_ms <= SILENT_MS else "silent",
        silent_s=record.silent_ms / 1000,
        incarnation=record.incarnation,
        host=info.host,
        pid=info.pid,
        version=info.version,
        started_at=timestamp(info.started_at_ns),
        sessions=info.sessions,
    )
