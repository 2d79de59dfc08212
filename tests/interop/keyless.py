"""A gateway by the name of another, whose key nobody here has."""

from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from appliance.crypto import PollQueue, Request, decode_cbor, encode_cbor, encode_content, read_envelope_unverified
from appliance.errors import UncertifiedReject
from appliance.gateway.ic import Ic
from appliance.ic.principal import Principal
from appliance.ic.queries import UNSIGNED, EndpointReply, QuerySignatures
from appliance.ic.route import Route
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.outcome import Rejection

T = TypeVar("T")


class Keyless(Ic):
    """Passes the calls of clients on to an agent, and makes its own in the name of `principal` by the replica's inner
    door, where requests are already authenticated: frames that clients have signed for a gateway can only be played to
    one of that name.
    """

    def __init__(self, agent: Ic, principal: Principal, replica: Replica) -> None:
        self._agent = agent
        self._principal = principal
        self._replica = replica

    async def submit(self, request: Request, /, *, route: Route | None = None) -> bytes | None:
        """As the agent does it."""
        return await self._agent.submit(request, route=route)

    async def accept(self, request: Request, route: Route, /) -> bool:
        """As the agent does it."""
        return await self._agent.accept(request, route)

    async def query_until(
        self,
        canister_id: bytes,
        method: str,
        arg: bytes,
        read: Callable[[EndpointReply], Awaitable[T]],
        *,
        signatures: QuerySignatures = UNSIGNED,
        timeout_s: float | None = None,
        queue: PollQueue | None = None,
        keeps_body: bool = False,
    ) -> T:
        """Unsigned."""
        outcome = self._replica.query(self._request(canister_id, method, arg), "flat")
        if isinstance(outcome, Rejection):
            raise UncertifiedReject(outcome.code, outcome.message, outcome.error_code)
        return await read(EndpointReply(outcome.arg, "http://replica"))

    async def call(self, canister_id: bytes, method: str, arg: bytes) -> bytes:
        """Unsigned."""
        call = self._replica.submit(self._request(canister_id, method, arg))
        await call.done.wait()
        reply = self._replica.state.get([*call.path, b"reply"])
        if reply is None:
            raise UncertifiedReject(5, f"{method} was rejected", None)
        return reply

    def _request(self, canister_id: bytes, method: str, arg: bytes) -> Request:
        content, _ = encode_content(
            "call",  # inside, a query is told from a call by its door
            sender=self._principal,
            ingress_expiry_ns=self._replica.clock.now_ns(),
            canister_id=canister_id,
            method_name=method,
            arg=arg,
        )
        envelope = {"content": cast("dict[str, bytes]", decode_cbor(content))}
        return read_envelope_unverified(encode_cbor({"envelope": envelope}))
