"""The workers. A gateway that has some is asked through its supervisor, which answers these operations itself."""

from appliance.control.http.problems import Conflict
from appliance.control.models import Workers
from appliance.control.routes.depends import Noted
from appliance.control.routes.routing import Operations

router = Operations("workers")


@router.view("/v1/workers", "getWorkers")
async def workers() -> Workers:
    """The processes that serve clients, where there are several."""
    return Workers(items=[], restarting=False, problem=None, engine_entries=None)


@router.change("POST", "/v1/workers/restart", "restartWorkers", Conflict, role="admin")
async def restart(note: Noted) -> Workers:
    """Restart the workers one by one: each closes its sessions at the rate of drains, and clients come back at once."""
    note.changes = False
    raise Conflict("this gateway is one process; gateway.workers is 1")
