"""``ic/network.py`` against a real server on loopback."""

from collections.abc import Callable
from typing import Any

import pytest

from appliance.errors import ConfigError, IcUnreachable, ReplyMalformed
from appliance.ic.http.transport import HttpTransport
from appliance.ic.network import (
    MAINNET_ROOT_KEY,
    fetch_root_key,
    fetch_status,
    resolve_root_key,
    root_key_warning,
)
from appliance.ic.principal import Principal
from tests.ic.scripted_ic import ROOT, ScriptedIc, cbor, http

TransportFor = Callable[..., HttpTransport]
STATUS = {"ic_api_version": "0.18.0", "root_key": ROOT.public_key, "replica_health_status": "healthy"}
SOME_ENDPOINT = "http://127.0.0.1:1"


def test_the_mainnet_key_is_the_published_one(vectors: Any) -> None:
    published = vectors.load_json("certificates/root_key.json")
    assert bytes.fromhex(published["der"]) == MAINNET_ROOT_KEY
    assert str(Principal.self_authenticating(MAINNET_ROOT_KEY)) == published["subnet_id"]


async def test_the_status_is_fetched(ic: ScriptedIc, transport_for: TransportFor) -> None:
    ic.script(lambda _: cbor(STATUS))
    assert await fetch_status(transport_for(ic.url)) == STATUS
    assert ic.asked == ["v2/status"]
    assert await fetch_root_key(transport_for(ic.url)) == ROOT.public_key


async def test_another_endpoint_is_asked_for_the_status(
    ic: ScriptedIc, other_ic: ScriptedIc, transport_for: TransportFor
) -> None:
    ic.script(http(503))
    other_ic.script(lambda _: cbor(STATUS))
    assert await fetch_root_key(transport_for(ic.url, other_ic.url)) == ROOT.public_key


@pytest.mark.parametrize("key", [None, b"", ROOT.public_key[:-1], b"\x31" + ROOT.public_key[1:], ROOT.public_key.hex()])
async def test_a_status_without_a_key_is_malformed(ic: ScriptedIc, transport_for: TransportFor, key: Any) -> None:
    ic.script(lambda _: cbor({**STATUS, "root_key": key}))
    with pytest.raises(ReplyMalformed):
        await fetch_root_key(transport_for(ic.url))


async def test_another_endpoint_is_asked_for_a_key_that_is_none(
    ic: ScriptedIc, other_ic: ScriptedIc, transport_for: TransportFor
) -> None:
    ic.script(lambda _: cbor({**STATUS, "root_key": b""}))
    other_ic.script(lambda _: cbor(STATUS))
    assert await fetch_root_key(transport_for(ic.url, other_ic.url)) == ROOT.public_key


async def test_the_vocabulary_of_root_keys(ic: ScriptedIc, transport_for: TransportFor) -> None:
    ic.script(lambda _: cbor(STATUS))
    transport = transport_for(ic.url)
    assert await resolve_root_key("mainnet", transport) == MAINNET_ROOT_KEY
    assert await resolve_root_key(ROOT.public_key.hex().upper(), transport) == ROOT.public_key
    assert ic.seen == []
    assert await resolve_root_key("fetch", transport) == ROOT.public_key


@pytest.mark.parametrize("setting", ["", "Mainnet", "00", "zz" * 133, "00" * 133])
async def test_other_settings_are_refused(transport_for: TransportFor, setting: str) -> None:
    with pytest.raises(ConfigError, match="mainnet, fetch, or a DER key"):
        await resolve_root_key(setting, transport_for(SOME_ENDPOINT))


async def test_the_key_of_the_mainnet_is_never_fetched(transport_for: TransportFor) -> None:
    with pytest.raises(ConfigError, match="must not be fetched"):
        await resolve_root_key("fetch", transport_for(SOME_ENDPOINT, "https://ICP0.io/"))


async def test_an_unreachable_network_has_no_key(transport_for: TransportFor, unused_tcp_port: int) -> None:
    with pytest.raises(IcUnreachable):
        await resolve_root_key("fetch", transport_for(f"http://127.0.0.1:{unused_tcp_port}"))


def test_operators_are_warned_of_risky_choices() -> None:
    assert root_key_warning("mainnet", ["https://icp-api.io"]) is None
    assert root_key_warning("ab" * 133, ["http://10.0.0.1"]) is None
    assert "local network" in str(root_key_warning("fetch", ["http://localhost:4943"]))
    for here in ("http://chat.localhost:4943", "http://127.0.0.2:4943", "http://[::1]:4943"):
        assert "local network" in str(root_key_warning("fetch", [here])), "nobody else is on the way to it"
    assert "http://10.0.0.1" in str(root_key_warning("fetch", ["http://127.0.0.1:1", "http://10.0.0.1"]))
    assert "not known to be the mainnet" in str(root_key_warning("mainnet", ["http://127.0.0.1:4943"]))
