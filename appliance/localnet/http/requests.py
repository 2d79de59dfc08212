"""Requests as they arrive by HTTP: read, verified, and compared with the URL that they came to."""

from contextlib import suppress
from functools import lru_cache
from typing import Literal

from aiohttp import web

from appliance.crypto import Request, Verifier
from appliance.errors import GatewayError, Malformed
from appliance.ic.principal import MANAGEMENT_CANISTER, Principal
from appliance.localnet.http.errors import HttpError, http_error_of
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.certification import is_hosted

CBOR_TYPE = "application/cbor"


class RequestReader:
    """Checks requests by the replica's clock, its canister ranges and the methods of the management canister."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._verifier = Verifier(replica.authority.root_key)

    async def read(self, http: web.Request, expected: Literal["call", "query", "read_state"]) -> Request:
        """Read and verify the body. Raises HttpError."""
        if http.content_type.lower() != CBOR_TYPE:
            raise HttpError(400, "Unexpected content-type, expected application/cbor.")
        request = self._verified(await http.read())
        if request.request_type != expected:
            raise HttpError(400, f"Malformed request: request_type is {request.request_type}, expected {expected}")
        return request

    def _verified(self, body: bytes) -> Request:
        """The request, if it is valid now.

        After `fast_forward` the expiry of clients with an unmoved clock lies in the past, so it is compared with the
        time of an unmoved clock, too.
        """
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

    def check_effective_id(self, request: Request, effective_id: Principal) -> None:
        """Compare the request with the canister id of its URL, as agents are routed by the latter. Raises HttpError."""
        subject = self._effective_id_of(request)
        if subject is not None and subject != effective_id:
            raise HttpError(
                400, f"Specified CanisterId {subject} does not match effective canister id in URL {effective_id}"
            )
        if subject is None and effective_id != MANAGEMENT_CANISTER and not is_hosted(effective_id):
            raise HttpError(400, f"Effective canister id in URL {effective_id} is not of this subnet")

    def check_subnet(self, request: Request, effective_id: Principal) -> None:
        """Check a call that came to the subnet's own endpoint. Raises HttpError."""
        if effective_id != self._replica.authority.subnet_id:
            raise HttpError(400, f"Effective subnet id in URL {effective_id} is not this subnet")
        if request.canister_id != MANAGEMENT_CANISTER or self._effective_id_of(request) is not None:
            raise HttpError(400, f"The method {request.method_name} is about a canister, whose id belongs in the URL")


def version_in_url(http: web.Request, served: frozenset[int]) -> int:
    """The version in the URL. Raises HttpError where it is not served."""
    for version in served:
        if str(version) == http.match_info["version"]:
            return version
    raise HttpError(404, "Not Found")


def effective_id_in_url(http: web.Request) -> Principal:
    """The canister or subnet id in the URL. Raises HttpError."""
    text = http.match_info["effective_id"]
    try:
        return _parse_principal(text)
    except Malformed as error:
        raise HttpError(400, f"Invalid URL: Cannot parse {text!r} as a principal: {error.problem}") from error


@lru_cache(maxsize=1024)
def _parse_principal(text: str) -> Principal:
    return Principal.from_text(text)
