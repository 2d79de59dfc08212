import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from appliance.cli.diagnosis.findings import Finding
from appliance.cli.diagnosis.network import check_endpoint
from appliance.config.schema import Config, Network
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.state.clock import SystemClock
from appliance.localnet.websocket.pingpong import PingPong
from tests.ic.scripted_ic import ROOT, ScriptedIc, TestTime, cbor


class Shifted(SystemClock):
    """So many seconds before ours."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._shift_ns = round(seconds * 1e9)

    def now_ns(self) -> int:
        return super().now_ns() + self._shift_ns


@pytest.fixture
async def net() -> AsyncIterator[Localnet]:
    async with Localnet(subnet=True) as net:
        yield net


def config(url: str, root_key: str = "fetch") -> Config:
    return Config(network=Network(url=[url], root_key=root_key, timeout=2.0))


async def findings(config: Config, *canisters: Principal) -> dict[str, Finding]:
    (url,) = config.network.url
    return {finding.subject: finding async for finding in check_endpoint(config, url, canisters)}


def levels(found: dict[str, Finding]) -> dict[str, str]:
    return {subject: finding.level for subject, finding in found.items()}


async def test_a_network_of_ones_own_is_well(net: Localnet):
    canister = net.create_canister(PingPong())
    found = await findings(config(net.url, net.root_key.hex()), canister)
    assert levels(found) == {"endpoint": "ok", "root key": "ok", "clock": "ok"}
    assert net.root_key.hex()[-16:] in found["root key"].text
    assert "as certified" in found["clock"].text
    fetched = await findings(config(net.url), canister)
    assert levels(fetched) == {"endpoint": "ok", "root key": "note", "clock": "ok"}
    assert "on the word of the local network" in fetched["root key"].text


async def test_another_network_than_the_root_key_is_of(net: Localnet):
    found = await findings(config(net.url, "mainnet"), net.create_canister(PingPong()))
    assert levels(found) == {"endpoint": "ok", "root key": "fault", "clock": "warning"}
    assert f"the key, which is {net.root_key.hex()}" in found["root key"].advice
    assert "signature" in found["clock"].text


@pytest.mark.parametrize(
    ("seconds", "level", "text"),
    [
        (2, "ok", "behind"),
        (-40, "warning", "ahead of"),
        (100, "warning", "behind"),
        (-3600, "fault", "certificates are refused beyond 5m"),
    ],
)
async def test_a_clock_that_is_wrong(seconds: float, level: str, text: str):
    async with Localnet(clock=Shifted(seconds)) as net:
        clock = (await findings(config(net.url), net.create_canister(PingPong())))["clock"]
    assert clock.level == level
    assert text in clock.text
    assert ("timedatectl" in clock.advice) == (level != "ok")


async def test_a_clock_so_wrong_that_the_ic_refuses_what_is_signed():
    text = "Invalid request expiry: Specified ingress_expiry not within expected range"
    clock = TestTime()
    clock.now_ns = time.time_ns()
    async with ScriptedIc(clock) as ic:
        status = [lambda _: cbor({"root_key": ROOT.public_key})] * 2
        ic.script(*status, lambda _: web.Response(status=400, text=text))
        found = (await findings(config(ic.url)))["clock"]
    assert found.level == "fault"
    assert text in found.text
    assert "timedatectl" in found.advice


async def test_a_skew_beyond_what_verification_allows_is_a_fault():
    async with Localnet(clock=Shifted(-100)) as net:
        strict = config(net.url).model_copy(
            update={"verification": config(net.url).verification.model_copy(update={"max_certificate_age": 60.0})}
        )
        clock = (await findings(strict, net.create_canister(PingPong())))["clock"]
    assert clock.level == "fault"
    assert "certificates are refused beyond 1m" in clock.text


async def test_an_endpoint_that_is_down():
    async with Localnet() as net:
        url = net.url
    found = await findings(config(url))
    assert levels(found) == {"endpoint": "fault"}
    assert f"curl -v {url}/api/v2/status" in found["endpoint"].advice


async def test_something_that_is_no_endpoint_of_the_ic():
    async with ScriptedIc(TestTime()) as ic:
        ic.script(lambda _: web.Response(text="hello"))
        found = await findings(config(ic.url))
    assert levels(found) == {"endpoint": "fault"}
    assert "not like the IC" in found["endpoint"].advice


async def test_an_endpoint_that_is_not_well_and_does_not_state_its_key():
    async with ScriptedIc(TestTime()) as ic:
        ic.script(lambda _: cbor({"replica_health_status": "waiting_for_certified_state"}))
        found = await findings(config(ic.url))
    assert levels(found) == {"endpoint": "warning", "root key": "note"}
