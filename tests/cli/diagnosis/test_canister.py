from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import pytest

from appliance.cli.diagnosis.canister import Examination, generation_of
from appliance.cli.diagnosis.findings import Finding
from appliance.config.schema import Canister as Settings
from appliance.crypto import CandidInterface, SigningKey, Verifier
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.canisters.python_canister import PythonCanister
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.interface import interface
from appliance.localnet.websocket.pingpong import PingPong

GENERATIONS = ["v0", "v1", "v2"]
EVERYTHING_OK = {"listed", "installed", "methods", "polling", "gateway known"}


class Greeter(PythonCanister):
    did = "service : { greet : () -> (text) query }"

    def greet(self, env: Environment) -> str:
        return "hello"


class Private(PingPong):
    """Publishes no interface."""

    @property
    def metadata(self) -> Mapping[str, bytes]:
        return {}


class Broken(PingPong):
    metadata: ClassVar[Mapping[str, bytes]] = {"candid:service": b"service : {"}  # type: ignore[misc]


class Bench:
    def __init__(self, net: Localnet, transport: HttpTransport) -> None:
        self.net = net
        self.identity = KeyIdentity(SigningKey.generate("ed25519"))
        self.agent = Agent(transport, self.identity, Verifier(net.root_key))

    async def examine(
        self, canister_id: Principal, *, generation: str | None = None, is_anonymous: bool = False, **settings: object
    ) -> dict[str, Finding]:
        self.examination = Examination(
            canister_id,
            Settings(id=canister_id, generation=[generation], **settings) if generation else None,
            self.agent,
            is_anonymous=is_anonymous,
        )
        return {finding.subject: finding async for finding in self.examination.findings()}


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Localnet(subnet=True) as net, HttpTransport([net.url], timeout_s=5, max_reply=10**6) as transport:
        yield Bench(net, transport)


def not_ok(found: dict[str, Finding]) -> dict[str, str]:
    return {subject: finding.level for subject, finding in found.items() if finding.level != "ok"}


def pingpong(generation: str, gateway: Principal) -> PingPong:
    return PingPong(generation=generation, gateway=None if generation == "v2" else gateway)  # type: ignore[arg-type]


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_canister_that_is_well(bench: Bench, generation: str):
    canister = bench.net.create_canister(pingpong(generation, bench.identity.principal))
    found = await bench.examine(canister, generation=generation)
    assert set(found) == EVERYTHING_OK
    assert not_ok(found) == {}
    assert f"of wire generation {generation} (" in found["methods"].text
    assert bench.examination.polled is not None
    assert bench.examination.polled.generation == generation


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_configuration_that_has_another_generation(bench: Bench, generation: str):
    canister = bench.net.create_canister(pingpong(generation, bench.identity.principal))
    for configured in set(GENERATIONS) - {generation}:
        found = await bench.examine(canister, generation=configured)
        assert not_ok(found) == {"generation": "fault"}
        assert found["generation"].advice == f"generation: {generation} for this canister in the configuration"


@pytest.mark.parametrize("generation", ["v0", "v1"])
async def test_a_canister_that_knows_another_gateway(bench: Bench, generation: str):
    other = KeyIdentity(SigningKey.generate("ed25519")).principal
    canister = bench.net.create_canister(pingpong(generation, other))
    found = await bench.examine(canister, generation=generation)
    assert not_ok(found) == {"gateway known": "fault"}
    assert str(bench.identity.principal) in found["gateway known"].text
    assert "icws identity import" in found["gateway known"].advice
    stranger = await bench.examine(canister, generation=generation, is_anonymous=True)
    assert not_ok(stranger) == {"gateway known": "note"}


async def test_a_gateway_without_a_key_cannot_be_known(bench: Bench):
    found = await bench.examine(bench.net.create_canister(PingPong()), generation="v2", is_anonymous=True)
    assert not_ok(found) == {"gateway known": "note"}


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_canister_that_hides_its_interface_is_known_by_its_answers(bench: Bench, generation: str):
    gateway = None if generation == "v2" else bench.identity.principal
    for kind in (Private, Broken):
        canister = bench.net.create_canister(kind(generation=generation, gateway=gateway))  # type: ignore[arg-type]
        found = await bench.examine(canister, generation=generation)
        assert not_ok(found) == {"interface": "note"}
        assert found["polling"].level == "ok"


async def test_a_canister_of_something_else(bench: Bench):
    found = await bench.examine(bench.net.create_canister(Greeter()), generation="v2")
    assert not_ok(found) == {"methods": "fault", "polling": "fault"}
    assert found["methods"].text.startswith("no ws_open, ws_message, ws_close, ws_get_messages")
    assert found["polling"].advice == "is it a WebSocket canister?"
    assert bench.examination.polled is None


async def test_a_canister_that_is_not_there(bench: Bench):
    found = await bench.examine(Principal.from_text("rrkah-fqaaa-aaaaa-aaaaq-cai"), generation="v2")
    assert not_ok(found) == {"installed": "fault"}
    assert set(found) == {"listed", "installed"}


async def test_what_the_configuration_says_of_it(bench: Bench):
    canister = bench.net.create_canister(PingPong())
    unlisted = await bench.examine(canister)
    assert not_ok(unlisted) == {"listed": "warning"}
    assert unlisted["listed"].advice.startswith(f"icws canisters add {canister}")
    paused = await bench.examine(canister, generation="v2", name="chat", paused=True)
    assert paused["listed"].advice == "icws canisters resume chat"


async def test_a_network_that_lies_is_not_believed(bench: Bench):
    canister = bench.net.create_canister(PingPong())
    async with Localnet() as other, HttpTransport([bench.net.url], timeout_s=5, max_reply=10**6) as transport:
        bench.agent = Agent(transport, bench.identity, Verifier(other.root_key))
        found = await bench.examine(canister, generation="v2")
    assert not_ok(found) == {"installed": "fault"}
    assert "is not valid" in found["installed"].text


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_generation_is_told_by_the_arguments_of_ws_open(generation: str):
    assert generation_of(CandidInterface(interface(generation, "text"))) == generation  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "did", ["service : {}", "service : { ws_open : (text) -> () }", "service : { ws_open : () -> () }"]
)
def test_other_arguments_are_of_none(did: str):
    assert generation_of(CandidInterface(did)) is None
