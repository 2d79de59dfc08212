"""The HTTP client of the IC: call, query, read_state, status."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from appliance.crypto import CertifiedTree, Poll, PollQueue, Verifier, signature_of_certificate
from appliance.errors import GatewayError, Malformed
from appliance.ic import network
from appliance.ic.api import Api
from appliance.ic.attempts import Chance, Clock, LastAnswer, Pacing, Sleep, carry, system_chance
from appliance.ic.endpoints import Endpoint
from appliance.ic.envelope import LIFETIME_NS, NONCE_LENGTH, SignedCall, SignedRequest, sign_request
from appliance.ic.http.responses import Reply
from appliance.ic.http.transport import Transport
from appliance.ic.identity import Identity, KeyIdentity
from appliance.ic.node_keys import NodeKeys
from appliance.ic.principal import Principal
from appliance.ic.queries import UNSIGNED, EndpointReply, QuerySignatures
from appliance.ic.query_replies import QueryReplies
from appliance.ic.replies import (
    ACCEPTED,
    RequestStatus,
    read_call_reply,
    read_certificate,
    read_query_reply,
    read_request_status,
)
from appliance.ic.route import Route, RoutedTransport
from appliance.threads import READ_AT_ONCE, VERIFICATION

REMEMBERED_CANISTERS = 4096
OWN_PATIENCE = 4
"""Rounds, 2 to 4 s together, in which the word of endpoints against a call of ours is not believed. Nobody else repeats
such a call: a ``ws_close`` that a lying endpoint turns away leaves its client in the canister. More rounds would delay
each stop of a gateway one of whose canisters is stopped."""

T = TypeVar("T")


class Agent:
    """Sends requests of one identity, and calls that others have signed; verifies certificates.

    ``clock`` (ns since 1970), ``sleep`` and ``chance`` (0 to 1) are for tests. The number of requests under way has no
    bound here: the gateway has one budget for its calls.
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
    ) -> None:
        self._transport = transport
        self._identity = identity
        self._key = identity.key if type(identity) is KeyIdentity else None
        """What polls are signed with in the native client."""
        self._verifier = verifier
        self._pacing = Pacing(clock, sleep, chance)
        self._api = Api(transport, clock)
        self._asked_last: dict[bytes, str] = {}
        self._verifying: dict[bytes, list[asyncio.Future[None]]] = {}
        """The signatures that are being verified, and who waits for that."""
        self._node_keys = NodeKeys(partial(self.read_state, [[b"subnet"]]), verifier.root_key, clock)
        self._query_replies = QueryReplies(self._node_keys, clock)

    @property
    def principal(self) -> Principal:
        """The sender of its own requests."""
        return self._identity.principal

    def follow(self, verifier: Verifier) -> None:
        """Verify certificates with another verifier from now on."""
        self._verifier = verifier

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
    ) -> bytes:
        """The reply (Candid) to a query. One endpoint answers it without proof: trust only a certificate in the reply.

        ``timeout_s`` is for each endpoint. Raises UncertifiedReject, IcUnreachable, IcRefused or a ReplyError.
        """
        request = self._sign_query(canister_id, method, arg)

        async def read(_endpoint: Endpoint, _version: int, reply: Reply) -> bytes:
            return read_query_reply(reply.body)

        subject = _effective(canister_id, effective_canister_id)
        return await self._api.ask("query", subject, request.body, read, timeout_s=timeout_s)

    def query_until(
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
    ) -> Coroutine[Any, Any, T]:
        """Query one endpoint after the other until ``read`` accepts a reply, and return what it makes of it.

        ``read`` raises a BadReply or CertificateError, Malformed, CandidError or TooLarge for a reply that cannot be
        used: that is the trouble of the endpoint, and the next one is asked. Each query of a canister begins at the
        endpoint behind the one that was asked last, so that none of several can hold back what another has for longer
        than a query.

        With the ``queue`` that a poll is about, and as these ``signatures`` want it, the native client signs the query
        and reads the reply, where the keys are known: then it has an ``answer``, and query and body only with
        ``keeps_body``. A reply that does not verify there has none, and goes the way of all others, which says why.

        ``timeout_s`` is for each endpoint. Raises as ``query`` does, what ``read`` raises in the end, and what reading
        the state raises where the keys of nodes are needed and cannot be fetched.
        """
        if queue is not None and self._key is not None:
            nodes = None if signatures.mode == "off" else self._node_keys.fresh_decoded(canister_id)
            if nodes is not None or signatures.mode == "off":
                now_ns = self._pacing.clock()
                poll = queue.ask(self._key, method, arg, nodes, now_ns, LIFETIME_NS, keeps_body)
                return self._ask_until(canister_id, poll, read, signatures=signatures, timeout_s=timeout_s)
        ask = partial(self._query_until, canister_id, method, arg, read, signatures=signatures, timeout_s=timeout_s)
        if signatures.mode != "enforce" or self._node_keys.fresh(canister_id) is not None:
            return ask()
        return self._with_keys(canister_id, ask)

    async def _with_keys(self, canister_id: bytes, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Fetch the keys of nodes first: that they cannot be fetched is not the trouble of one endpoint."""
        await self._node_keys.of(canister_id)
        return await ask()

    def _query_until(
        self,
        canister_id: bytes,
        method: str,
        arg: bytes,
        read: Callable[[EndpointReply], Awaitable[T]],
        *,
        signatures: QuerySignatures,
        timeout_s: float | None,
    ) -> Coroutine[Any, Any, T]:
        # The nonce makes each request id another one. A node signs the id, so no signed reply can be played back.
        request = self._sign_query(canister_id, method, arg)
        return self._ask_until(canister_id, request, read, signatures=signatures, timeout_s=timeout_s)

    def _ask_until(
        self,
        canister_id: bytes,
        request: SignedRequest | Poll,
        read: Callable[[EndpointReply], Awaitable[T]],
        *,
        signatures: QuerySignatures,
        timeout_s: float | None,
    ) -> Coroutine[Any, Any, T]:
        urls = self._transport.urls

        async def attempt(endpoint: Endpoint, _version: int, reply: Reply) -> T:
            if len(urls) > 1:
                self._remember(canister_id, endpoint)
            if reply.answer is not None:
                query = request.body if reply.body else b""
                return await read(EndpointReply(b"", endpoint.url, len(urls), None, query, reply.body, reply.answer))
            arg, doubt = await self._query_replies.open(canister_id, request.request_id, reply.body, signatures)
            return await read(EndpointReply(arg, endpoint.url, len(urls), doubt, request.body, reply.body))

        after = self._asked_last.get(canister_id)
        body = request.body if isinstance(request, SignedRequest) else request
        return self._api.ask("query", canister_id, body, attempt, timeout_s=timeout_s, after=after)

    async def reread(
        self, canister_id: bytes, method: str, query: bytes, body: bytes, *, signatures: QuerySignatures
    ) -> tuple[bytes, GatewayError | None]:
        """The reply (Candid) in an answer to a query that another node of this gateway made, verified as an own one;
        and why no node's signature proves it, where that is only reported.

        Raises Malformed for a query that is not about this, an EnvelopeError for one that this identity has not signed,
        and what ``query_until`` raises for such an answer.
        """
        made = self._verifier.open_request(query, now_ns=self._pacing.clock())
        about = (made.request_type, made.sender, made.canister_id, made.method_name)
        if about != ("query", bytes(self.principal), bytes(canister_id), method):
            raise Malformed("shared answer", "it is not about this query")
        return await self._query_replies.open(canister_id, made.request_id, body, signatures)

    def _sign_query(self, canister_id: bytes, method: str, arg: bytes) -> SignedRequest:
        return sign_request(
            self._identity,
            "query",
            now_ns=self._pacing.clock(),
            canister_id=canister_id,
            method_name=method,
            arg=arg,
            nonce=os.urandom(NONCE_LENGTH),
        )

    def _remember(self, canister_id: bytes, endpoint: Endpoint) -> None:
        if len(self._asked_last) >= REMEMBERED_CANISTERS:
            self._asked_last.clear()  # costs each canister one query at an endpoint that it asked already
        self._asked_last[canister_id] = endpoint.url

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

        return await self._api.ask("read_state", canister_id, request.body, read, timeout_s=timeout_s, after=last.url)

    async def _verify(self, canister_id: bytes, certificate: bytes) -> CertifiedTree:
        if len(certificate) > READ_AT_ONCE:
            return await self._verify_in_thread(canister_id, certificate)
        # The calls of one block are answered together, with one signature. One of them has it verified. The others
        # wait for that instead of a thread, and go on in the same turn of the loop: so they cause one poll.
        while self._verifying and (others := self._verifying.get(signature_of_certificate(certificate))) is not None:
            verified = asyncio.get_running_loop().create_future()
            others.append(verified)
            await verified  # where it was in vain, one of them is next: a certificate has other parts
        known = self._verifier.recall_certificate(certificate, canister_id, now_ns=self._pacing.clock())
        return await self._verify_for_others(canister_id, certificate) if known is None else known

    async def _verify_for_others(self, canister_id: bytes, certificate: bytes) -> CertifiedTree:
        signature = signature_of_certificate(certificate)
        others = self._verifying[signature] = []
        try:
            return await self._verify_in_thread(canister_id, certificate)
        finally:
            del self._verifying[signature]
            for verified in others:
                if not verified.done():
                    verified.set_result(None)

    async def _verify_in_thread(self, canister_id: bytes, certificate: bytes) -> CertifiedTree:
        now_ns, verify = self._pacing.clock(), self._verifier.verify_certificate
        return await VERIFICATION.run(verify, certificate, canister_id, now_ns=now_ns)

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
            partial(self._post, call, subject, LastAnswer(), None),
            partial(self._poll, call, subject, LastAnswer()),
            self._pacing,
            patience=OWN_PATIENCE,
        )
        if reply is None:
            raise AssertionError("a call whose status can be read ends with a reply or an error")
        return reply

    def submit(
        self, request: SignedCall, *, effective_canister_id: bytes | None = None, route: Route | None = None
    ) -> Coroutine[Any, Any, bytes | None]:
        """Send a signed call, the same bytes again and again until its ingress expiry, and return its certified reply
        (Candid); None where the endpoint only confirms that the IC accepted it. Repeating is safe, because the IC
        executes a request id once. With a ``route``, its endpoint is asked first, and the route gets to know of every
        trouble.

        Raises Rejected, CallExpired, and IcRefused or a ReplyError where no endpoint gives a usable answer.
        """
        subject = _effective(request.canister_id, effective_canister_id)
        return carry(request, partial(self._post, request, subject, LastAnswer(), route), None, self._pacing)

    async def accept(self, request: SignedCall, route: Route, *, effective_canister_id: bytes | None = None) -> bool:
        """Send a signed call to the endpoint of a route, and return True once a replica has it in its pool.

        False where that cannot be known; why not is for ``submit``, which has to follow in any case. Raises nothing.
        """
        subject = _effective(request.canister_id, effective_canister_id)
        transport = RoutedTransport(self._transport, route)
        try:
            return await self._api.post_for_acceptance(subject, request.body, transport)
        except GatewayError:
            route.on_trouble()
            return False

    def _post(
        self, call: SignedCall, subject: bytes, last: LastAnswer, route: Route | None
    ) -> Coroutine[Any, Any, tuple[int, RequestStatus]]:
        async def read(endpoint: Endpoint, version: int, reply: Reply) -> tuple[int, RequestStatus]:
            last.url = endpoint.url
            if reply.status == 202 and version == 2 and not last.accepted(endpoint.url, len(self._transport.urls)):
                version = 0
            if reply.status == 202 and version != 2 and route is not None:
                route.on_trouble()  # it did not wait for the outcome, so whether it accepted the call is only its word
            if reply.status == 202:
                return version, ACCEPTED
            certificate = read_call_reply(reply.body)
            return version, read_request_status(await self._verify(subject, certificate), call.request_id)

        if route is None:
            return self._api.ask("call", subject, call.body, read, after=last.url)
        # Whatever is no usable answer is trouble. Also a rejection without proof: it is the word of one endpoint, and
        # the call may be executed all the same, later.
        return self._api.ask(
            "call",
            subject,
            call.body,
            read,
            after=last.url,
            transport=RoutedTransport(self._transport, route),
            on_trouble=route.on_trouble,
        )

    async def _poll(self, call: SignedCall, subject: bytes, last: LastAnswer) -> tuple[int, RequestStatus]:
        return 0, await self.request_status(subject, call.request_id, last=last)


def _effective(canister_id: bytes, effective_canister_id: bytes | None) -> bytes:
    return canister_id if effective_canister_id is None else effective_canister_id
