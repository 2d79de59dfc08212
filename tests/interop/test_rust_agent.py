"""The management canister as a typed agent sees it: every answer is decoded into the types of ic-utils."""

from hashlib import sha256
from pathlib import Path

import pytest

from appliance.localnet.net import Localnet
from tests.interop import rust
from tests.interop.agents import DID, LARGE, SMALL
from tests.interop.builds import NotBuilt
from tests.needs import lacks


@pytest.mark.parametrize("subnet", [True, False])
async def test_ic_agent_deploys_and_manages_a_canister(tmp_path: Path, *, subnet: bool) -> None:
    files = {"module": SMALL, "large": LARGE}
    for name, code in files.items():
        (tmp_path / name).write_bytes(code)
    async with Localnet(subnet=subnet) as net:
        options = {
            "networkUrl": net.url,
            "canisterId": "bkyz2-fmaaa-aaaaa-qaaaq-cai",
            "subnetId": str(net.subnet_id),
            **{name: str(tmp_path / name) for name in files},
        }
        try:
            seen = await rust.steps(options)
        except NotBuilt as missing:
            lacks(missing, "interop")
    assert "failed" not in seen, seen
    assert seen["created"] == {"id": "bkyz2-fmaaa-aaaaa-qaaaq-cai"}
    assert seen["installed"] == {"hash": sha256(SMALL).hexdigest(), "controllers": 1}
    assert seen["called"] == {"answers": [1, 2, 2]}
    assert seen["status"] == {
        "equal": True,
        "status": "Running",
        "cycles": str(10**12),
        "log_memory_limit": "8192",
        "log_memory_store_size": str(len("hello")),
        "snapshot_visibility": "Controllers",
        "status_visibility": "Controllers",
        "minimum_incoming": "0",
    }
    assert seen["settings"] == {"threshold": "7", "minimum_incoming": "5", "status_visibility": "Public"}
    assert seen["looked"] == {
        "log": ["hello"],
        "metadata": DID.decode(),
        "certified": True,
        "burned": "0",
        "listed": True,
    }
    assert seen["chunks"] == {"left": 0}
    assert seen["snapshots"]["listed"] == 1
    assert seen["snapshots"]["size"] >= 65536
    assert "not found" in seen["deleted"]["error"]
