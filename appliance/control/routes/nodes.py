"""The nodes of the cluster."""

from typing import Any, Literal

from appliance.control.health.cluster import SILENT_MS, ClusterNode, NodeRecord, Suspect, problem_of
from appliance.control.http.encoding import timestamp
from appliance.control.models import Node, Nodes
from appliance.control.routes.depends import Plane
from appliance.control.routes.routing import Operations
from appliance.errors import EngineAway

router = Operations("nodes")


@router.view("/v1/nodes", "getNodes")
async def nodes(control: Plane) -> Nodes:
    """The nodes of the cluster that this gateway belongs to."""
    node = control.node
    if node is None:
        return Nodes(cluster=None, node=None, engine=None, problem=None, items=[])
    try:
        suspects = {each.incarnation: each for each in node.speaking.suspects}
        items = [_shown(each, node, suspects.pop(each.incarnation, None)) for each in await node.nodes()]
        items += [_gone(each) for each in suspects.values() if each.given]
        problem = problem_of(node)
    except EngineAway as error:
        items, problem = [], problem_of(node) or str(error)
    return Nodes(cluster=node.cluster, node=node.name, engine=node.contact.state, problem=problem, items=items)


def _gone(suspect: Suspect) -> Node:
    """An earlier process of a node that is given up."""
    info = suspect.info
    return Node(
        name=suspect.node,
        is_this=False,
        state="given up" if suspect.given == "given" else "returned",
        silent_s=suspect.silent_ms / 1000,
        incarnation=suspect.incarnation,
        host=info.host,
        pid=info.pid,
        version=info.version,
        started_at=timestamp(info.started_at_ns),
        sessions=0,
        **_known(suspect),
    )


def _known(suspect: Suspect | None) -> dict[str, Any]:
    """What the registry has of a process."""
    if suspect is None:
        return {}
    at = timestamp(suspect.given_ms * 10**6) if suspect.by else None
    return {"given_up_by": suspect.by or None, "given_up_at": at, "clients": suspect.clients, "told": suspect.told}


def _shown(record: NodeRecord, node: ClusterNode, suspect: Suspect | None) -> Node:
    info = record.info
    state: Literal["alive", "silent", "given up"] = "alive" if record.silent_ms <= SILENT_MS else "silent"
    if suspect is not None and suspect.given:
        state = "given up"
    return Node(
        name=record.name,
        is_this=record.incarnation == node.incarnation,
        state=state,
        silent_s=record.silent_ms / 1000,
        incarnation=record.incarnation,
        host=info.host,
        pid=info.pid,
        version=info.version,
        started_at=timestamp(info.started_at_ns),
        sessions=info.sessions,
        peer=info.peer or None,
        **_known(suspect),
        draining=info.draining,
        generation=info.revision,
        failing=info.failing.split(", ") if info.failing else [],
    )
