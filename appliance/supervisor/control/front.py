"""Serves the API of a gateway with workers: each request is answered by the supervisor, by one worker, or by all.

What only one worker can know is asked of it by the query ``worker=2``, or by its name as a node; without that, the
first one that is ready answers for all, where all have the same to say.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from appliance.control.auth.access import ACTOR, Actor, require
from appliance.control.http.encoding import timestamp
from appliance.control.http.problems import (
    Conflict,
    Invalid,
    MethodNotAllowed,
    NodeFailed,
    NotFound,
    Problem,
    Unavailable,
    answer,
)
from appliance.control.models import Fault, Workers
from appliance.control.models import Worker as Shown
from appliance.control.observe.metrics_server import METRICS_TYPE
from appliance.control.routes.other_nodes import EVERY
from appliance.control.routes.routing import JsonRequest
from appliance.errors import GatewayError, RestartUnderWay, WorkerAway
from appliance.gateway.sockets.http import HEALTH_PATHS
from appliance.supervisor.control import merging
from appliance.supervisor.control.asking import Answer, Question, ask
from appliance.supervisor.control.changes import Changes, without
from appliance.supervisor.control.events import MergedEvents
from appliance.supervisor.control.metrics import render
from appliance.supervisor.supervisor import Supervisor
from appliance.supervisor.worker import Worker

_log = structlog.get_logger(__name__)

_SESSION = re.compile(r"/v1/sessions/[^/]+(/story)?")
_MERGED: dict[str, Callable[[merging.Answers, int | None], dict[str, Any]]] = {
    "/v1/sessions": lambda found, limit: merging.sessions(found, limit or 100),
    "/v1/stories": lambda found, limit: merging.stories(found, limit or 20),
    "/v1/refusals": lambda found, _: merging.latest(found, "at"),
    "/v1/status": lambda found, _: merging.status(found),
    "/v1/stats": lambda found, _: merging.stats(found),
    "/v1/stats/recent": lambda found, _: merging.recent(found),
    "/v1/drain": lambda found, _: merging.drain(found),
    "/v1/canisters": lambda found, _: merging.canisters(found),
}
"""Views of what all workers have, and how they are merged; the second argument is the query ``limit``."""
_OF_ONE = re.compile(r"/v1/tokens(/.*)?|/v1/config/plan")
"""Changes that one worker makes for all: there is one file of tokens, which every process reads again. It is the first
worker, which has the audit log.
"""
_PASSED_ON = ("accept", "if-match", "content-type", "last-event-id")
CLOSE = "/v1/sessions/close"
DRAIN = "/v1/drain"
_BY_ONE = (CLOSE, DRAIN)
"""Changes that one worker can make alone. Of all others every worker must have the same."""
QUERY_TIMEOUT_S = 10.0
"""For a worker to say what it has. One that hangs is left out, and its watchdog ends it."""

Handler = Callable[[Request, Actor | None], Awaitable[Response]]


class Front:
    """An ASGI application. Serve it behind an ``AccessControl``."""

    def __init__(self, supervisor: Supervisor, changes: Changes, events: MergedEvents) -> None:
        self._supervisor = supervisor
        self._changes = changes
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = JsonRequest(scope, receive)
        try:
            response = await self._respond(request, scope.get(ACTOR))
        except Problem as problem:
            response = answer(problem, scope["path"])
        except WorkerAway as error:
            response = answer(Unavailable(str(error)), scope["path"])
        await response(scope, receive, send)

    async def _respond(self, request: JsonRequest, actor: Actor | None) -> Response:
        """Raises Problem and WorkerAway."""
        path, method = request.url.path, request.method
        named, question = self._named(request), await self._question(request, actor)
        if named is not None:
            if method != "GET" and path not in _BY_ONE:
                require(actor, "viewer")
                raise _by_all(request)
            return _passed_on(await self._ask(named, question))
        if path == "/v1/events":
            return self._events.response(request, require(actor, "viewer"))
        if path.startswith("/v1/workers"):
            return await self._workers(path, question)
        if (node := request.query_params.get("node")) is not None:
            if node != EVERY or (method != "GET" and path != CLOSE):
                return _passed_on(await self._ask(self._supervisor.workers[0], question))
            question = replace(question, target=without(question.target, "node"))
        return await (self._view(path, question) if method == "GET" else self._change(path, question))

    def _named(self, request: JsonRequest) -> Worker | None:
        """The worker that a request names, by its number or as a node. Raises Invalid."""
        workers, asked = self._supervisor.workers, request.query_params
        if (number := asked.get("worker")) is None:
            return next((each for each in workers if self._supervisor.node_of(each) == asked.get("node")), None)
        found = next((each for each in workers if str(each.role.number) == number), None)
        if found is None:
            raise Invalid(f"worker: there is no worker {number[:20]}; the last one is {len(workers)}")
        return found

    async def _question(self, request: JsonRequest, actor: Actor | None) -> Question:
        """The request as a worker gets it."""
        headers = {name: value for name, value in request.headers.items() if name in _PASSED_ON}
        body = b"" if request.method in ("GET", "HEAD") else await request.body()
        target = request.scope.get("raw_path", request.url.path.encode()).decode("ascii")
        whole = without(f"{target}?{request.url.query}", "worker")
        return Question(request.method, whole, actor, body, headers)

    # --- views --------------------------------------------------------------------------------------------------------

    async def _view(self, path: str, question: Question) -> Response:
        if path == "/metrics":
            return await self._metrics(question)
        if path in HEALTH_PATHS:
            return await self._health(question)
        if (merge := _MERGED.get(path)) is not None:
            given = dict(parse_qsl(question.target.partition("?")[2])).get("limit", "")
            limit = int(given) if given.isdecimal() else None
            return await self._merged(question, lambda found: merge(found, limit))
        if _SESSION.fullmatch(path):
            return await self._whoever_has_it(question)
        return _passed_on(await self._ask(self._first(), question))

    async def metrics(self) -> bytes:
        """The metrics of all workers that answer, and those of the supervisor, also where none does: that no worker is
        ready is what an alert has to see. Raises nothing.
        """
        try:
            answers = await self._ask_all(Question("GET", "/metrics"))
        except (Problem, GatewayError):
            answers = {}
        of_workers = merging.metrics({number: each.body for number, each in answers.items() if each.is_good})
        return of_workers + render(self._supervisor)

    async def _metrics(self, question: Question) -> Response:
        answers = await self._ask_all(question)
        if (refused := _refused(answers)) is not None:
            return _passed_on(refused)
        of_workers = merging.metrics({number: each.body for number, each in answers.items()})
        return Response(of_workers + render(self._supervisor), media_type=METRICS_TYPE)

    async def _health(self, question: Question) -> Response:
        answers = await self._ask_all(question)
        refused = next(
            (each for each in answers.values() if not each.is_good and each.status != Unavailable.status), None
        )
        if refused is not None:
            return _passed_on(refused)
        merged = merging.health({number: each.json for number, each in answers.items()})
        return _json(merged, 200 if merged["status"] == "ok" else 503)

    async def _merged(self, question: Question, merge: Callable[[merging.Answers], dict[str, Any]]) -> Response:
        answers = await self._ask_all(question)
        if (refused := _refused(answers)) is not None:
            return _passed_on(refused)
        return _json(merge({number: each.json for number, each in answers.items()}))

    async def _whoever_has_it(self, question: Question) -> Response:
        answers = list((await self._ask_all(question)).values())
        found = next((each for each in answers if each.is_good), None)
        other = next((each for each in answers if each.status != NotFound.status), answers[0])
        return _passed_on(found or other)

    # --- changes ------------------------------------------------------------------------------------------------------

    async def _change(self, path: str, question: Question) -> Response:
        if path == CLOSE:
            return await self._merged(question, merging.closed)
        if path == DRAIN:
            return await self._merged(self._divided(question), merging.drain)
        if _OF_ONE.fullmatch(path):
            return _passed_on(await self._ask(self._supervisor.workers[0], question))
        return _passed_on(await self._changes.make(question))

    def _divided(self, question: Question) -> Question:
        """A drain whose rate is shared by the workers."""
        if question.method != "POST":
            return question
        try:
            body = orjson.loads(question.body)
            body["rate"] /= len(self._supervisor.workers)
        except (orjson.JSONDecodeError, TypeError, KeyError):
            return question  # it has none, or is refused there
        return Question(question.method, question.target, question.actor, orjson.dumps(body), question.headers)

    async def _workers(self, path: str, question: Question) -> Response:
        """Raises NotFound, MethodNotAllowed, Unauthorized, RoleTooSmall and Conflict."""
        method = question.method
        allowed = {"/v1/workers": "GET", "/v1/workers/restart": "POST"}.get(path)
        if allowed is None:
            raise NotFound(f"there is nothing at {path[:100]}")
        if method != allowed:
            raise MethodNotAllowed(f"{method} is not supported here; use {allowed}", headers={"Allow": allowed})
        sender = require(question.actor, "viewer" if method == "GET" else "admin")
        if method == "POST":
            if self._changes.is_on_trial:
                raise Conflict("a configuration is on trial: confirm it or roll it back first")
            await self._restart(question)
            _log.info("the workers are restarted", actor=sender.name, address=sender.address)
        return _json(self.workers().model_dump())

    async def _restart(self, question: Question) -> None:
        """Raises Conflict."""
        try:
            self._supervisor.check_restart()
            # Before the restart: the first worker, which keeps the audit log, is also the first to be replaced.
            first = self._supervisor.workers[0].role
            try:
                await ask(first.number, first.control, question, timeout_s=QUERY_TIMEOUT_S)
            except WorkerAway as error:  # a restart may be what brings it back
                _log.warning("the audit log does not have the restart of the workers", cause=str(error))
            self._supervisor.restart()
        except RestartUnderWay as error:
            raise Conflict(str(error)) from error

    def workers(self) -> Workers:
        """The workers, as the API shows them."""
        supervisor = self._supervisor
        return Workers(
            items=[_shown(each) for each in supervisor.workers],
            restarting=supervisor.is_restarting,
            problem=supervisor.restart_problem,
            engine_entries=None if supervisor.engine is None else len(supervisor.engine.board),
        )

    # --- asking -------------------------------------------------------------------------------------------------------

    def _first(self) -> Worker:
        """Raises Unavailable."""
        return self._here()[0]

    def _here(self) -> Sequence[Worker]:
        """The workers that can be asked, the ready ones first. Raises Unavailable where there is none."""
        found = [each for each in self._supervisor.workers if each.pid is not None and each.role.control.exists()]
        if not found:
            raise Unavailable("no worker is ready yet")
        return sorted(found, key=lambda each: (not each.ready.is_set(), each.role.number))

    async def _ask(self, worker: Worker, question: Question) -> Answer:
        return await ask(worker.role.number, worker.role.control, question)

    async def _ask_all(self, question: Question) -> dict[int, Answer]:
        """What each says. Raises WorkerAway where nobody answers, and NodeFailed where one does not say whether it has
        made a change that the others have made.
        """

        async def one(worker: Worker) -> Answer:
            return await ask(worker.role.number, worker.role.control, question, timeout_s=QUERY_TIMEOUT_S)

        asked = sorted(self._here(), key=lambda each: each.role.number)
        said = await asyncio.gather(*map(one, asked), return_exceptions=True)
        answers = {
            worker.role.number: each for worker, each in zip(asked, said, strict=True) if isinstance(each, Answer)
        }
        for each in said:
            if isinstance(each, BaseException) and (not answers or not isinstance(each, WorkerAway)):
                raise each
        silent = [str(each) for each in said if isinstance(each, WorkerAway)]
        if silent and question.method != "GET":
            raise NodeFailed(f"{'; '.join(silent)}. The other workers did what was asked; ask again")
        return answers


def _shown(worker: Worker) -> Shown:
    return Shown(
        number=worker.role.number,
        state=worker.state,
        pid=worker.pid,
        connections=worker.connections,
        accepts=worker.accepts,
        starts=worker.starts,
        started_at=timestamp(worker.started_at_ns) if worker.started_at_ns else None,
        problem=worker.problem,
    )


def _by_all(request: Request) -> Invalid:
    key = "worker" if "worker" in request.query_params else "node"
    problem = "all workers of a gateway make this change or none does, so one of them cannot be asked alone"
    return Invalid(f"{key}: {problem}", errors=[Fault(place="query", key=key, problem=problem)])


def _refused(answers: dict[int, Answer]) -> Answer | None:
    return next((each for each in answers.values() if not each.is_good), None)


_OF_THE_CONNECTION = (b"connection", b"transfer-encoding", b"content-length", b"date")


def _passed_on(said: Answer) -> Response:
    response = Response(said.body, said.status)
    kept = [(name, value) for name, value in said.headers if name.lower() not in _OF_THE_CONNECTION]
    response.raw_headers = [*kept, (b"content-length", str(len(said.body)).encode())]
    return response


def _json(value: object, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")
