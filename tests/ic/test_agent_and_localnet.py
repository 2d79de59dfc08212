"""The agent and the embedded IC, each without knowledge of the other, over loopback."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from appliance.crypto import CandidTypes, SigningKey, Verifier
from appliance.errors import CallExpired, CertificateSignatureInvalid, IcRefused, Rejected
from appliance.ic.agent import Agent
from appliance.ic.envelope import sign_request
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import DelegatedIdentity, Identity, KeyIdentity, delegate
from appliance.ic.network import resolve_root_key
from appliance.ic.principal import Principal
from appliance.localnet.http.server import Versions
from appliance.localnet.net import Localnet
from tests.ic.scripted_ic import STRANGER
from tests.localnet.greeter import Greeter

NOTHING, NAT, TEXT, PRINCIPAL = map(CandidTypes, ["()", "(nat)", "(text)", "(principal)"])


class Network:
    """A local IC with a canister, and agents for it."""

    def __init__(self, net: Localnet) -> None:
        self.net = net
        self.canister = net.create_canister(Greeter())
        self.transport = HttpTransport([net.url], timeout_s=20, max_reply=100_000)

    def agent(self, who: Identity, root_key: bytes | None = None) -> Agent:
        verifier = Verifier(root_key or self.net.root_key)
        return Agent(self.transport, who, verifier, sleep=lambda _: asyncio.sleep(0))


@pytest.fixture(
    params=[(versions, subnet) for versions in ((2, 3, 4), (2, 3), (2,)) for subnet in (False, True)],
    ids=lambda param: f"v{param[0][-1]}{'-subnet' * param[1]}",
)
async def network(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    versions, subnet = request.param
    async with Localnet(subnet=subnet, seed=b"the network of these tests", versions=Versions.only(*versions)) as net:
        network = Network(net)
        async with network.transport:
            yield network


@pytest.fixture(params=["ed25519", "secp256k1", "prime256v1"])
def who(request: pytest.FixtureRequest) -> KeyIdentity:
    return KeyIdentity(SigningKey.generate(request.param))


async def test_queries_and_calls_are_answered(network: Network, who: KeyIdentity) -> None:
    agent = network.agent(who)
    assert TEXT.decode(await agent.query(network.canister, "greet", TEXT.encode("you"))) == ("Hello, you!",)
    assert PRINCIPAL.decode(await agent.query(network.canister, "whoami", NOTHING.encode())) == (who.principal,)
    counts = [NAT.decode(await agent.call(network.canister, "count", NOTHING.encode())) for _ in range(2)]
    assert counts == [(1,), (2,)]


async def test_a_delegated_identity_is_its_owner(network: Network, who: KeyIdentity) -> None:
    session = KeyIdentity(SigningKey.generate("ed25519"))
    link = delegate(who, session.public_key, expiration_ns=2**63, targets=[network.canister])
    agent = network.agent(DelegatedIdentity(session, who.public_key, [link]))
    assert PRINCIPAL.decode(await agent.query(network.canister, "whoami", NOTHING.encode())) == (who.principal,)


async def test_the_root_key_can_be_fetched(network: Network) -> None:
    assert await resolve_root_key("fetch", network.transport) == network.net.root_key


async def test_a_clients_call_is_executed_once_however_often_it_is_sent(network: Network, who: KeyIdentity) -> None:
    agent = network.agent(who)
    call = sign_request(
        KeyIdentity(SigningKey.generate("ed25519")),
        "call",
        now_ns=time.time_ns(),
        canister_id=network.canister,
        method_name="count",
        arg=NOTHING.encode(),
    )
    replies = [await agent.submit(call) for _ in range(3)]
    assert {reply and NAT.decode(reply) for reply in replies} <= {(1,), None}
    assert NAT.decode(await agent.call(network.canister, "count", NOTHING.encode())) == (2,)


async def test_rejections_arrive(network: Network, who: KeyIdentity) -> None:
    agent = network.agent(who)
    with pytest.raises(Rejected, match="no_such_method"):
        await agent.query(network.canister, "no_such_method", NOTHING.encode())
    with pytest.raises(Rejected):
        await agent.call(network.canister, "no_such_method", NOTHING.encode())
    with pytest.raises((Rejected, IcRefused)):
        await agent.call(Principal(b"\x01" * 10), "count", NOTHING.encode())


async def test_an_expired_call_is_not_sent(network: Network, who: KeyIdentity) -> None:
    call = sign_request(who, "call", now_ns=0, canister_id=network.canister, method_name="count", arg=b"")
    with pytest.raises(CallExpired):
        await network.agent(who).submit(call)


async def test_the_state_is_read(network: Network, who: KeyIdentity) -> None:
    tree = await network.agent(who).read_state([[b"subnet"]], network.canister)
    assert tree.lookup([b"subnet", network.net.subnet_id, b"public_key"])


async def test_another_root_key_believes_nothing(network: Network, who: KeyIdentity) -> None:
    with pytest.raises(CertificateSignatureInvalid):
        await network.agent(who, STRANGER.public_key).read_state([[b"time"]], network.canister)
