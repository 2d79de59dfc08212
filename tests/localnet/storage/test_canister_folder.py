import json
from pathlib import Path
from typing import Any

import pytest

from appliance.localnet.canisters.record import CanisterRecord
from appliance.localnet.storage.canister_folder import RECORD_FILE, CanisterUnreadable, is_saved, restore, write
from tests.localnet.greeter import Greeter
from tests.localnet.machine import CANISTER
from tests.localnet.managed import Managed


def test_what_lives_in_its_program_is_not_kept() -> None:
    net = Managed()
    assert [is_saved(record) for record in (net.create(), net.installed(), CanisterRecord(CANISTER, Greeter()))] == [
        True,
        True,
        False,
    ]


def test_calls_in_execution_are_not_kept(tmp_path: Path) -> None:
    record = Managed().create()
    record.status = "stopping"
    write(record, b"", tmp_path)
    net = Managed()
    restore(net.replica, record.canister_id, tmp_path, cache=None)
    assert net.replica.canisters[record.canister_id].status == "stopped", "nothing is left that it could wait for"


@pytest.mark.parametrize(
    "change",
    [
        {"controllers": ["nonsense"]},
        {"controllers": None},
        {"settings": "00"},
        {"changes": "zz"},
        {"log": [[1]]},
        {"certified_data": 7},
        {"has_code": True},
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, change: dict[str, Any]) -> None:
    record = Managed().create()
    write(record, b"", tmp_path)
    file = tmp_path / RECORD_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    net = Managed()
    with pytest.raises(CanisterUnreadable, match=f"canister {record.canister_id} cannot be read: "):
        restore(net.replica, record.canister_id, tmp_path, cache=None)
    assert record.canister_id not in net.replica.canisters
