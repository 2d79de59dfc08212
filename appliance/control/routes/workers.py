"""The workers. A gateway that has some is asked through its supervisor, which answers these operations itself."""

from appliance.control.http.problems import Conflict
from appliance.control.models import Workers
from appliance.control.routes.depends import Noted, Plane
from appliance.control.routes.routing import Operations

router = Operations("workers")


@router.view("/v1/workers", "getWorkers")
async def workers() -> Workers:
    """The processes that serve clients, where there are several."""
    return Workers(items=[], restarting=False, problem=None, engine_entries=None)


@router.change("POST", "/v1/workers/restart", "restartWorkers", Conflict, role="admin")
async def restart(control: Plane, note: Noted) -> Workers:
    """Restart the workers one by one: each closes its sessions at the rate of drains, and clients come back at once."""
    if not control.is_worker:
        note.changes = False
        raise Conflict("this gateway is one process; gateway.workers is 1")
    # The supervisor restarts the workers; this one has the audit log.
    return Workers(items=[], restarting=True, problem=None, engine_entries=None)
