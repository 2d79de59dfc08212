"""Declares operations of the API: each has a role, a stable name, and documented problems."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import orjson
from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from appliance.control.auth.access import ACTOR, Actor, require
from appliance.control.http.encoding import PROBLEM_TYPE, OrjsonResponse
from appliance.control.http.problems import (
    BodyTooLarge,
    ClusterAway,
    CrossOrigin,
    Invalid,
    NodeFailed,
    NotJson,
    Problem,
    RoleTooSmall,
    TooManyRequests,
    TooSlow,
    Unauthorized,
    WrongHost,
)
from appliance.control.models import Role
from appliance.control.routes.other_nodes import (
    CONFIG_TIMEOUT_S,
    PARAMETER,
    Asked,
    Reach,
    at,
    json_of,
    named,
    query_of,
)

MAX_BODY = 2 * 1024**2
"""Bytes of a request body."""
BODY_TIMEOUT_S = 30.0
"""Until the whole body has arrived."""

Problems = tuple[type[Problem], ...]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

ROLE = "x-role"
"""Extension of OpenAPI that holds the role of an operation."""
EVERYBODY = "everybody"
"""Its value for operations that need no role."""
REACH = "x-nodes"
"""Extension of OpenAPI that holds which other nodes of a cluster an operation can be asked of: `one` or `all`."""
PROBLEM_SCHEMA = "#/components/schemas/ProblemDetails"

_FOR_EVERYBODY = (Unauthorized, CrossOrigin, WrongHost, TooManyRequests)
_WITH_ROLE = (RoleTooSmall,)
_WITH_NODES = (Invalid, ClusterAway, NodeFailed)
_WITH_BODY = (TooSlow, BodyTooLarge, NotJson, Invalid)


@dataclass
class Note:
    """The audit entry of a change, filled in by the operation. Not recorded if ``changes`` is False."""

    target: str | None = None
    before: Any = None
    after: Any = None
    changes: bool = True


class JsonRequest(Request):
    """A request with a bounded body, parsed by orjson, which refuses NaN, lone surrogates and unbounded nesting."""

    _whole: bytes | None = None

    async def json(self) -> Any:
        """Raises json.JSONDecodeError."""
        return orjson.loads(await self.body())

    async def body(self) -> bytes:
        """The whole body. Raises NotJson, BodyTooLarge, TooSlow or Invalid."""
        if self._whole is None:
            self._check(self.headers)
            self._whole = await self._read()
        return self._whole

    def _check(self, headers: Mapping[str, str]) -> None:
        declared = headers.get("content-length", "0")
        if declared.isascii() and declared.isdigit() and int(declared) > MAX_BODY:
            raise BodyTooLarge(f"the body has {declared} bytes, the limit is {MAX_BODY}")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if (declared != "0" or "transfer-encoding" in headers) and kind != "application/json":
            raise NotJson(f"the body must be application/json, not {kind[:100] or 'without a type'}")

    async def _read(self) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                async for chunk in self.stream():
                    body += chunk
                    if len(body) > MAX_BODY:
                        raise BodyTooLarge(f"the body has more than {MAX_BODY} bytes")
        except TimeoutError:
            raise TooSlow(f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from None
        except ClientDisconnect:
            raise Invalid("the client disconnected before the end of the body") from None
        return bytes(body)


class Operation(APIRoute):
    """A route that checks its role before it reads the request, and records changes in the audit log.

    The role comes first, so that a sender without it learns nothing about parameters from validation errors.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of a request."""
        inner = super().get_route_handler()
        role = (self.openapi_extra or {})[ROLE]
        is_change, reach = self.methods != {"GET"}, reach_of(self)

        async def handle(plain: Request) -> Response:
            request = JsonRequest(plain.scope, plain.receive)
            actor: Actor | None = request.scope.get(ACTOR)
            # Where all nodes can be asked to change something, the operation itself asks them.
            if reach == "one" or (reach == "all" and not is_change):
                name = named(request.app.state.control, request.query_params.getlist("node"), reach)
                if name is not None:
                    if is_change:
                        return await self._change(request, partial(self._elsewhere, name=name), actor, role)
                    require(actor, "viewer" if role == EVERYBODY else role)
                    return await self._elsewhere(request, name=name)
            if role == EVERYBODY:
                return await inner(request)
            if not is_change:
                require(actor, role)
                return await inner(request)
            return await self._change(request, inner, actor, role)

        return handle

    async def _elsewhere(self, request: JsonRequest, *, name: str) -> Response:
        """Have another node do this."""
        is_change = self.methods != {"GET"}
        asked = Asked(
            self.operation_id or "",
            request.url.path,
            query_of(request.query_params.multi_items()),
            json_of(await request.body()) if is_change else None,
            request.headers.get("if-match"),
        )
        timeout_s = CONFIG_TIMEOUT_S if "config" in self.tags else None
        answered = await at(request.app.state.control, request.scope[ACTOR], name, asked, timeout_s)
        if is_change:
            note: Note = request.state.note
            note.after, note.changes = {"node": name}, not answered.is_invalid
        return answered.response()

    async def _change(
        self,
        request: JsonRequest,
        inner: Callable[[Request], Coroutine[Any, Any, Response]],
        actor: Actor | None,
        role: Role,
    ) -> Response:
        request.state.note = note = Note(target=next(iter(request.path_params.values()), None))
        status, problem = 500, "internal"
        try:
            require(actor, role)
            await request.body()
            response = await inner(request)
            status, problem = response.status_code, ""
        except RequestValidationError:
            actor = None  # no audit entry: nothing was attempted
            raise
        except Problem as error:
            status, problem = error.status, error.kind
            actor = None if isinstance(error, Unauthorized | NotJson | BodyTooLarge | TooSlow) else actor
            raise
        finally:
            if actor is not None and note.changes:
                await request.app.state.control.audit.record(
                    self.operation_id or self.name,
                    actor=actor.name,
                    role=actor.role,
                    address=actor.address,
                    status=status,
                    target=note.target,
                    problem=problem or None,
                    before=note.before,
                    after=note.after,
                )
        return response


class Operations(APIRouter):
    """A router of operations."""

    def __init__(self, tag: str) -> None:
        super().__init__(tags=[tag], route_class=Operation, default_response_class=OrjsonResponse)

    def view(
        self,
        path: str,
        name: str,
        *problems: type[Problem],
        role: Role | None = "viewer",
        nodes: Reach | None = None,
        **options: Any,
    ) -> Callable[[Endpoint], Endpoint]:
        """Declare an operation that only reads. With ``role`` None it needs no token. ``nodes`` are those that can be
        asked for it, by ``node`` in the query; where that can be all, the operation has this parameter.
        """
        options = _with_nodes(nodes, options)
        problems_of_all = (*_FOR_EVERYBODY, *(_WITH_ROLE if role else ()), *(_WITH_NODES if nodes else ()))
        return self._declare(("GET", path, name), role, (*problems_of_all, *problems), options)

    def change(
        self,
        method: str,
        path: str,
        name: str,
        *problems: type[Problem],
        role: Role = "operator",
        nodes: Reach | None = None,
        **options: Any,
    ) -> Callable[[Endpoint], Endpoint]:
        """Declare an operation that changes something. For ``nodes`` see `view`."""
        options = _with_nodes(nodes, options)
        every = (*_FOR_EVERYBODY, *_WITH_ROLE, *_WITH_BODY, *(_WITH_NODES if nodes else ()), *problems)
        return self._declare((method, path, name), role, every, options)

    def _declare(
        self, way: tuple[str, str, str], role: Role | None, problems: Problems, options: dict[str, Any]
    ) -> Callable[[Endpoint], Endpoint]:
        method, path, name = way
        responses = {**documented(problems), **options.pop("responses", {})}
        extra = {ROLE: role or EVERYBODY, **options.pop("openapi_extra", {})}
        return self.api_route(
            path,
            methods=[method],
            operation_id=name,
            responses=responses,
            openapi_extra=extra,
            **{"status_code": 200, **options},
        )


def reach_of(operation: APIRoute) -> Reach | None:
    """The nodes that can be asked for an operation."""
    return cast("Reach | None", (operation.openapi_extra or {}).get(REACH))


def _with_nodes(nodes: Reach | None, options: dict[str, Any]) -> dict[str, Any]:
    if nodes is None:
        return options
    extra = {REACH: nodes, **({"parameters": [dict(PARAMETER)]} if nodes == "one" else {})}
    return {**options, "openapi_extra": {**extra, **options.get("openapi_extra", {})}}


def documented(problems: Problems) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI responses for these problems; several may share a status."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({problem.status for problem in problems}):
        kinds = list(dict.fromkeys(problem for problem in problems if problem.status == status))
        examples = {kind.kind: {"value": _example(kind)} for kind in kinds}
        found[status] = {
            "description": "; or: ".join(kind.title for kind in kinds),
            "content": {PROBLEM_TYPE: {"schema": {"$ref": PROBLEM_SCHEMA}, "examples": examples}},
        }
    return found


def _example(kind: type[Problem]) -> dict[str, Any]:
    return kind((kind.__doc__ or kind.title).strip()).details("/v1/…").model_dump(exclude_none=True)
