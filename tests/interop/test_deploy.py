"""An unmodified JavaScript agent deploys a canister of Wasm on the localnet and manages it."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from appliance.localnet.net import Localnet
from appliance.localnet.state.certification import leb128
from tests.interop.node import Driver
from tests.localnet.wasm.modules import module

COUNTER = """
(func $answer (i64.store (i32.const 16) (call $stored)) (call $msg_reply_data_append (i32.const 9) (i32.const 15))
  (call $msg_reply))
(func $stored (result i64) (call $stable64_read (i64.const 24) (i64.const 0) (i64.const 8)) (i64.load (i32.const 24)))
(func (export "canister_init") (drop (call $stable64_grow (i64.const 1))))
(func (export "canister_update add")
  (i64.store (i32.const 24) (i64.add (call $stored) (i64.const STEP)))
  (call $stable64_write (i64.const 0) (i64.const 24) (i64.const 8))
  (call $answer))
(func (export "canister_query peek") (call $answer))
(data (i32.const 8) "\\00DIDL\\00\\01\\78")
"""
"""Adds in stable memory, and answers ``nat64`` in Candid."""


def built(step: int, size: int) -> bytes:
    """The module, with a custom section that makes it so large."""
    code = module(COUNTER.replace("STEP", str(step)))
    section = b"\x04fill" + bytes(size)
    return code + b"\0" + leb128(len(section)) + section


async def deployed(folder: Path, tmp_path: Path, net: Localnet, target: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What the agent has seen, by step."""
    files = {"first": built(1, 2_500_000), "second": built(10, 10)}
    for name, code in files.items():
        (tmp_path / name).write_bytes(code)
    options = {"networkUrl": net.url, "target": target, **{name: str(tmp_path / name) for name in files}}
    async with Driver(folder, "deploy.cjs", options) as driver:
        return {line["step"]: line for line in await driver.lines()}


@pytest.mark.parametrize(
    ("creating", "subnet"),
    [
        ("aaaaa-aa", False),  # with a subnet key agents find it in no range, here as on the mainnet
        ("a canister", False),
        ("a canister", True),
        ("the subnet", True),
    ],
    ids=["management", "canister", "canister of a subnet", "subnet"],
)
async def test_a_canister_is_deployed_and_managed(
    creating: str, subnet: bool, project: Callable[[str], Path], tmp_path: Path
) -> None:
    """Whatever is the effective id of calls that create a canister."""
    folder = project("icp-sdk-core-6")
    async with Localnet(subnet=subnet) as net:
        target = {
            "aaaaa-aa": {"canisterId": "aaaaa-aa"},
            "a canister": {"canisterId": "bkyz2-fmaaa-aaaaa-qaaaq-cai"},
            "the subnet": {"subnetId": str(net.subnet_id)},
        }
        seen = await deployed(folder, tmp_path, net, target[creating])
    assert "failed" not in seen, seen["failed"]["error"]
    assert (seen["created"]["id"], seen["created"]["cycles"]) == ("bkyz2-fmaaa-aaaaa-qaaaq-cai", 10**12)
    assert (seen["installed"]["chunks"], seen["installed"]["hash"]) == (3, sha256(built(1, 2_500_000)).hexdigest())
    assert seen["installed"]["controllers"] == [seen["identity"]["principal"]]
    assert seen["called"]["answers"] == [1, 2, 2]
    assert seen["upgraded"]["answers"] == [2, 12]
    assert (seen["settings"]["threshold"], seen["settings"]["hash"]) == (7, sha256(built(10, 10)).hexdigest())
    codes = {step: (seen[step]["code"], seen[step]["errorCode"]) for step in seen if "code" in seen[step]}
    assert codes == {
        "foreign": (5, "IC0512"),
        "not stopped": (5, "IC0510"),
        "for canisters": (4, "IC0406"),
        "stopped": (5, "IC0508"),
        "deleted": (3, "IC0301"),
    }
    assert seen["started"]["answer"] == 22
    assert (seen["wished"]["named"], len(seen["wished"]["plain"])) == ("rrkah-fqaaa-aaaaa-aaaaq-cai", 27)


TALKING = """
(func (export "canister_init") (call $debug_print (i32.const 0) (i32.const 5)))
(data (i32.const 0) "hello")
"""


async def test_an_agent_with_a_management_canister_of_its_own(project: Callable[[str], Path], tmp_path: Path) -> None:
    folder, file = project("dfinity-agent-2.4.1"), tmp_path / "module"
    file.write_bytes(module(TALKING))
    async with (
        Localnet() as net,
        Driver(folder, "management.cjs", {"networkUrl": net.url, "module": str(file)}) as driver,
    ):
        lines = await driver.lines()
    assert lines == [
        {
            "step": "installed",
            "id": "bkyz2-fmaaa-aaaaa-qaaaq-cai",
            "memory": 2 * 65536 + len("hello"),  # the log is memory, too
            "status": {"running": None},
        },
        {"step": "stopped", "status": {"stopped": None}},
        {"step": "log", "lines": ["hello"]},
    ]
