"""The HTTP client of the IC: call, query, read_state, status."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from appliance.crypto import CertifiedTree, Verifier
from appliance.ic import network
from appliance.ic.api import Api
from appliance.ic.attempts import Chance, Clock, LastAnswer, Pacing, Sleep, carry, system_chance
from appliance.ic.endpoints import Endpoint
from appliance.ic.envelope import SignedCall, sign_request
from appliance.ic.identity import Identity
from appliance.ic.principal import Principal
from appliance.ic.replies import (
    ACCEPTED,
    RequestStatus,
    read_call_reply,
    read_certificate,
    read_query_reply,
    read_request_status,
)
from appliance.ic.responses import Reply
from appliance.ic.transport import Transport

MAX_CALLS = 512  # each holds a connection for up to 10 s, until the IC has executed the call
REMEMBERED_CANISTERS = 4096

T = TypeVar("T")


class Agent:
    """Sends requests of one identity, and calls that others have signed; verifies certificates.

    ``clock`` (ns since 1970), ``sleep`` and ``chance`` (0 to 1) are for tests. At most ``max_calls`` calls are under
    way at a time, others wait. Queries are not counted: polls must not wait for slow calls.
    """

    def __init__(
        self,
        transport: Transport,
        identity: Identity,
        verifier: Verifier,
        *,
        clock: Clock = time.time_ns,
        sleep: Sleep = asyncio.sleep,
        chance: Chance = system_chance,
        max_calls: int = MAX_CALLS,
    ) -> None:
        self._transport = transport
        self._identity = identity
        self._verifier = verifier
        self._pacing = Pacing(clock, sleep, chance)
        self._api = Api(transport, clock)
        self._calls = asyncio.Semaphore(max_calls)
        self._answered: dict[bytes, str] = {}

    @property
    def principal(self) -> Principal:
        """The sender of its own requests."""
        return self._identity.principal

    async def status(self) -> Mapping[str, object]:
        """As ``network.fetch_status``."""
        return await network.fetch_status(self._transport)

    async def fetch_root_key(self) -> bytes:
        """As ``network.fetch_root_key``."""
        return await network.fetch_root_key(self._transport)

    # --- reading ----------------------------------------------------------------------------------------------------

    async def query(
        self,
        canister_id: bytes,
        method: str,
        arg: bytes,
        *,
        timeout_s: float | None = None,
        effective_canister_id: bytes | None = None,
        avoid_last_endpoint: bool = False,
    ) -> bytes:
        """The reply (Candid) to a query. One endpoint answers it without proof: trust only a certificate in the reply.

        ``timeout_s`` is for each endpoint. ``avoid_last_endpoint`` asks another one than the last query of this
        canister, where there is another. Raises UncertifiedReject, IcUnreachable, IcRefused or a ReplyError.
        """
        now_ns = self._pacing.clock()
        request = sign_request(
            self._identity, "query", now_ns=now_ns, canister_id=canister_id, method_name=method, arg=arg
        )

        async def read(endpoint: Endpoint, _version: int, reply: Reply) -> bytes:
            self._remember(canister_id, endpoint)
            return read_query_reply(reply.body)

        return await self._api.ask(
            "query",
            _effective(canister_id, effective_canister_id),
            request.body,
            read,
            timeout_s=timeout_s,
            avoid=self._answered.get(canister_id) if avoid_last_endpoint else None,
        )

    def _remember(self, canister_id: bytes, endpoint: Endpoint) -> None:
        if len(self._transport.urls) > 1:
            if len(self._answered) >= REMEMBERED_CANISTERS:
                self._answered.clear()
            self._answered[canister_id] = endpoint.url

    async def read_state(
        self, paths: Sequence[Sequence[bytes]], canister_id: bytes, *, timeout_s: float | None = None
    ) -> CertifiedTree:
        """The verified state at these paths and the time; ``canister_id`` is the effective one.

        Raises IcUnreachable, IcRefused or a ReplyError.
        """
        return await self._read_state(paths, canister_id, partial(self._verify, canister_id), timeout_s)

    async def fetch_certificate(
        self, paths: Sequence[Sequence[bytes]], canister_id: bytes, *, timeout_s: float | None = None
    ) -> bytes:
        """The certificate of a read_state reply, unverified. Raises IcUnreachable, IcRefused or a ReplyError."""

        async def as_it_came(certificate: bytes) -> bytes:
            return certificate

        return await self._read_state(paths, canister_id, as_it_came, timeout_s)

    async def request_status(
        self,
        canister_id: bytes,
        request_id: bytes,
        *,
        timeout_s: float | None = None,
        last: LastAnswer | None = None,
    ) -> RequestStatus:
        """How far a call of this identity is, as certified. Another endpoint than that of the ``last`` answer is asked
        first. Raises as read_state does.
        """

        async def read(certificate: bytes) -> RequestStatus:
            return read_request_status(await self._verify(canister_id, certificate), request_id)

        return await self._read_state([[b"request_status", request_id]], canister_id, read, timeout_s, last)

    async def _read_state(
        self,
        paths: Sequence[Sequence[bytes]],
        canister_id: bytes,
        use: Callable[[bytes], Awaitable[T]],
        timeout_s: float | None,
        last: LastAnswer | None = None,
    ) -> T:
        request = sign_request(self._identity, "read_state", now_ns=self._pacing.clock(), paths=paths)
        last = last or LastAnswer()

        async def read(endpoint: Endpoint, _version: int, reply: Reply) -> T:
            last.url = endpoint.url
            return await use(read_certificate(reply.body, "read_state reply"))

        return await self._api.ask("read_state", canister_id, request.body, read, timeout_s=timeout_s, avoid=last.url)

    async def _verify(self, canister_id: bytes, certificate: bytes) -> CertifiedTree:
        now_ns = self._pacing.clock()
        return await asyncio.to_thread(self._verifier.verify_certificate, certificate, canister_id, now_ns=now_ns)

    # --- calling ----------------------------------------------------------------------------------------------------

    async def call(
        self, canister_id: bytes, method: str, arg: bytes, *, effective_canister_id: bytes | None = None
    ) -> bytes:
        """Call a method and wait for its certified reply (Candid), for four minutes at most.

        Raises Rejected, CallExpired, and IcRefused or a ReplyError where no endpoint gives a usable answer.
        """
        subject = _effective(canister_id, effective_canister_id)
        now_ns = self._pacing.clock()
        call = sign_request(self._identity, "call", now_ns=now_ns, canister_id=canister_id, method_name=method, arg=arg)
        reply = await carry(
            call,
            partial(self._post, call, subject, LastAnswer()),
            partial(self._poll, call, subject, LastAnswer()),
            self._pacing,
        )
        if reply is None:
            raise AssertionError("a call whose status can be read ends with a reply or an error")
        return reply

    async def submit(self, request: SignedCall, *, effective_canister_id: bytes | None = None) -> bytes | None:
        """Send a signed call, the same bytes again and again until its ingress expiry, and return its certified reply
        (Candid); None where the endpoint only confirms that the IC accepted it. Repeating is safe, because the IC
        executes a request id once.

        Raises Rejected, CallExpired, and IcRefused or a ReplyError where no endpoint gives a usable answer.
        """
        subject = _effective(request.canister_id, effective_canister_id)
        return await carry(request, partial(self._post, request, subject, LastAnswer()), None, self._pacing)

    async def _post(self, call: SignedCall, subject: bytes, last: LastAnswer) -> tuple[int, RequestStatus]:
        async def read(endpoint: Endpoint, version: int, reply: Reply) -> tuple[int, RequestStatus]:
            last.url = endpoint.url
            return version, await self._read_call_reply(call, subject, reply)

        async with self._calls:
            return await self._api.ask("call", subject, call.body, read, avoid=last.url)

    async def _read_call_reply(self, call: SignedCall, subject: bytes, reply: Reply) -> RequestStatus:
        if reply.status == 202:
            return ACCEPTED
        certificate = read_call_reply(reply.body)
        return read_request_status(await self._verify(subject, certificate), call.request_id)

    async def _poll(self, call: SignedCall, subject: bytes, last: LastAnswer) -> tuple[int, RequestStatus]:
        return 0, await self.request_status(subject, call.request_id, last=last)


def _effective(canister_id: bytes, effective_canister_id: bytes | None) -> bytes:
    return canister_id if effective_canister_id is None else effective_canister_id
