"""The HTTP interface of the replica (IC interface specification, "HTTPS Interface"; IC-PROTOCOL A)."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from aiohttp import web

from appliance.crypto import Request, Verifier, encode_cbor
from appliance.errors import GatewayError, Malformed
from appliance.ic.principal import MANAGEMENT_CANISTER, Principal
from appliance.localnet.http.errors import HttpError, http_error_of
from appliance.localnet.http.read_state import PathRules, StateReader
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.certification import Ranges, is_hosted
from appliance.localnet.state.outcome import Rejection, Reply

API_VERSION = "0.18.0"
CBOR_TYPE = "application/cbor"
BODY_LIMIT = 5 * 1024 * 1024
SYNC_CALL_WAIT_S = 10.0
"""How long a call of v3 or v4 waits for its outcome before the answer is 202."""

SUBNET_CALLS = frozenset({4})
"""The version of calls to a subnet; there were none before."""

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
    """Makes the application; the replica behind it lives on when the application's server stops."""

    def __init__(
        self, replica: Replica, versions: Versions | None = None, *, call_wait_s: float = SYNC_CALL_WAIT_S
    ) -> None:
        self._replica = replica
        self._call_wait_s = call_wait_s
        self._versions = versions or Versions()
        self._verifier = Verifier(replica.authority.root_key)
        self._rules = PathRules(replica.authority, replica.ingress.get)

    def application(self) -> web.Application:
        """A new application with all routes."""
        app = web.Application(client_max_size=BODY_LIMIT)
        app.on_response_prepare.append(_allow_every_origin)
        app.router.add_get("/api/v2/status", self._status)
        app.router.add_route("OPTIONS", "/{path:.*}", _preflight)
        canister, subnet = r"/api/v{version:\d+}/canister/{effective_id}", r"/api/v{version:\d+}/subnet/{effective_id}"
        app.router.add_post(f"{canister}/call", self._call)
        app.router.add_post(f"{canister}/query", self._query)
        app.router.add_post(f"{canister}/read_state", self._read_canister_state)
        app.router.add_post(f"{subnet}/call", self._call_subnet)
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
                "certified_height": self._replica.state.height,
            }
        )

    async def _call(self, http: web.Request) -> web.Response:
        try:
            version = _version(http, self._versions.call)
            request = await self._open(http, "call")
            self._check_effective_id(request, _effective_id_in_url(http))
        except HttpError as error:
            return _error_response(error)
        return await self._submit(request, version)

    async def _call_subnet(self, http: web.Request) -> web.Response:
        """Calls without an effective canister id: those that create a canister."""
        try:
            version = _version(http, self._versions.call & SUBNET_CALLS)
            request = await self._open(http, "call")
            self._check_subnet(request, _effective_id_in_url(http))
        except HttpError as error:
            return _error_response(error)
        return await self._submit(request, version)

    async def _submit(self, request: Request, version: int) -> web.Response:
        rejection = self._replica.admit(request)
        if rejection is not None:
            return _rejection_response(rejection, version)
        is_known = self._replica.ingress.get(request.request_id) is not None
        call = self._replica.submit(request)
        if version == 2 or (is_known and not call.done.is_set()):
            return web.Response(status=202)
        try:
            async with asyncio.timeout(self._call_wait_s):
                await call.done.wait()
        except TimeoutError:
            return web.Response(status=202)
        certificate = self._replica.state.certificate([call.path], "flat" if version == 3 else "sharded")
        return _cbor({"status": "replied", "certificate": certificate})

    async def _query(self, http: web.Request) -> web.Response:
        try:
            version = _version(http, self._versions.query)
            request = await self._open(http, "query")
            self._check_effective_id(request, _effective_id_in_url(http))
        except HttpError as error:
            return _error_response(error)
        outcome = self._replica.query(request, _ranges(version))
        response: dict[str, object] = (
            {"status": "replied", "reply": {"arg": outcome.arg}}
            if isinstance(outcome, Reply)
            else {"status": "rejected", **outcome.to_cbor()}
        )
        authority, time_ns = self._replica.authority, self._replica.state.next_time()
        signature = authority.sign_response(response, request.request_id, time_ns)
        return _cbor({**response, "signatures": [signature]})

    async def _read_canister_state(self, http: web.Request) -> web.Response:
        return await self._read_state(http, is_subnet=False)

    async def _read_subnet_state(self, http: web.Request) -> web.Response:
        return await self._read_state(http, is_subnet=True)

    async def _read_state(self, http: web.Request, *, is_subnet: bool) -> web.Response:
        try:
            version = _version(http, self._versions.read_state)
            request = await self._open(http, "read_state")
            effective_id = _effective_id_in_url(http)
            targets = None if request.targets is None else frozenset(request.targets)
            reader = StateReader(Principal(request.sender), targets, effective_id, is_subnet, version)
            self._rules.check(request.paths, reader)
        except HttpError as error:
            return _error_response(error)
        ranges: Ranges = "none" if is_subnet and version > 2 else _ranges(version)
        certificate = self._replica.state.certificate(self._rules.shown(request.paths, reader), ranges)
        return _cbor({"certificate": certificate})

    async def _open(self, http: web.Request, expected: Literal["call", "query", "read_state"]) -> Request:
        """Read and verify the body. Raises HttpError."""
        if http.content_type.lower() != CBOR_TYPE:
            raise HttpError(400, "Unexpected content-type, expected application/cbor.")
        request = self._verified(await http.read())
        if request.request_type != expected:
            raise HttpError(400, f"Malformed request: request_type is {request.request_type}, expected {expected}")
        return request

    def _verified(self, body: bytes) -> Request:
        """The request, if it is good now, or good for somebody whose clock was not moved with this one."""
        clock = self._replica.clock
        now_ns = clock.now_ns()
        try:
            return self._verifier.open_request(body, now_ns=now_ns)
        except GatewayError as error:
            if clock.ahead_ns:
                with suppress(GatewayError):
                    return self._verifier.open_request(body, now_ns=now_ns - clock.ahead_ns)
            raise http_error_of(error, now_ns=now_ns) from error

    def _effective_id_of(self, request: Request) -> Principal | None:
        """The effective canister id of a request; None where it has none, or where it cannot be read yet."""
        target, management = Principal(request.canister_id), self._replica.executor.management
        if target != MANAGEMENT_CANISTER:
            return target
        return None if management is None else management.effective_id(request.method_name, request.arg)

    def _check_effective_id(self, request: Request, effective_id: Principal) -> None:
        subject = self._effective_id_of(request)
        if subject is not None and subject != effective_id:
            raise HttpError(
                400, f"Specified CanisterId {subject} does not match effective canister id in URL {effective_id}"
            )
        if subject is None and effective_id != MANAGEMENT_CANISTER and not is_hosted(effective_id):
            raise HttpError(400, f"Effective canister id in URL {effective_id} is not of this subnet")

    def _check_subnet(self, request: Request, effective_id: Principal) -> None:
        if effective_id != self._replica.authority.subnet_id:
            raise HttpError(400, f"Effective subnet id in URL {effective_id} is not this subnet")
        if request.canister_id != MANAGEMENT_CANISTER or self._effective_id_of(request) is not None:
            raise HttpError(400, f"The method {request.method_name} is about a canister, whose id belongs in the URL")


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


def _version(http: web.Request, served: frozenset[int]) -> int:
    version = int(http.match_info["version"])
    if version not in served:
        raise HttpError(404, "Not Found")
    return version


def _effective_id_in_url(http: web.Request) -> Principal:
    text = http.match_info["effective_id"]
    try:
        return _parse_principal(text)
    except Malformed as error:
        raise HttpError(400, f"Invalid URL: Cannot parse {text!r} as a principal: {error.problem}") from error


@lru_cache(maxsize=1024)
def _parse_principal(text: str) -> Principal:
    return Principal.from_text(text)


async def _allow_every_origin(http: web.Request, response: web.StreamResponse) -> None:
    if not http.path.startswith("/_/"):  # the page calls in the name of the developer
        response.headers["Access-Control-Allow-Origin"] = "*"


async def _preflight(_: web.Request) -> web.Response:
    return web.Response(headers=PREFLIGHT)
