from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.ic.principal import Principal
from appliance.localnet.canisters.management_types import METHODS
from appliance.localnet.canisters.record import CanisterRecord
from appliance.localnet.management.status import ranges_of
from appliance.localnet.state.certification import canister_id
from appliance.localnet.state.outcome import Rejection
from tests.localnet.managed import BOB, COUNTER_MODULE, NO_SETTINGS, Managed, about
from tests.localnet.wasm.modules import ALICE, custom_section, module

TALKING = """
(func (export "canister_update talk") (call $debug_print (i32.const 0) (i32.const 5)) (call $msg_reply))
(data (i32.const 0) "hello")
"""
CAROL = Principal(b"carol")


@pytest.fixture
def net() -> Managed:
    return Managed()


def read(net: Managed, method: str, reader: Principal, **values: Any) -> Any:
    """What a query returns, or the rejection."""
    arg = METHODS[method].arguments.encode(*([values] if values else []))
    return net.result(method, net.management.query(method, arg, reader))


def change(net: Managed, record: CanisterRecord, **settings: Any) -> None:
    assert net.manage("update_settings", {**about(record), "settings": {**NO_SETTINGS, **settings}}) is None


@pytest.mark.parametrize(
    ("setting", "method", "more"),
    [
        ("status_visibility", "canister_status", {}),
        ("log_visibility", "fetch_canister_logs", {"filter": None}),
    ],
)
def test_settings_open_what_queries_show(net: Managed, setting: str, method: str, more: dict[str, Any]) -> None:
    record = net.installed()
    for visibility, readers in [
        ({"controllers": None}, {ALICE}),
        ({"allowed_viewers": [BOB]}, {ALICE, BOB}),
        ({"public": None}, {ALICE, BOB, CAROL}),
    ]:
        change(net, record, **{setting: visibility})
        for reader in (ALICE, BOB, CAROL):
            assert isinstance(read(net, method, reader, **about(record), **more), Rejection) == (reader not in readers)


def test_a_status_counts_what_there_is(net: Managed) -> None:
    record = net.installed(module(TALKING))
    net.call(record.canister_id, "talk")
    sizes = read(net, "canister_status", ALICE, **about(record))["memory_metrics"]
    assert sizes["log_memory_store_size"] == len("hello")
    net.manage("take_canister_snapshot", {**about(record), "replace_snapshot": None, "uninstall_code": None})
    status = read(net, "canister_status", ALICE, **about(record))
    sizes = status["memory_metrics"]
    assert sizes["snapshots_size"] == sizes["wasm_memory_size"] + sizes["stable_memory_size"] > 0
    assert status["memory_size"] == sum(sizes.values())


def test_a_filter_chooses_lines(net: Managed) -> None:
    record = net.installed(module(TALKING))
    for _ in range(4):
        net.call(record.canister_id, "talk")
    times = [line.time_ns for line in record.log]
    assert times == sorted(set(times))
    for kind, span in [("by_idx", (1, 2)), ("by_timestamp_nanos", (times[1], times[2]))]:
        choice = {kind: dict(zip(("start", "end"), span, strict=True))}
        found = read(net, "fetch_canister_logs", ALICE, **about(record), filter=choice)["canister_log_records"]
        assert [line["idx"] for line in found] == [1, 2]
    assert len(read(net, "fetch_canister_logs", ALICE, **about(record), filter=None)["canister_log_records"]) == 4


def test_private_metadata_is_for_controllers(net: Managed) -> None:
    sections = custom_section("icp:public open", b"for all") + custom_section("icp:private closed", b"for some")
    record = net.installed(COUNTER_MODULE + sections)
    for reader, name, expected in [
        (ALICE, "open", b"for all"),
        (BOB, "open", b"for all"),
        (ALICE, "closed", b"for some"),
        *((reader, name, None) for reader, name in [(BOB, "closed"), (ALICE, "missing"), (BOB, "missing")]),
    ]:
        found = read(net, "canister_metadata", reader, **about(record), name=name)
        if expected is None:
            assert found == Rejection(4, f"Canister {record.canister_id} has no metadata section {name}", "IC0406")
        else:
            assert found == {"value": expected}
        assert net.manage("canister_metadata", {**about(record), "name": name}, caller=reader) == found


def test_metrics_are_zero_for_controllers(net: Managed) -> None:
    record = net.create()
    consumed = read(net, "canister_metrics", ALICE, **about(record))["cycles_consumed"]
    assert set(consumed.values()) == {0}
    assert isinstance(read(net, "canister_metrics", BOB, **about(record)), Rejection)


@given(st.sets(st.integers(0, 30)))
def test_ranges_hold_each_id_once(numbers: set[int]) -> None:
    ranges = ranges_of(map(canister_id, numbers))
    spans = [range(*(int.from_bytes(one[end][:8], "big") for end in ("start", "end"))) for one in ranges]
    held = [number for span in spans for number in (*span, span.stop)]
    assert held == sorted(numbers)
    assert all(first.stop + 1 < second.start for first, second in pairwise(spans)), "no two touch"


def test_everybody_sees_which_canisters_there_are(net: Managed) -> None:
    records = [net.create() for _ in range(3)]
    assert read(net, "list_canisters", BOB) == {
        "canisters": [{"start": records[0].canister_id, "end": records[2].canister_id}]
    }
