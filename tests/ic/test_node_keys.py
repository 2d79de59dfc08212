"""The keys of nodes, and replies to queries that are verified with them, on the local IC. Endpoints that lie."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from appliance.crypto import (
    CandidTypes,
    CertifiedTree,
    SigningKey,
    StateTree,
    Verifier,
    decode_cbor,
    encode_cbor,
    encode_certificate,
)
from appliance.errors import (
    GatewayError,
    IcUnreachable,
    Malformed,
    QuerySignatureInvalid,
    QuerySignatureMissing,
    QuerySignatureStale,
    QuerySignatureUnknownNode,
    UncertifiedReject,
)
from appliance.ic.agent import Agent
from appliance.ic.endpoints import Endpoint
from appliance.ic.http.transport import HttpTransport, Reply
from appliance.ic.identity import KeyIdentity
from appliance.ic.node_keys import FRESH_NS, RETRY_NS, STALE_NS, NodeKeys
from appliance.ic.queries import EndpointReply, QuerySignatures
from appliance.localnet.net import Localnet
from appliance.localnet.state.certification import Authority, leb128
from tests.localnet.greeter import Greeter

TEXT = CandidTypes("(text)")
ENFORCE, REPORT, OFF = (QuerySignatures(mode, 30 * 10**9) for mode in ("enforce", "report", "off"))
SECOND = 10**9


class LyingTransport(HttpTransport):
    """Changes the replies to queries on the way; ``broken`` kinds of requests do not arrive."""

    lie: Callable[[bytes], bytes] = staticmethod(lambda body: body)
    broken: tuple[str, ...] = ()
    reads = 0

    async def send(
        self, endpoint: Endpoint, path: str, body: bytes | None = None, *, timeout_s: float | None = None
    ) -> Reply:
        kind = path.rsplit("/", 1)[1]
        self.reads += kind == "read_state"
        if kind in self.broken:
            raise IcUnreachable(endpoint.url, "it is broken")
        reply = await super().send(endpoint, path, body, timeout_s=timeout_s)
        return Reply(reply.status, self.lie(reply.body)) if kind == "query" else reply


class Network:
    def __init__(self, net: Localnet) -> None:
        self.net = net
        self.canister = net.create_canister(Greeter())
        self.transport = LyingTransport([net.url], timeout_s=20, max_reply=100_000)
        self.now_ns = 0
        """Beside the machine's clock."""
        who = KeyIdentity(SigningKey.from_secret("ed25519", bytes(31) + b"\x07"))
        self.agent = Agent(self.transport, who, Verifier(net.root_key), clock=lambda: time.time_ns() + self.now_ns)

    async def greet(self, signatures: QuerySignatures = ENFORCE) -> EndpointReply:
        async def read(reply: EndpointReply) -> EndpointReply:
            return reply

        return await self.agent.query_until(self.canister, "greet", TEXT.encode("you"), read, signatures=signatures)


