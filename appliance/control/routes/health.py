"""Health, for supervisors and load balancers. Needs no token."""

from typing import Annotated, Literal

from fastapi import Query
from starlette.responses import Response

from appliance.control.http.encoding import OrjsonResponse
from appliance.control.http.problems import Invalid
from appliance.control.models import Health
from appliance.control.routes.depends import Plane
from appliance.control.routes.routing import Operations

router = Operations("health")

Verbose = Annotated[
    bool | Literal[""], Query(description="With every check, by name; `?verbose` is enough.", examples=[True])
]
_FAILING = {503: {"model": Health, "description": "A check fails"}}


def _answer(health: Health, verbose: Verbose) -> Response:
    shown = health if verbose in (True, "") else Health(status=health.status)
    return OrjsonResponse(shown.model_dump(exclude_none=True), status_code=200 if health.status == "ok" else 503)


@router.view("/livez", "getLive", Invalid, role=None, response_model=Health, responses=_FAILING)
async def live(control: Plane, verbose: Verbose = False) -> Response:
    """Whether the process works: its event loop is on time, and canisters are polled."""
    return _answer(await control.health.live(), verbose)


@router.view("/readyz", "getReady", Invalid, role=None, nodes="one", response_model=Health, responses=_FAILING)
async def ready(control: Plane, verbose: Verbose = False) -> Response:
    """Whether a load balancer should send clients here. Fails first when the gateway drains or stops."""
    return _answer(await control.health.ready(), verbose)


@router.view("/startupz", "getStarted", Invalid, role=None, response_model=Health, responses=_FAILING)
async def started(control: Plane, verbose: Verbose = False) -> Response:
    """Whether the gateway has started."""
    return _answer(await control.health.startup(), verbose)
