"""Health, for those who start, watch and send clients; nobody needs a token to ask."""

from typing import Annotated

from fastapi import Query
from pydantic import BeforeValidator
from starlette.responses import Response

from appliance.control.answers import Json
from appliance.control.depends import Plane
from appliance.control.models import Health
from appliance.control.problems import Invalid
from appliance.control.routing import Operations

router = Operations("health")

Verbose = Annotated[
    bool,
    BeforeValidator(lambda value: value == "" or value),  # ``?verbose`` is enough
    Query(description="With every check, by name.", examples=[True]),
]
_FAILING = {503: {"model": Health, "description": "It is not"}}


def _answer(health: Health, *, verbose: bool) -> Response:
    shown = health if verbose else Health(status=health.status)
    return Json(shown.model_dump(exclude_none=True), status_code=200 if health.status == "ok" else 503)


@router.view("/livez", "getLive", Invalid, role=None, response_model=Health, responses=_FAILING)
async def live(control: Plane, verbose: Verbose = False) -> Response:
    """Whether the process is worth keeping: its event loop turns."""
    return _answer(await control.health.live(), verbose=verbose)


@router.view("/readyz", "getReady", Invalid, role=None, response_model=Health, responses=_FAILING)
async def ready(control: Plane, verbose: Verbose = False) -> Response:
    """Whether clients should be sent here. Red first when it is drained or stops."""
    return _answer(await control.health.ready(), verbose=verbose)


@router.view("/startupz", "getStarted", Invalid, role=None, response_model=Health, responses=_FAILING)
async def started(control: Plane, verbose: Verbose = False) -> Response:
    """Whether the start is over."""
    return _answer(await control.health.startup(), verbose=verbose)