@pytest.fixture(params=[False, True], ids=["root subnet", "subnet"])
async def network(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    async with Localnet(subnet=request.param) as net:
        network = Network(net)
        async with network.transport:
            yield network


def changed(**fields: object) -> Callable[[bytes], bytes]:
    def lie(body: bytes) -> bytes:
        reply = decode_cbor(body)
        assert isinstance(reply, dict)
        (signature,) = reply["signatures"]
        reply["signatures"] = [{**signature, **{key: value for key, value in fields.items() if key in signature}}]
        return encode_cbor({**reply, **{key: value for key, value in fields.items() if key not in signature}})

    return lie


async def test_a_signed_reply_is_taken_and_the_keys_are_fetched_once(network: Network) -> None:
    for _ in range(3):
        reply = await network.greet()
        assert (TEXT.decode(reply.arg), reply.doubt) == (("Hello, you!",), None)
    assert network.transport.reads == 1


@pytest.mark.parametrize(
    ("lie", "error"),
    [
        (changed(reply={"arg": TEXT.encode("Hello, fool!")}), QuerySignatureInvalid),
        (changed(signatures=[]), QuerySignatureMissing),
        (changed(timestamp=1), QuerySignatureStale),
        (changed(identity=bytes(29)), QuerySignatureUnknownNode),
    ],
)
async def test_what_no_node_signed_is_refused_reported_or_passed(
    network: Network, lie: Callable[[bytes], bytes], error: type[Exception]
) -> None:
    network.transport.lie = lie
    with pytest.raises(error):
        await network.greet()
    assert network.transport.endpoints[0].failures == 1
    assert isinstance((await network.greet(REPORT)).doubt, error)
    assert (await network.greet(OFF)).doubt is None


async def test_what_another_node_of_the_gateway_got_is_verified_as_an_own_reply(network: Network) -> None:
    got = await network.greet()
    key = SigningKey.from_secret("ed25519", bytes(31) + b"\x07")
    other = Agent(network.transport, KeyIdentity(key), Verifier(network.net.root_key))

    async def reread(query: bytes = got.query, body: bytes = got.body, method: str = "greet", **options: Any) -> Any:
        canister = options.pop("canister", network.canister)
        return await other.reread(canister, method, query, body, signatures=options.pop("signatures", ENFORCE))

    assert await reread() == (got.arg, None)
    assert await reread(signatures=OFF) == (got.arg, None)
    again = await network.greet()
    with pytest.raises(QuerySignatureInvalid):
        await reread(body=again.body)
    assert isinstance((await reread(body=again.body, signatures=REPORT))[1], QuerySignatureInvalid)
    assert await reread(body=again.body, signatures=OFF) == (again.arg, None)
    with pytest.raises(QuerySignatureInvalid):
        await reread(body=changed(reply={"arg": TEXT.encode("Hello, fool!")})(got.body))
    with pytest.raises(Malformed, match="not about this query"):
        await reread(method="ws_get_messages")
    with pytest.raises(Malformed, match="not about this query"):
        await reread(canister=bytes(10))
    with pytest.raises(GatewayError):
        await reread(query=got.query[:-1] + bytes([got.query[-1] ^ 1]))
    with pytest.raises(GatewayError):
        await reread(query=b"")


async def test_what_a_stranger_asked_is_not_about_this_gateway(network: Network) -> None:
    got = await network.greet()
    stranger = Agent(network.transport, KeyIdentity(SigningKey.generate("ed25519")), Verifier(network.net.root_key))
    with pytest.raises(Malformed, match="not about this query"):
        await stranger.reread(network.canister, "greet", got.query, got.body, signatures=ENFORCE)


async def test_a_signed_reply_cannot_be_played_back(network: Network) -> None:
    kept: list[bytes] = []

    def play_back(body: bytes) -> bytes:
        kept.append(body)
        return kept[0]

    network.transport.lie = play_back
    await network.greet()
    with pytest.raises(QuerySignatureInvalid):
        await network.greet()


async def test_a_rejection_is_believed_when_a_node_signed_it(network: Network) -> None:
    async def read(reply: EndpointReply) -> None:
        raise AssertionError(reply)

    def ask() -> object:
        return network.agent.query_until(network.canister, "no_such_method", b"", read, signatures=ENFORCE)

    with pytest.raises(UncertifiedReject):
        await ask()  # type: ignore[misc]
    network.transport.lie = changed(reject_code=4)
    with pytest.raises(QuerySignatureInvalid):
        await ask()  # type: ignore[misc]


async def test_without_keys_nothing_is_believed_until_they_can_be_fetched(network: Network) -> None:
    network.transport.broken = ("read_state",)
    for _ in range(2):
        with pytest.raises(IcUnreachable):
            await network.greet()
    assert isinstance((await network.greet(REPORT)).doubt, IcUnreachable)
    network.transport.broken = ()
    assert (await network.greet()).doubt is None


class Clock:
    def __init__(self) -> None:
        self.now_ns = 10**18

    def __call__(self) -> int:
        return self.now_ns


class State:
    """Fetches the certified state of a local subnet; counts, and fails when told to."""

    def __init__(self) -> None:
        self.subnet = Authority(seed=b"the nodes of these tests, 32 bytes")
        self.fetches = 0
        self.works = True

    async def fetch(self, canister_id: bytes) -> CertifiedTree:
        self.fetches += 1
        await asyncio.sleep(0)
        if not self.works:
            raise IcUnreachable("http://replica", "down")
        return certified(self.subnet)


def certified(subnet: Authority) -> CertifiedTree:

    tree = StateTree()
    for path, leaf in subnet.state.items():
        tree.set(list(path), leaf)
    tree.set([b"time"], leb128(time.time_ns()))
    witness = tree.witness([[b"time"], [b"subnet"]])
    certificate = encode_certificate(witness, subnet.sign_state(tree.digest))
    return Verifier(subnet.root_key).verify_certificate(certificate, b"any", now_ns=time.time_ns())


async def test_keys_are_kept_for_minutes_and_longer_while_newer_ones_cannot_be_fetched() -> None:
    state, clock = State(), Clock()
    keys = NodeKeys(state.fetch, state.subnet.root_key, clock)
    node, subnet = state.subnet.node_ids[0], state.subnet.subnet_id
    expected = {bytes(node): state.subnet.state[b"subnet", subnet, b"node", node, b"public_key"]}
    assert await keys.of(b"canister") == expected
    clock.now_ns += FRESH_NS - 1
    assert await keys.of(b"canister") == expected
    assert state.fetches == 1
    state.works = False
    for _ in range(5):
        clock.now_ns += RETRY_NS
        for _ in range(3):
            assert await keys.of(b"canister") == expected
    assert state.fetches == 6
    clock.now_ns += STALE_NS
    for _ in range(2):
        with pytest.raises(IcUnreachable):
            await keys.of(b"canister")
    state.works = True
    assert await keys.of(b"canister") == expected


async def test_an_unknown_node_fetches_the_keys_again_but_not_for_each_reply() -> None:
    state, clock = State(), Clock()
    keys = NodeKeys(state.fetch, state.subnet.root_key, clock)
    await keys.of(b"canister")
    for _ in range(10):
        assert await keys.after_unknown(b"canister") is None
    assert state.fetches == 1
    clock.now_ns += RETRY_NS
    assert await keys.after_unknown(b"canister")
    assert await keys.after_unknown(b"canister") is None
    state.works = False
    clock.now_ns += RETRY_NS
    for _ in range(10):
        assert await keys.after_unknown(b"canister") is None
    assert state.fetches == 3
