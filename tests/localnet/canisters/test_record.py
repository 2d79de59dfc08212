from hypothesis import given
from hypothesis import strategies as st

from appliance.ic.principal import Principal
from appliance.localnet.canisters.record import (
    HISTORY_LIMIT,
    LOG_LINES,
    CanisterHistory,
    CanisterRecord,
    CanisterRecords,
)
from appliance.localnet.state.certification import Authority, canister_id
from appliance.localnet.wasm.canister import WasmCanister
from tests.localnet.greeter import Greeter
from tests.localnet.machine import CANISTER, START
from tests.localnet.wasm.modules import COUNTER, module


def test_a_slot_knows_whether_its_canister_makes_calls() -> None:
    record, wasm = CanisterRecord(CANISTER), WasmCanister(module(COUNTER))
    seen = []
    for canister in (None, wasm, Greeter(), wasm, None):
        record.canister = canister
        seen.append(record.actor)
    assert seen == [None, wasm, None, wasm, None]


def test_the_log_forgets_the_oldest_lines_and_counts_on() -> None:
    record = CanisterRecord(CANISTER)
    for number in range(LOG_LINES + 5):
        record.write_log(str(number), time_ns=number)
    assert len(record.log) == LOG_LINES
    assert (record.log[0].number, record.log[0].text, record.log[-1].time_ns) == (5, "5", LOG_LINES + 4)


def test_an_environment_shows_what_is_known_of_the_canister() -> None:
    authority = Authority(seed=b"canisters", subnet=True)
    canisters, controller = CanisterRecords(authority), Principal(b"bob")
    record = CanisterRecord(CANISTER, None, frozenset({controller}), "stopping", 7, 1000, 5, variables={"A": "b"})
    canisters.add(record)
    env = canisters.environment(record, controller, START)
    assert (env.canister_id, env.caller, env.time_ns, env.timer_ns) == (CANISTER, controller, START, 5)
    assert env.info.controllers == {controller}
    assert (env.info.version, env.info.status, env.info.variables) == (7, "stopping", {"A": "b"})
    assert (env.info.subnet_id, env.info.root_key) == (authority.subnet_id, authority.root_key)
    assert (env.cycles.balance, env.cycles.available) == (1000, 0)
    env.print("hello")
    assert [(line.time_ns, line.text) for line in record.log] == [(START, "hello")]
    assert list(canisters) == [record]
    canisters.remove(CANISTER)
    assert CANISTER not in canisters
    assert canisters.get(canister_id(1)) is None


WHO = Principal(b"alice")


@given(st.lists(st.booleans(), max_size=2 * HISTORY_LIMIT), st.integers(0, 3 * HISTORY_LIMIT))
def test_all_are_counted_and_the_last_are_kept(users: list[bool], wanted: int) -> None:
    history = CanisterHistory()
    for version, is_user in enumerate(users):
        history.add({"code_uninstall": None}, WHO, is_user=is_user, time_ns=version, canister_version=version)
    assert history.total == len(users)
    found = history.recent(wanted)
    assert [change["canister_version"] for change in found] == list(range(len(users)))[-HISTORY_LIMIT:][
        max(0, min(len(users), HISTORY_LIMIT) - wanted) :
    ]
    assert ["from_user" in change["origin"] for change in found] == [
        users[change["canister_version"]] for change in found
    ]
    again = CanisterHistory.decode(history.encode(), history.total)
    assert again.total == history.total
    assert [change["timestamp_nanos"] for change in again.recent(wanted)] == [
        change["timestamp_nanos"] for change in found
    ]
