"""Unmodified JavaScript agents against the localnet, with query signature checks on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from tests.interop.node import Driver
from tests.interop.proxies import lying_boundary
from tests.localnet.greeter import Greeter

AGENTS = pytest.mark.parametrize("agent", ["icp-sdk-core-6", "dfinity-agent-3.4.3", "dfinity-agent-2.4.1"])


async def drive(folder: Path, url: str, canister_id: Principal) -> list[dict[str, Any]]:
    async with Driver(folder, "agent.cjs", {"networkUrl": url, "canisterId": str(canister_id)}) as driver:
        return await driver.lines()


def seen(lines: list[dict[str, Any]], step: str, key: str) -> list[Any]:
    return [line[key] for line in lines if line["step"] == step]


@AGENTS
@pytest.mark.parametrize("subnet", [False, True])
async def test_everything_an_application_does(agent: str, subnet: bool, project: Callable[[str], Path]) -> None:
    folder = project(agent)
    async with Localnet(subnet=subnet) as net:
        lines = await drive(folder, net.url, net.create_canister(Greeter()))
    assert seen(lines, "failed", "error") == []
    assert seen(lines, "status", "rootKey") == [net.root_key.hex()]
    identities = ["ed25519", "p256", "delegation", "anonymous"]
    assert seen(lines, "query", "identity") == identities
    assert seen(lines, "query", "answer") == [f"Hello, {name}!" for name in ["ed25519", "p256", "delegation", "nobody"]]
    assert seen(lines, "update", "answers") == [[1, 2], [3, 4], [5, 6]]
    assert seen(lines, "read_state", "nodes") == [1, 1, 1]
    assert seen(lines, "absent update", "refused") == [True] * 3
    assert seen(lines, "absent query", "refused") == [True] * 3


# --- these show that the test above can fail ------------------------------------------------------------------------


def _query(path: str, body: bytes) -> bytes:
    return body.replace(b"Hello", b"Jello") if path.endswith("/query") else body


def _call(path: str, body: bytes) -> bytes:
    return body.replace(b"replied", b"rejectd") if path.endswith("/call") else body


def _read_state(path: str, body: bytes) -> bytes:
    return body.replace(b"public_key", b"public_kez") if path.endswith("/read_state") else body


@AGENTS
@pytest.mark.parametrize("deceit", [_query, _call, _read_state])
async def test_an_answer_changed_on_the_way_is_found_out(
    agent: str, deceit: Callable[[str, bytes], bytes], project: Callable[[str], Path]
) -> None:
    folder = project(agent)
    async with Localnet() as net, lying_boundary(net.url, deceit) as url:
        lines = await drive(folder, url, net.create_canister(Greeter()))
    assert lines[-1]["step"] == "failed"


@AGENTS
async def test_a_boundary_that_changes_nothing_is_fine(agent: str, project: Callable[[str], Path]) -> None:
    folder = project(agent)
    async with Localnet() as net, lying_boundary(net.url, lambda _, body: body) as url:
        lines = await drive(folder, url, net.create_canister(Greeter()))
    assert lines[-1] == {"step": "query", "identity": "anonymous", "answer": "Hello, nobody!"}
