from typing import Any

import pytest

from appliance.ic.principal import Principal
from appliance.localnet.canisters.record import SNAPSHOT_LIMIT, CanisterRecord
from appliance.localnet.state.outcome import Outcome, Rejection, Reply
from tests.localnet.managed import BOB, NO_SETTINGS, Managed, about
from tests.localnet.wasm.modules import ALICE


@pytest.fixture
def net() -> Managed:
    return Managed()


def take(net: Managed, record: CanisterRecord, replaced: bytes | None = None, *, uninstall: bool | None = None) -> Any:
    return net.manage(
        "take_canister_snapshot", {**about(record), "replace_snapshot": replaced, "uninstall_code": uninstall}
    )


def load(net: Managed, record: CanisterRecord, snapshot: bytes, caller: Principal = ALICE) -> Any:
    return net.manage("load_canister_snapshot", {**about(record), "snapshot_id": snapshot}, caller=caller)


def counted(outcome: Outcome) -> int:
    assert isinstance(outcome, Reply), outcome
    return int.from_bytes(outcome.arg[:8], "little")


def test_a_canister_goes_back_to_a_snapshot(net: Managed) -> None:
    record = net.installed()
    assert counted(net.call(record.canister_id, "add")) == 1
    snapshot = take(net, record)
    certified = net.replica.state.get((b"canister", record.canister_id, b"certified_data"))
    assert [counted(net.call(record.canister_id, "add")) for _ in range(2)] == [2, 3]
    for _ in range(2):  # a snapshot is not used up
        assert load(net, record, snapshot["id"]) is None
        assert net.replica.state.get((b"canister", record.canister_id, b"certified_data")) == certified
        assert counted(net.call(record.canister_id, "add")) == 2
    change = record.history.recent(1)[0]["details"]["load_snapshot"]
    assert (change["snapshot_id"], change["taken_at_timestamp"]) == (snapshot["id"], snapshot["taken_at_timestamp"])


def test_code_that_is_gone_comes_back(net: Managed) -> None:
    record = net.installed()
    net.call(record.canister_id, "add")
    snapshot = take(net, record, uninstall=True)
    assert record.canister is None
    assert load(net, record, snapshot["id"]) is None
    assert counted(net.call(record.canister_id, "add")) == 2


def test_snapshots_have_a_limit_and_can_be_replaced(net: Managed) -> None:
    record = net.installed()
    taken = [take(net, record) for _ in range(SNAPSHOT_LIMIT)]
    assert net.manage("list_canister_snapshots", about(record)) == taken
    assert take(net, record).error_code == "IC0406"
    newer = take(net, record, taken[3]["id"])
    del taken[3]
    assert net.manage("list_canister_snapshots", about(record)) == [*taken, newer]
    assert net.manage("delete_canister_snapshot", {**about(record), "snapshot_id": newer["id"]}) is None
    again = take(net, record)
    assert again["id"] not in [newer["id"], *(one["id"] for one in taken)], "an id is never given twice"


def test_a_snapshot_that_is_not_there_is_not_found(net: Managed) -> None:
    record = net.installed()
    for refused in (load(net, record, b"none"), take(net, record, b"none")):
        assert (refused.code, refused.error_code) == (3, "IC0305")
    empty = net.create()
    assert "empty canister" in take(net, empty).message


def test_snapshots_of_others_are_for_their_controllers(net: Managed) -> None:
    source, target = net.installed(), net.create()
    net.call(source.canister_id, "add")
    snapshot = take(net, source)
    net.replica.set_controllers(target.canister_id, [ALICE, BOB])
    assert load(net, target, snapshot["id"], caller=BOB).error_code == "IC0512"
    assert load(net, target, snapshot["id"]) is None
    assert counted(net.call(target.canister_id, "add")) == 2
    assert target.history.recent(1)[0]["details"]["load_snapshot"]["from_canister_id"] == source.canister_id


def test_a_list_can_be_open(net: Managed) -> None:
    record = net.installed()
    snapshot = take(net, record)
    assert isinstance(net.manage("list_canister_snapshots", about(record), caller=BOB), Rejection)
    changed = {**NO_SETTINGS, "snapshot_visibility": {"public": None}}
    net.manage("update_settings", {**about(record), "settings": changed})
    assert net.manage("list_canister_snapshots", about(record), caller=BOB) == [snapshot]
    assert load(net, record, snapshot["id"], caller=BOB).error_code == "IC0512", "it may be seen, not loaded"
