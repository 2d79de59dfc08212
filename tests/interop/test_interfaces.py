"""The page of the local network shows the methods of modules as compilers leave them."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from appliance.crypto import CandidTypes
from appliance.localnet.canisters.candid_interface import FoundInterface
from appliance.localnet.net import Localnet
from tests.interop import cdks
from tests.interop.node import HERE
from tests.interop.test_motoko import COMPILATION_S


async def shown(module: bytes, arg: bytes = b"DIDL\0\0", beside: FoundInterface | None = None) -> dict[str, Any]:
    """What the page has of a canister."""
    async with Localnet() as net, aiohttp.ClientSession() as client:
        canister = net.deploy("plain", module, arg=arg, interface=beside)
        async with client.get(f"{net.url}/_/api/canisters/{canister}") as response:
            found: dict[str, Any] = await response.json()
    return found


def samples(found: dict[str, Any]) -> dict[str, str]:
    return {method["name"]: method["sample"] for method in found["methods"]}


async def test_a_plain_build_of_cargo() -> None:
    found = await shown(cdks.needed_plain_module())
    assert found["candid_source"] == "get_candid_pointer"
    assert samples(found) == {"add": "(0 : nat64, 0 : nat64)", "greet": '("")'}


ACTOR = """
persistent actor {
  public query func greet(name : Text) : async Text { "Hello, " # name # "!" };
};
"""


@pytest.mark.parametrize("release", ["motoko-3.6.16", "motoko-4.10.0"])
async def test_a_plain_build_of_moc(release: str, project: Callable[[str], Path], tmp_path: Path) -> None:
    source = ACTOR if release == "motoko-4.10.0" else ACTOR.replace("persistent ", "")
    (tmp_path / "Main.mo").write_text(source)
    files = [str(tmp_path / name) for name in ("Main.mo", "main.wasm")]
    command = ["node", "--stack-size=8000", str(HERE / "drivers" / "motoko.cjs"), *files]
    await asyncio.to_thread(subprocess.run, command, cwd=project(release), check=True, timeout=COMPILATION_S)
    found = await shown((tmp_path / "main.wasm").read_bytes())
    assert found["candid_source"] == "private metadata"
    assert samples(found)["greet"] == '("")'


async def test_a_did_file_beside_the_module() -> None:
    beside = FoundInterface(
        "service : (text) -> { clients_connected : () -> (nat64) query }", "old.did beside the module"
    )
    found = await shown(cdks.needed_module("0.1.2"), CandidTypes("(text)").encode("aaaaa-aa"), beside)
    assert found["candid_source"] == "old.did beside the module"
    assert samples(found) == {"clients_connected": "()"}
