"""The versions of the IC's HTTP interface: uses the best that an endpoint serves (interface specification, "HTTPS
Interface")."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

from appliance.crypto import Poll
from appliance.errors import NOT_DECODED, GatewayError, IcRefused, IcUnreachable, reply_error
from appliance.ic.endpoints import Endpoint
from appliance.ic.failover import first_answer
from appliance.ic.http.responses import Reply
from appliance.ic.http.transport import Transport
from appliance.ic.principal import Principal

Kind = Literal["call", "query", "read_state"]
T = TypeVar("T")

# The best first. The version of a query also decides how the certificate that the canister gets in it shows ranges of
# canisters. Poll replies are passed on to clients with it, and older agents understand only the form of v2.
VERSIONS: dict[Kind, tuple[int, ...]] = {"call": (4, 3, 2), "query": (2, 3), "read_state": (3, 2)}
ACCEPTS_AT_ONCE = 2
"""The version of a call that is answered with 202 as soon as a replica has it. The later ones wait for the outcome."""
NOT_SERVED = 404
PROBE_AGAIN_NS = 600 * 10**9  # the longest time until an upgrade of an endpoint is noticed


@dataclass(slots=True)
class _Failed:
    """Why the first attempt failed."""

    error: GatewayError
    is_refused: bool
    """Whether the endpoint sent no reply of the IC."""

    @property
    def is_of_version(self) -> bool:
        """Whether the endpoint does not serve this version of the interface, so that it is asked at another one."""
        return self.is_refused and isinstance(self.error, IcRefused) and self.error.status == NOT_SERVED


class Api:
    """POST requests about a canister, over all endpoints and versions."""

    def __init__(self, transport: Transport, clock: Callable[[], int]) -> None:
        self._transport = transport
        self._clock = clock
        self._known: dict[tuple[str, Kind], tuple[int, int]] = {}
        self._not_for_acceptance: dict[str, int] = {}

    async def ask(
        self,
        kind: Kind,
        canister_id: bytes,
        body: bytes | Poll,
        read: Callable[[Endpoint, int, Reply], Awaitable[T]],
        *,
        timeout_s: float | None = None,
        after: str | None = None,
        transport: Transport | None = None,
        on_trouble: Callable[[], None] | None = None,
    ) -> T:
        """Return ``read(endpoint, version, reply)`` of the first usable answer.

        ``canister_id`` is the effective one; ``after`` as in ``transport.order``; ``transport`` replaces the usual one.
        ``on_trouble`` is called where an endpoint gives no usable answer; 404 for a version that it does not serve is
        none. Raises as ``failover.first_answer`` does.
        """
        # The first attempt is made without anything for a second one: almost always its answer is usable.
        using = transport or self._transport
        endpoints = using.order(after=after)
        if not endpoints:
            raise IcUnreachable("the IC", "there is no endpoint to ask")
        endpoint, reply = endpoints[0], None
        known = self._known.get((endpoint.url, kind))
        version = tried = VERSIONS[kind][0] if known is None else self._order(endpoint, kind)[0]
        try:
            reply = await using.send(endpoint, _path(version, kind, canister_id), body, timeout_s=timeout_s)
            if known is not None:
                self._remember(endpoint, kind, version)
            answer = await read(endpoint, version, reply)
        except GatewayError as error:
            first: _Failed | None = _Failed(error, is_refused=reply is None)
        else:
            if endpoint.failures:
                using.succeeded(endpoint)
            return answer

        def path_of(version: int) -> str:
            return _path(version, kind, canister_id)

        async def attempt(endpoint: Endpoint) -> T:
            nonlocal first
            failed, first = first, None
            try:
                versions = self._order(endpoint, kind)
                if failed is not None:  # the attempt above, of the same endpoint
                    if not failed.is_of_version:
                        raise failed.error
                    # By its number: another request may have found out meanwhile which versions there are.
                    versions = [each for each in versions if each != tried]
                reply, version = await self._send(
                    using, endpoint, versions, path_of, body, kind=kind, timeout_s=timeout_s
                )
                return await read(endpoint, version, reply)
            except GatewayError as error:
                if on_trouble is not None:
                    on_trouble()
                if isinstance(error, NOT_DECODED):
                    raise reply_error(error) from error
                raise

        return await first_answer(using, attempt, asked=endpoints)

    async def _send(
        self,
        using: Transport,
        endpoint: Endpoint,
        versions: Sequence[int],
        path_of: Callable[[int], str],
        body: bytes | Poll,
        *,
        kind: Kind,
        timeout_s: float | None,
    ) -> tuple[Reply, int]:
        """Send to one endpoint, at the first of these versions that it serves. Raises as ``Transport.send`` does."""
        for version in versions:
            try:
                reply = await using.send(endpoint, path_of(version), body, timeout_s=timeout_s)
            except IcRefused as refusal:
                if refusal.status == NOT_SERVED and version != versions[-1]:
                    continue
                raise
            self._remember(endpoint, kind, version)
            return reply, version
        raise AssertionError("each kind of request has several versions")

    async def post_for_acceptance(self, canister_id: bytes, body: bytes, transport: Transport) -> bool:
        """Post a call to the first endpoint of a transport, at the version of the interface that answers as soon as the
        call is accepted. Returns whether it was; False where the endpoint does not serve that version.

        Raises as ``Transport`` does.
        """
        endpoint = transport.order()[0]
        if self._clock() - self._not_for_acceptance.get(endpoint.url, -PROBE_AGAIN_NS) < PROBE_AGAIN_NS:
            return False
        try:
            reply = await transport.send(endpoint, _path(ACCEPTS_AT_ONCE, "call", canister_id), body)
        except IcRefused as refusal:
            if refusal.status != NOT_SERVED:
                raise
            self._not_for_acceptance[endpoint.url] = self._clock()
            return False
        except IcUnreachable as error:
            transport.failed(endpoint, error)
            raise
        transport.succeeded(endpoint)
        return reply.status == 202

    def _order(self, endpoint: Endpoint, kind: Kind) -> list[int]:
        """The version that served last time first, then the others from the best."""
        best_first = VERSIONS[kind]
        version, since_ns = self._known.get((endpoint.url, kind), (best_first[0], 0))
        if self._clock() - since_ns >= PROBE_AGAIN_NS:
            return list(best_first)
        return [version, *(other for other in best_first if other != version)]

    def _remember(self, endpoint: Endpoint, kind: Kind, version: int) -> None:
        key = (endpoint.url, kind)
        if version == VERSIONS[kind][0]:
            self._known.pop(key, None)
        elif key not in self._known or version != self._order(endpoint, kind)[0]:
            self._known[key] = (version, self._clock())


@lru_cache(maxsize=4096)
def _path(version: int, kind: Kind, canister_id: bytes) -> str:
    return f"/api/v{version}/canister/{Principal(canister_id)}/{kind}"
