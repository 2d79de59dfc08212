"""The HTTP interface of the replica (IC interface specification, "HTTPS Interface")."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from appliance.crypto import Request, encode_cbor
from appliance.ic.principal import Principal
from appliance.localnet.http.errors import HttpError
from appliance.localnet.http.read_state import PathRules, StateReader
from appliance.localnet.http.requests import CBOR_TYPE, RequestReader, effective_id_in_url, version_in_url
from appliance.localnet.replica.node import Nodes, SingleNode
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.certification import Ranges
from appliance.localnet.state.outcome import Rejection, Reply
from appliance.localnet.subnet.conditions import SYNC_CALL_WAIT_S

API_VERSION = "0.18.0"
BODY_LIMIT = 5 * 1024 * 1024
SUBNET_CALLS = frozenset({4})
"""The versions of calls to a subnet; older versions have no such endpoint."""
SUBNET_QUERIES = frozenset({3})
"""The versions of queries to a subnet, likewise."""

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "authorization, accept, content-type",
    "Access-Control-Max-Age": "600",
}


@dataclass(frozen=True)
class Versions:
    """Which versions of each endpoint are served; others answer 404, which makes agents fall back."""

    call: frozenset[int] = frozenset({2, 3, 4})
    query: frozenset[int] = frozenset({2, 3})
    read_state: frozenset[int] = frozenset({2, 3})

    @staticmethod
    def only(*versions: int) -> "Versions":
        """The same versions of every endpoint."""
        return Versions(frozenset(versions), frozenset(versions), frozenset(versions))


class HttpInterface:
    """Answers requests from the ``nodes`` of a replica's subnet, which go on when the HTTP server stops.

    Which node answers is decided once per request: `_submit`, `_answer_query` and `_read_state` are the only places
    that pick one. Each request and each response waits for ``one_way()``.
    """

    def __init__(
        self,
        replica: Replica,
        versions: Versions | None = None,
        *,
        nodes: Nodes | None = None,
        one_way: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._replica = replica
        self._nodes = nodes or SingleNode(replica, call_wait_s=SYNC_CALL_WAIT_S)
        self._middlewares = [] if one_way is None else [_travelling(one_way)]
        self._versions = versions or Versions()
        self._requests = RequestReader(replica)
        self._rules = PathRules(replica.authority, replica.ingress.get)

    def application(self) -> web.Application:
        """A new application with all routes."""
        app = web.Application(client_max_size=BODY_LIMIT, middlewares=self._middlewares)
        app.on_response_prepare.append(_allow_every_origin)
        app.router.add_get("/api/v2/status", self._status)
        app.router.add_route("OPTIONS", "/{path:.*}", _preflight)
        canister, subnet = r"/api/v{version:\d+}/canister/{effective_id}", r"/api/v{version:\d+}/subnet/{effective_id}"
        app.router.add_post(f"{canister}/call", self._call)
        app.router.add_post(f"{canister}/query", self._query)
        app.router.add_post(f"{canister}/read_state", self._read_canister_state)
        app.router.add_post(f"{subnet}/call", self._call_subnet)
        app.router.add_post(f"{subnet}/query", self._query_subnet)
        app.router.add_post(f"{subnet}/read_state", self._read_subnet_state)
        return app

    async def _status(self, _: web.Request) -> web.Response:
        return _cbor(
            {
                "ic_api_version": API_VERSION,
                "root_key": self._replica.authority.root_key,
                "impl_version": "localnet",
                "impl_hash": "",
                "replica_health_status": "healthy",
                "certified_height": self._nodes.pick().height,
            }
        )

    async def _call(self, http: web.Request) -> web.Response:
        try:
            version = version_in_url(http, self._versions.call)
            request = await self._requests.read(http, "call")
            self._requests.check_effective_id(request, effective_id_in_url(http))
        except HttpError as error:
            return _error_response(error)
        return await self._submit(request, version)

    async def _call_subnet(self, http: web.Request) -> web.Response:
        """Calls without an effective canister id: those that create a canister."""
        try:
            version = version_in_url(http, self._versions.call & SUBNET_CALLS)
            request = await self._requests.read(http, "call")
            self._requests.check_subnet(request, effective_id_in_url(http))
        except HttpError as error:
            return _error_response(error)
        return await self._submit(request, version)

    async def _submit(self, request: Request, version: int) -> web.Response:
        node = self._nodes.pick()
        rejection = node.admit(request)
        if rejection is not None:
            return _rejection_response(rejection, version)
        if version == 2:
            node.submit(request)
            return web.Response(status=202)
        if not await node.execute(request, wait_s=self._nodes.call_wait_s):
            return web.Response(status=202)
        path = (b"request_status", request.request_id)
        certificate = node.certificate([path], "flat" if version == 3 else "sharded")
        return _cbor({"status": "replied", "certificate": certificate})

    async def _query(self, http: web.Request) -> web.Response:
        try:
            version = version_in_url(http, self._versions.query)
            request = await self._requests.read(http, "query")
            self._requests.check_effective_id(request, effective_id_in_url(http))
        except HttpError as error:
            return _error_response(error)
        return self._answer_query(request, version)

    async def _query_subnet(self, http: web.Request) -> web.Response:
        """Queries without an effective canister id: those about all canisters."""
        try:
            version = version_in_url(http, self._versions.query & SUBNET_QUERIES)
            request = await self._requests.read(http, "query")
            self._requests.check_subnet(request, effective_id_in_url(http))
        except HttpError as error:
            return _error_response(error)
        return self._answer_query(request, version)

    def _answer_query(self, request: Request, version: int) -> web.Response:
        node = self._nodes.pick()
        outcome = node.query(request, _ranges(version))
        response: dict[str, object] = (
            {"status": "replied", "reply": {"arg": outcome.arg}}
            if isinstance(outcome, Reply)
            else {"status": "rejected", **outcome.to_cbor()}
        )
        return _cbor({**response, "signatures": [node.sign(response, request.request_id)]})

    async def _read_canister_state(self, http: web.Request) -> web.Response:
        return await self._read_state(http, is_subnet=False)

    async def _read_subnet_state(self, http: web.Request) -> web.Response:
        return await self._read_state(http, is_subnet=True)

    async def _read_state(self, http: web.Request, *, is_subnet: bool) -> web.Response:
        try:
            version = version_in_url(http, self._versions.read_state)
            request = await self._requests.read(http, "read_state")
            effective_id = effective_id_in_url(http)
            targets = None if request.targets is None else frozenset(request.targets)
            reader = StateReader(Principal(request.sender), targets, effective_id, is_subnet, version)
            self._rules.check(request.paths, reader)
        except HttpError as error:
            return _error_response(error)
        ranges: Ranges = "none" if is_subnet and version > 2 else _ranges(version)
        certificate = self._nodes.pick().certificate(self._rules.shown(request.paths, reader), ranges)
        return _cbor({"certificate": certificate})


def _travelling(one_way: Callable[[], Awaitable[None]]) -> Middleware:
    """Let requests and responses of agents take their time. The page is beside the network."""

    @web.middleware
    async def travel(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith("/api/"):
            return await handler(request)
        await request.read()  # now: a client that leaves on the way takes its body with it
        await one_way()
        response = await handler(request)
        await one_way()
        return response

    return travel


def _cbor(value: dict[str, object]) -> web.Response:
    return web.Response(body=encode_cbor(value), content_type=CBOR_TYPE)  # type: ignore[arg-type]  # CBOR values only


def _error_response(error: HttpError) -> web.Response:
    return web.Response(status=error.status, text=error.text)


def _rejection_response(rejection: Rejection, version: int) -> web.Response:
    if version == 2:
        return _cbor(dict(rejection.to_cbor()))
    return _cbor({"status": "non_replicated_rejection", **rejection.to_cbor()})


def _ranges(version: int) -> Ranges:
    return "flat" if version == 2 else "sharded"


async def _allow_every_origin(http: web.Request, response: web.StreamResponse) -> None:
    if not http.path.startswith("/_/"):  # the page calls in the name of the developer
        response.headers["Access-Control-Allow-Origin"] = "*"


async def _preflight(_: web.Request) -> web.Response:
    return web.Response(headers=PREFLIGHT)
