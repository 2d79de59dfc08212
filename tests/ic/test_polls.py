"""Polls that the native client signs and reads: they come to the same as those that Python does, whatever is sent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from appliance.bench.stub.replica import StubReplica
from appliance.bench.stub.server import Reply, StubIc
from appliance.bench.testbed import canister
from appliance.crypto import PollQueue, PollReply, SigningKey, Verifier, decode_cbor, encode_cbor
from appliance.errors import GatewayError
from appliance.ic.agent import Agent
from appliance.ic.envelope import LIFETIME_NS
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import DelegatedIdentity, Identity, KeyIdentity, delegate
from appliance.ic.principal import Principal
from appliance.ic.queries import EndpointReply, QuerySignatures
from appliance.threads import READ_AT_ONCE

CANISTER = canister(0)
METHOD = "ws_get_messages"
NOW_NS = 1_800_000_000 * 10**9
SECOND = 10**9
WHO = KeyIdentity(SigningKey.from_secret("ed25519", bytes(31) + b"\x09"))
ENFORCE, REPORT, OFF = (QuerySignatures(mode, 30 * SECOND) for mode in ("enforce", "report", "off"))

Lie = Callable[[bytes], tuple[int, bytes]]


class Ic(StubIc):
    """Answers queries as ``lie`` says: the status and the body in place of a true body. ``bodies`` has the queries."""

    def __init__(self, replica: StubReplica) -> None:
        super().__init__(replica)
        self.lie: Lie = lambda body: (200, body)
        self.bodies: list[bytes] = []

    def handle(self, path: bytes, body: bytes, reply: Reply) -> None:
        if not path.endswith(b"/query"):
            super().handle(path, body, reply)
            return
        self.bodies.append(body)
        super().handle(path, body, lambda _, true: reply(*self.lie(true)))


class World:
    """An IC with a canister that has sent messages, and an agent. The clocks of both are in `now_ns`."""

    def __init__(self, ic: Ic, transport: HttpTransport, who: Identity = WHO) -> None:
        self.now_ns = NOW_NS
        self.ic = ic
        self.verifier = Verifier(ic.replica.authority.root_key)
        self.agent = Agent(transport, who, self.verifier, clock=lambda: self.now_ns)
        self.who = who

    def write(self, messages: int, size: int = 100) -> None:
        """The canister writes messages and certifies them anew."""
        its = self.ic.replica.canister(CANISTER)
        if not its.sessions:
            its.open(b"\x11" * 29, 7, self.who.principal, NOW_NS)
        for _ in range(messages):
            its.send(b"\x11" * 29, b"x" * size, NOW_NS)
        self.ic.replica.touch(its)
        self.ic.replica.block()

    def queue(self, signatures: QuerySignatures = ENFORCE, canister_id: Principal = CANISTER) -> PollQueue:
        max_age_ns = None if signatures.mode == "off" else signatures.max_age_ns
        return PollQueue(self.verifier, canister_id, generation=2, gateway=self.who.principal, max_age_ns=max_age_ns)

    async def poll(
        self,
        queue: PollQueue | None,
        *,
        nonce: int = 0,
        signatures: QuerySignatures = ENFORCE,
        keeps_body: bool = False,
    ) -> EndpointReply:
        async def read(reply: EndpointReply) -> EndpointReply:
            return reply

        arg = b"DIDL\x01\x6c\x01\xe3\xa6\x83\xc3\x04\x78\x01\x00" + nonce.to_bytes(8, "little")
        return await self.agent.query_until(
            CANISTER, METHOD, arg, read, signatures=signatures, queue=queue, keeps_body=keeps_body
        )

    def opened(self, arg: bytes) -> PollReply:
        gateway = self.who.principal
        return self.verifier.open_poll_reply(
            arg, CANISTER, generation=2, now_ns=self.now_ns, gateway=gateway, allow_holes=True
        )


@asynccontextmanager
async def network(who: Identity = WHO) -> AsyncIterator[World]:
    async with (
        Ic(StubReplica(seed=bytes(32), clock=lambda: NOW_NS)) as ic,
        HttpTransport([ic.url], timeout_s=20, max_reply=4 << 20) as transport,
    ):
        yield World(ic, transport, who)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with network() as world:
        yield world


def shown(page: PollReply) -> object:
    names = ("client_key", "key", "nonce", "sequence_num", "timestamp_ns", "service_kind", "frame", "problem")
    messages = [[getattr(message, name) for name in names] for message in page.messages]
    return messages, page.is_end_of_queue, page.is_whole, page.time_ns


@pytest.mark.parametrize(("messages", "size"), [(0, 0), (3, 100), (40, 1000)])
async def test_a_page_is_read_on_its_way_as_python_reads_it(world: World, messages: int, size: int) -> None:
    world.write(messages, size)
    assert (await world.poll(world.queue())).answer is None  # the keys of the nodes are fetched first
    lengths = []
    for _ in range(2):  # with a new certificate, and with a known one
        reply = await world.poll(world.queue(), keeps_body=True)
        assert reply.answer is not None
        arg = decode_cbor(reply.body)["reply"]["arg"]  # type: ignore[index, call-overload]
        assert shown(reply.answer.page) == shown(world.opened(arg))
        assert len(reply.answer.page.messages) == messages + 1
        assert (reply.endpoint, reply.endpoints, reply.doubt) == (world.ic.url, 1, None)
        assert reply.query == world.ic.bodies[-1]
        lengths.append(len(reply.body))
        world.write(0)
    assert (max(lengths) > READ_AT_ONCE) == (messages == 40)  # both ways of reading


async def test_only_what_is_shared_keeps_what_came(world: World) -> None:
    world.write(1)
    await world.poll(world.queue())
    reply = await world.poll(world.queue())
    assert (reply.arg, reply.query, reply.body) == (b"", b"", b"")
    assert reply.answer is not None


@pytest.mark.parametrize("is_native", [False, True])
async def test_the_query_is_signed_by_the_gateway_and_never_the_same(world: World, is_native: bool) -> None:
    world.write(1)
    for _ in range(3):
        await world.poll(world.queue() if is_native else None, nonce=1)
    requests = [world.verifier.open_request(body, now_ns=NOW_NS) for body in world.ic.bodies]
    assert len({request.request_id for request in requests}) == 3
    for request in requests:
        assert (request.sender, request.canister_id, request.method_name) == (WHO.principal, CANISTER, METHOD)
        assert (request.request_type, request.ingress_expiry_ns) == ("query", NOW_NS + LIFETIME_NS)
        assert request.arg[-8:] == (1).to_bytes(8, "little")


# --- whatever is sent -----------------------------------------------------------------------------------------------


def with_signature(**fields: object) -> Lie:
    def lie(body: bytes) -> tuple[int, bytes]:
        reply = decode_cbor(body)
        assert isinstance(reply, dict)
        (signature,) = reply["signatures"]
        return 200, encode_cbor({**reply, "signatures": [{**signature, **fields}]})

    return lie


def with_fields(**fields: object) -> Lie:
    def lie(body: bytes) -> tuple[int, bytes]:
        reply = decode_cbor(body)
        assert isinstance(reply, dict)
        return 200, encode_cbor({**reply, **fields})  # type: ignore[dict-item]

    return lie


LIES: dict[str, Lie] = {
    "the truth": lambda body: (200, body),
    "a flipped bit": lambda body: (200, body[:-300] + bytes([body[-300] ^ 1]) + body[-299:]),
    "no signature": with_fields(signatures=[]),
    "another signature": with_signature(signature=b"\1" * 64),
    "an unknown node": with_signature(identity=b"\1" * 29),
    "another time": with_signature(timestamp=NOW_NS + SECOND),
    "an old one": with_signature(timestamp=NOW_NS - 31 * SECOND),
    "another answer": with_fields(reply={"arg": b"DIDL\0\0"}),
    "a rejection": with_fields(status="rejected", reject_code=5, reject_message="no", error_code="IC0503"),
    "no CBOR": lambda _: (200, b"hello"),
    "nothing": lambda _: (200, b""),
    "accepted": lambda body: (202, body),
    "refused": lambda _: (400, b"no"),
    "trouble": lambda _: (503, b"later"),
    "too much": lambda body: (200, body + bytes(5 << 20)),
}


async def outcome(world: World, queue: PollQueue | None, signatures: QuerySignatures) -> object:
    try:
        reply = await world.poll(queue, signatures=signatures)
        page = world.opened(reply.arg) if reply.answer is None else reply.answer.page
    except GatewayError as error:
        return type(error), str(error)
    return shown(page), None if reply.doubt is None else type(reply.doubt)


@pytest.mark.parametrize("signatures", [ENFORCE, REPORT, OFF], ids=lambda signatures: signatures.mode)
@pytest.mark.parametrize("name", LIES)
async def test_a_lie_is_judged_as_python_judges_it(world: World, name: str, signatures: QuerySignatures) -> None:
    world.write(2)
    await world.poll(None, signatures=ENFORCE)
    for _ in range(2):  # with a new certificate, and with a known one
        world.ic.lie = LIES[name]
        native = await outcome(world, world.queue(signatures), signatures)
        assert native == await outcome(world, None, signatures)
        world.ic.lie = LIES["the truth"]
        good, _ = await outcome(world, world.queue(signatures), signatures)  # type: ignore[misc]
        assert (name in ("the truth", "accepted") or signatures.mode != "enforce") or native != (good, None)


@pytest.mark.parametrize("off_s", [-301, 301])
async def test_a_certificate_of_another_time_is_not_taken(world: World, off_s: int) -> None:
    world.write(2)
    await world.poll(world.queue())
    assert (await world.poll(world.queue())).answer is not None
    world.now_ns += off_s * SECOND
    assert (await world.poll(world.queue(OFF), signatures=OFF)).answer is None


async def test_a_page_of_another_canister_or_for_another_gateway_is_not_taken(world: World) -> None:
    world.write(2)
    true = await world.poll(None)
    world.ic.lie = lambda _: (200, true.body)
    stranger = Verifier(StubReplica(seed=b"\1" * 32).authority.root_key)
    for verifier, canister_id, gateway, is_taken in (
        (world.verifier, CANISTER, WHO.principal, True),
        (world.verifier, canister(1), WHO.principal, False),
        (world.verifier, CANISTER, CANISTER, False),
        (stranger, CANISTER, WHO.principal, False),
    ):
        queue = PollQueue(verifier, canister_id, generation=2, gateway=gateway, max_age_ns=None)
        for _ in range(2):
            assert ((await world.poll(queue, signatures=OFF)).answer is not None) == is_taken


async def test_a_reply_to_another_request_is_not_taken(world: World) -> None:
    world.write(2)
    await world.poll(world.queue())
    kept = await world.poll(world.queue(), keeps_body=True)
    world.ic.lie = lambda _: (200, kept.body)
    with pytest.raises(GatewayError, match="signature"):
        await world.poll(world.queue())


async def test_an_identity_with_delegations_polls_as_well() -> None:
    session = KeyIdentity(SigningKey.from_secret("ed25519", bytes(31) + b"\x0a"))
    link = delegate(WHO, session.public_key, expiration_ns=NOW_NS + 3600 * SECOND)
    async with network(DelegatedIdentity(session, WHO.public_key, [link])) as world:
        world.write(2)
        for _ in range(2):
            reply = await world.poll(world.queue())
            assert reply.answer is None
            assert len(world.opened(reply.arg).messages) == 3


async def test_many_polls_at_a_time_get_their_own_pages(world: World) -> None:
    world.write(60)
    await world.poll(world.queue())
    replies = await asyncio.gather(*(world.poll(world.queue(), nonce=nonce) for nonce in range(60)))
    firsts = [reply.answer.page.messages[0].nonce for reply in replies if reply.answer is not None]
    assert firsts == list(range(60))


async def test_keys_of_nodes_are_wanted_where_signatures_are_verified(world: World) -> None:
    with pytest.raises(ValueError, match="keys of nodes"):
        world.queue().ask(WHO.key, METHOD, b"", None, NOW_NS, LIFETIME_NS, False)
