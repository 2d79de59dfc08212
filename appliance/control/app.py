"""The FastAPI application: every operation of the API, its OpenAPI description, and error handlers."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from appliance.control.control import Control
from appliance.control.http.encoding import OrjsonResponse
from appliance.control.http.head import ENDLESS
from appliance.control.http.problems import MethodNotAllowed, Problem, answer, on_http_exception, on_invalid, on_problem
from appliance.control.models import ProblemDetails
from appliance.control.routes import (
    canisters,
    config,
    events,
    health,
    nodes,
    operation,
    overview,
    sessions,
    tokens,
    workers,
)
from appliance.control.routes.routing import EVERYBODY, ROLE, Operation

DESCRIPTION = """\
Inspect and change a running gateway.

Over a Unix socket every client is an admin: the permissions of the socket decide who may connect. Over TCP a bearer
token is needed; its role is `viewer`, `operator` or `admin`, each with the rights of those before it. `x-role` is the
role that an operation needs. Errors are problem details (RFC 9457).
"""
ROUTERS: tuple[APIRouter, ...] = (
    *(overview.router, config.router, canisters.router, sessions.router, operation.router),
    *(events.router, nodes.router, workers.router, tokens.router, health.router),
)


def create_app(control: Control, *, page: Sequence[BaseRoute] = ()) -> FastAPI:
    """The API of a gateway, with the routes of its page. It checks roles only: serve it behind an
    ``AccessControl``."""
    app = FastAPI(
        title="icws",
        version=control.version,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=OrjsonResponse,
        separate_input_output_schemas=False,
        exception_handlers={
            Problem: on_problem,
            RequestValidationError: on_invalid,
            HTTPException: on_http_exception,
            405: _on_wrong_method,
            Exception: on_problem,
        },
    )
    app.state.control = control
    for router in ROUTERS:
        app.include_router(router)
    app.router.routes.extend(page)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 description, made once."""
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            openapi_version="3.1.0",
        )
        parts = found.setdefault("components", {})
        parts["schemas"][ProblemDetails.__name__] = ProblemDetails.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "description": "Over TCP only."}}
        for operations in found["paths"].values():
            for operation in operations.values():
                if operation[ROLE] != EVERYBODY:
                    operation["security"] = [{"token": []}]
                    operation["description"] = f"{operation.get('description', '')}\n\nRole: {operation[ROLE]}.".strip()
        app.openapi_schema = found
    return app.openapi_schema


def operations() -> list[Operation]:
    """Every operation of the API."""
    return [route for router in ROUTERS for route in router.routes if isinstance(route, Operation)]


async def _on_wrong_method(request: Request, _: Exception) -> Response:
    """405 with every method of the path: Starlette's own answer names those of the first matching route only."""
    path = request.url.path
    here = [route for route in operations() if route.path_regex.match(path)]
    exact = [route for route in here if route.path == path]
    methods = {method for route in exact or here for method in route.methods or ()} or {"GET"}
    if "GET" in methods and path not in ENDLESS:
        methods |= {"HEAD"}
    allowed = ", ".join(sorted(methods))
    problem = MethodNotAllowed(f"{request.method} is not supported here; use {allowed}", headers={"Allow": allowed})
    return answer(problem, path)
