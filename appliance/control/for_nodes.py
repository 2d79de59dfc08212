"""Does operations of the API for other nodes of the cluster, which have checked who asks.

A node that asks has the identity of the gateway, and so may do whatever this one may: its seal is the proof. The role
of whoever asked there is checked here as well, and what changes something is in the audit log of both.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI
from pydantic import ValidationError
from starlette.types import Message

from appliance.control.app import operations
from appliance.control.auth.access import ACTOR, Actor
from appliance.control.control import Control
from appliance.control.health.cluster import ClusterNode
from appliance.control.http.encoding import to_json
from appliance.control.http.problems import Invalid
from appliance.control.routes.other_nodes import NodeRequest, encoded, query_of
from appliance.control.routes.routing import Operation, reach_of
from appliance.task_end import cancel

DESCRIBE_S = 1.0
"""Between two times that a node says how it is; as often as it has a heartbeat."""
HEALTH_TURNS = 10
"""After so many of them it checks its readiness: a check may ask the IC."""


def serve_nodes(app: FastAPI, node: ClusterNode) -> None:
    """Answer other nodes from now on."""
    known = {route.operation_id or "": route for route in operations() if reach_of(route) is not None}

    async def handle(kind: str, sender: str, body: bytes) -> bytes:
        return encoded(*await _do(app, known[kind], sender, body))

    node.requests.serve(known.keys(), handle)


@asynccontextmanager
async def describing(control: Control, node: ClusterNode) -> AsyncIterator[None]:
    """Keep other nodes informed of the state of this one."""
    task = asyncio.ensure_future(_describe(control, node))
    try:
        yield
    finally:
        await cancel(task)


async def _describe(control: Control, node: ClusterNode) -> None:
    for turn in count():
        if turn % HEALTH_TURNS == 0:
            checks = (await control.health.ready()).checks or ()
            failing = ", ".join(check.name for check in checks if not check.ok)
        draining = control.gateway.drain is not None
        node.describe(draining=draining, revision=control.reloads.revision, failing=failing)
        await asyncio.sleep(DESCRIBE_S)


async def _do(app: FastAPI, route: Operation, sender: str, body: bytes) -> tuple[int, bytes]:
    try:
        request = NodeRequest.model_validate_json(body)
    except ValidationError:
        return _refused("the request cannot be read; is the node of another version?", "")
    if route.path_regex.match(request.path) is None:
        return _refused(f"{route.operation_id} has another path", request.path)
    actor = Actor(f"{request.actor} at node {sender}", request.role, f"node:{sender}")
    return await _respond(app, _scope(route, request, actor), b"" if request.body is None else to_json(request.body))


def _refused(problem: str, path: str) -> tuple[int, bytes]:
    return Invalid.status, to_json(Invalid(problem).details(path).model_dump(exclude_none=True))


def _scope(route: Operation, request: NodeRequest, actor: Actor) -> dict[str, Any]:
    headers = [(b"content-type", b"application/json")] if request.body is not None else []
    if request.if_match is not None:
        headers.append((b"if-match", request.if_match.encode("latin-1", "replace")))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": next(iter(route.methods or ())),
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode(),
        "root_path": "",
        "query_string": urlencode(query_of(request.query)).encode(),
        "headers": headers,
        "client": None,
        "server": None,
        "state": {},
        ACTOR: actor,
    }


async def _respond(app: FastAPI, scope: dict[str, Any], content: bytes) -> tuple[int, bytes]:
    """The status and the body of a response. Raises what the application raises, after it has answered with 500."""
    status, body, is_read = 500, bytearray(), False

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            return {"type": "http.disconnect"}
        is_read = True
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))

    await app(scope, receive, send)
    return status, bytes(body)
