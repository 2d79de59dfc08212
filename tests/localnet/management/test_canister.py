from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.crypto import CandidTypes, SigningKey
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.canisters.chunk_store import CHUNK_LIMIT
from appliance.localnet.canisters.management_types import METHODS, NOT_OFFERED
from appliance.localnet.canisters.record import START_CYCLES
from appliance.localnet.canisters.settings import NUMBERS, VISIBILITIES
from appliance.localnet.state.certification import canister_id
from appliance.localnet.state.outcome import Rejection, Reply
from tests.localnet.managed import (
    BOB,
    COUNTER_MODULE,
    INSTALL,
    NO_SETTINGS,
    OWNED,
    PROXY,
    REINSTALL,
    UPGRADE,
    Managed,
    about,
)
from tests.localnet.wasm.modules import ALICE, module

KEY = KeyIdentity(SigningKey.from_secret("ed25519", b"m" * 32))
CONTROLLED = sorted(
    {
        *("update_settings", "install_code", "install_chunked_code", "upload_chunk", "stored_chunks"),
        *("clear_chunk_store", "uninstall_code", "start_canister", "stop_canister", "delete_canister"),
        *("canister_status", "canister_metrics", "take_canister_snapshot", "load_canister_snapshot"),
        *("list_canister_snapshots", "delete_canister_snapshot"),
    }
)


@pytest.fixture
def net() -> Managed:
    return Managed()


def arguments(net: Managed, method: str, canister: Principal) -> dict[str, Any]:
    """Some for any method about a canister."""
    return {
        "canister_id": canister,
        "target_canister": canister,
        "store_canister": None,
        "settings": NO_SETTINGS,
        "mode": INSTALL,
        "wasm_module": COUNTER_MODULE,
        "wasm_module_hash": sha256(b"").digest(),
        "chunk_hashes_list": [],
        "chunk": b"chunk",
        "arg": b"",
        "amount": 1,
        "num_requested_changes": None,
        "name": "candid:service",
        "filter": None,
        "replace_snapshot": None,
        "uninstall_code": None,
        "snapshot_id": b"snapshot",
    }


def exact(method: str, values: dict[str, Any]) -> bytes:
    """Those of a method, encoded."""
    return METHODS[method].arguments.encode({name: values[name] for name in FIELDS[method]})


FIELDS = {
    "update_settings": ("canister_id", "settings"),
    "install_code": ("mode", "canister_id", "wasm_module", "arg"),
    "install_chunked_code": (
        *("mode", "target_canister", "store_canister", "chunk_hashes_list", "wasm_module_hash", "arg"),
    ),
    "upload_chunk": ("canister_id", "chunk"),
    "provisional_top_up_canister": ("canister_id", "amount"),
    "canister_info": ("canister_id", "num_requested_changes"),
    "canister_metadata": ("canister_id", "name"),
    "fetch_canister_logs": ("canister_id", "filter"),
    "take_canister_snapshot": ("canister_id", "replace_snapshot", "uninstall_code"),
    "load_canister_snapshot": ("canister_id", "snapshot_id"),
    "delete_canister_snapshot": ("canister_id", "snapshot_id"),
    **{name: ("canister_id",) for name in METHODS if METHODS[name].arguments.to_text() == "(subject)"},
}


def test_the_life_of_a_canister(net: Managed) -> None:
    record = net.create()
    status = net.manage("canister_status", about(record))
    assert (status["status"], status["module_hash"], status["cycles"]) == ({"running": None}, None, START_CYCLES)
    assert status["settings"]["controllers"] == [ALICE]
    assert net.install_code(record) is None
    status = net.manage("canister_status", about(record))
    assert status["module_hash"] == sha256(COUNTER_MODULE).digest()
    assert status["memory_metrics"]["wasm_memory_size"] == status["memory_size"] == 2 * 65536
    assert net.manage("delete_canister", about(record)) == Rejection(
        5, f"Canister {record.canister_id} must be stopped before it is deleted.", "IC0510"
    )
    assert net.manage("stop_canister", about(record)) is None
    assert net.manage("canister_status", about(record))["status"] == {"stopped": None}
    stopped = net.call(record.canister_id, "add")
    assert isinstance(stopped, Rejection)
    assert stopped.error_code == "IC0508"
    assert net.manage("start_canister", about(record)) is None
    assert isinstance(net.call(record.canister_id, "add"), Reply)
    assert net.manage("uninstall_code", about(record)) is None
    assert net.manage("canister_status", about(record))["module_hash"] is None
    assert net.manage("stop_canister", about(record)) is None
    assert net.manage("delete_canister", about(record)) is None
    assert net.manage("canister_status", about(record)) == Rejection(
        3, f"Canister {record.canister_id} not found.", "IC0301"
    )


def test_each_mode_has_its_place(net: Managed) -> None:
    record = net.create()
    refused = net.install_code(record, mode=UPGRADE)
    assert refused.error_code == "IC0537"
    assert net.install_code(record) is None
    net.call(record.canister_id, "add")
    refused = net.install_code(record)
    assert (refused.code, refused.error_code) == (5, "IC0514")
    assert "Try installing with mode='reinstall'" in refused.message
    assert net.install_code(record, mode=REINSTALL) is None
    first = net.call(record.canister_id, "add")
    assert isinstance(first, Reply)
    assert first.arg[:8] == (1).to_bytes(8, "little")
    options = {"skip_pre_upgrade": True, "wasm_memory_persistence": {"replace": None}}
    assert net.install_code(record, mode={"upgrade": options}) is None
    kept = net.install_code(record, mode={"upgrade": {**options, "wasm_memory_persistence": {"keep": None}}})
    assert (kept.code, "orthogonal persistence" in kept.message) == (5, True)


@pytest.mark.parametrize(
    ("code", "error_code"),
    [
        (b"not a module", "IC0505"),
        (b"", "IC0505"),
        (
            module(
                '(func (export "canister_init") (call $trap (i32.const 0) (i32.const 4)))(data (i32.const 0) "oops")'
            ),
            "IC0503",
        ),
        (module('(func (export "canister_init") unreachable)'), "IC0502"),
    ],
)
@pytest.mark.parametrize("mode", [INSTALL, REINSTALL, UPGRADE])
def test_an_installation_that_fails_changes_nothing(net: Managed, code: bytes, error_code: str, mode: Any) -> None:
    record = net.create() if mode is INSTALL else net.installed()
    before = record.canister, net.manage("canister_info", {**about(record), "num_requested_changes": 9}, caller=BOB)
    refused = net.install_code(record, code, mode=mode)
    if mode is UPGRADE and error_code != "IC0505":
        assert refused is None, "init is not run in an upgrade"
        return
    assert refused.error_code == error_code
    assert refused.message.startswith(f"Error from Canister {record.canister_id}: ")
    after = record.canister, net.manage("canister_info", {**about(record), "num_requested_changes": 9}, caller=BOB)
    assert after == before


def test_a_canister_sees_who_installs_it(net: Managed) -> None:
    code = module(OWNED)
    record = net.installed(code)
    assert net.query(record.canister_id, "owner") == Reply(bytes(ALICE))
    net.manage("update_settings", {**about(record), "settings": {**NO_SETTINGS, "controllers": [BOB]}})
    wanted = {"mode": UPGRADE, **about(record), "wasm_module": code, "arg": b""}
    assert net.manage("install_code", wanted, caller=BOB) is None
    assert net.query(record.canister_id, "owner") == Reply(bytes(BOB) + b"\0\0")


@pytest.mark.parametrize("method", CONTROLLED)
def test_who_controls_it_decides(net: Managed, method: str) -> None:
    record = net.create()
    arg = exact(method, arguments(net, method, record.canister_id))
    call = net.submit(Principal(b""), method, arg, BOB)
    net.run()
    text = f"Only the controllers of the canister {record.canister_id} can control it.\nCanister's controllers: {ALICE}"
    assert net.outcome(call) == Rejection(5, f"{text}\nSender's ID: {BOB}", "IC0512")
    text = f"Only controllers of canister {record.canister_id} can call ic00 method {method}"
    assert net.admit(KEY, method, arg) == Rejection(5, text, "IC0512")
    net.replica.set_controllers(record.canister_id, [KEY.principal])
    assert net.admit(KEY, method, arg) is None


@pytest.mark.parametrize("method", sorted(FIELDS))
def test_what_is_not_there_is_not_found(net: Managed, method: str) -> None:
    nobody = canister_id(77)
    arg = exact(method, arguments(net, method, nobody))
    call = net.submit(Principal(b""), method, arg)
    net.run()
    outcome = net.outcome(call)
    expected = ("IC0301", 3)
    assert isinstance(outcome, Rejection)
    assert (outcome.error_code, outcome.code) == expected


@pytest.mark.parametrize("method", ["raw_rand", "deposit_cycles", "canister_info", "fetch_canister_logs"])
def test_some_methods_are_for_canisters(net: Managed, method: str) -> None:
    arg = CandidTypes("()").encode() if method == "raw_rand" else exact(method, arguments(net, method, canister_id(77)))
    assert net.admit(KEY, method, arg) == Rejection(4, f"Only canisters can call ic00 method {method}", "IC0406")


def test_what_is_not_offered_is_said(net: Managed) -> None:
    for method in sorted(NOT_OFFERED):
        refused = net.admit(KEY, method, b"")
        assert refused is not None
        assert (refused.code, refused.error_code) == (4, "IC0406")
        assert method in refused.message
        assert "does not offer" in refused.message
    assert net.admit(KEY, "nonsense", b"") == Rejection(5, "Management canister has no method 'nonsense'", "IC0536")
    refused = net.admit(KEY, "start_canister", b"nonsense")
    assert refused is not None
    assert (refused.code, refused.error_code, refused.message[:23]) == (4, "IC0408", "Error decoding candid: ")


def test_ids_can_be_wished_for(net: Managed) -> None:
    def create(wished: Principal | None) -> Any:
        wanted = {"amount": 5, "settings": None, "specified_id": wished}
        return net.manage("provisional_create_canister_with_cycles", wanted)

    wished = canister_id(7)
    assert create(wished) == {"canister_id": wished}
    assert net.replica.canisters[wished].cycles == 5
    assert create(wished).error_code == "IC0205"
    assert create(BOB).error_code == "IC0405"
    first, second = (create(None)["canister_id"] for _ in range(2))
    assert str(first) == "bkyz2-fmaaa-aaaaa-qaaaq-cai"
    assert second > first


def test_controllers_are_not_too_many(net: Managed) -> None:
    many = [Principal(bytes([number])) for number in range(11)]
    wanted = {"settings": {**NO_SETTINGS, "controllers": many}}
    assert net.manage("create_canister", wanted).error_code == "IC0408"
    record = net.create(controllers=many[:10])
    assert record.controllers == frozenset(many[:10])
    assert net.replica.state.get((b"canister", record.canister_id, b"controllers")) is not None


def test_cycles_come_with_calls_and_from_nowhere(net: Managed) -> None:
    proxy, record = net.installed(module(PROXY)), net.create()
    before = proxy.cycles
    assert net.manage("provisional_top_up_canister", {**about(record), "amount": 7}, caller=BOB) is None
    assert record.cycles == START_CYCLES + 7
    assert net.forward(proxy.canister_id, "deposit_cycles", about(record)) is None
    assert (record.cycles, proxy.cycles) == (START_CYCLES + 1007, before - 1000)
    created = net.forward(proxy.canister_id, "create_canister", {"settings": None})
    made = net.replica.canisters[created["canister_id"]]
    assert (made.cycles, made.controllers) == (1000, {proxy.canister_id})
    assert proxy.cycles == before - 2000
    assert net.forward(proxy.canister_id, "stored_chunks", about(made)) == []
    assert proxy.cycles == before - 2000, "what is not used comes back"


def test_canisters_are_refused_as_users_are(net: Managed) -> None:
    proxy, record = net.installed(module(PROXY)), net.create()
    code, text = net.forward(proxy.canister_id, "start_canister", about(record))
    assert (code, text.endswith(f"Sender's ID: {proxy.canister_id}")) == (5, True)
    assert net.forward(proxy.canister_id, "canister_status", about(proxy))["status"] == {"running": None}, "of itself"
    net.replica.set_controllers(proxy.canister_id, [proxy.canister_id])
    code, text = net.forward(proxy.canister_id, "delete_canister", about(proxy))
    assert (code, text) == (5, f"Canister {proxy.canister_id} cannot delete itself.")
    first, second = (net.forward(proxy.canister_id, "raw_rand") for _ in range(2))
    assert len(first) == len(second) == 32
    assert first != second


def test_changes_are_remembered(net: Managed) -> None:
    proxy, record = net.installed(module(PROXY)), net.installed()
    net.manage("update_settings", {**about(record), "settings": {**NO_SETTINGS, "controllers": [BOB, ALICE]}})
    net.manage("uninstall_code", about(record), caller=BOB)
    info = net.forward(proxy.canister_id, "canister_info", {**about(record), "num_requested_changes": 3})
    assert (info["total_num_changes"], info["module_hash"]) == (4, None)
    assert [next(iter(change["details"])) for change in info["recent_changes"]] == [
        *("code_deployment", "controllers_change", "code_uninstall"),
    ]
    assert [change["origin"]["from_user"]["user_id"] for change in info["recent_changes"]] == [ALICE, ALICE, BOB]
    times = [change["timestamp_nanos"] for change in info["recent_changes"]]
    assert times == sorted(times)


def test_a_stop_waits_for_what_is_in_execution(net: Managed) -> None:
    proxy = net.installed(module(PROXY))
    net.replica.set_controllers(proxy.canister_id, [proxy.canister_id, ALICE])
    name = b"stop_canister"
    arg = METHODS["stop_canister"].arguments.encode(about(proxy))
    waiting = net.submit(proxy.canister_id, "forward", bytes([len(name)]) + name + arg)
    net.run()
    assert (proxy.status, waiting.status) == ("stopping", "processing"), "it waits for itself"
    stopping = net.submit(Principal(b""), "stop_canister", arg)
    net.run()
    assert stopping.status == "processing"
    assert net.manage("start_canister", about(proxy)) is None
    text = f"Canister {proxy.canister_id}'s stop request was cancelled."
    assert net.outcome(stopping) == Rejection(5, text, "IC0511")
    assert net.outcome(waiting) == Reply(b"5" + text.encode())
    assert proxy.status == "running"
    assert net.manage("stop_canister", about(proxy)) is None


# --- chunks ---


def chunked(net: Managed, record: Any, hashes: list[bytes], **changes: Any) -> Any:
    wanted = {
        "mode": INSTALL,
        "target_canister": record.canister_id,
        "store_canister": None,
        "chunk_hashes_list": [{"hash": digest} for digest in hashes],
        "wasm_module_hash": sha256(COUNTER_MODULE).digest(),
        "arg": b"",
        **changes,
    }
    return net.manage("install_chunked_code", wanted)


def test_a_module_comes_in_chunks(net: Managed) -> None:
    store, record = net.create(), net.create()
    pieces = [COUNTER_MODULE[:100], COUNTER_MODULE[100:]]
    hashes = [net.manage("upload_chunk", {**about(store), "chunk": piece})["hash"] for piece in pieces]
    assert hashes == [sha256(piece).digest() for piece in pieces]
    assert {chunk["hash"] for chunk in net.manage("stored_chunks", about(store))} == set(hashes)
    assert net.manage("canister_status", about(store))["memory_metrics"]["wasm_chunk_store_size"] == len(COUNTER_MODULE)
    refused = chunked(net, record, hashes)
    assert (refused.error_code, "was not found" in refused.message) == ("IC0504", True)
    refused = chunked(net, record, hashes[::-1], store_canister=store.canister_id)
    assert (refused.error_code, "does not match given hash" in refused.message) == ("IC0504", True)
    assert chunked(net, record, hashes, store_canister=store.canister_id) is None
    assert isinstance(net.call(record.canister_id, "add"), Reply)
    assert net.manage("clear_chunk_store", about(store)) is None
    assert net.manage("stored_chunks", about(store)) == []


def test_the_chunks_of_others_are_theirs(net: Managed) -> None:
    store, record = net.create(BOB), net.create()
    assert chunked(net, record, [], store_canister=store.canister_id).error_code == "IC0512"
    too_large = net.manage("upload_chunk", {**about(record), "chunk": bytes(CHUNK_LIMIT + 1)})
    assert (too_large.error_code, str(CHUNK_LIMIT) in too_large.message) == ("IC0504", True)


# --- settings and logs ---

WANTED = st.fixed_dictionaries(
    {
        "controllers": st.none(),
        **{name: st.none() | st.integers(0, 2**64) for name in NUMBERS},
        **dict.fromkeys(
            VISIBILITIES, st.sampled_from([None, {"public": None}, {"controllers": None}, {"allowed_viewers": [BOB]}])
        ),
        "environment_variables": st.none()
        | st.dictionaries(st.text("ABC_", min_size=1), st.text(max_size=5)).map(
            lambda found: [{"name": name, "value": value} for name, value in sorted(found.items())]
        ),
    }
)


@settings(max_examples=25, deadline=None)
@given(st.lists(WANTED, max_size=4))
def test_settings_are_what_was_said_last(changes: list[dict[str, Any]]) -> None:
    net = Managed()
    record = net.create()
    model = net.manage("canister_status", about(record))["settings"]
    for change in changes:
        assert net.manage("update_settings", {**about(record), "settings": change}) is None
        model |= {name: value for name, value in change.items() if value is not None}
        assert net.manage("canister_status", about(record))["settings"] == model
    assert record.variables == {variable["name"]: variable["value"] for variable in model["environment_variables"]}


def test_updates_are_no_queries_and_some_queries_no_updates(net: Managed) -> None:
    arg = METHODS["start_canister"].arguments.encode(about(net.create()))
    assert net.management.query("start_canister", arg, ALICE) == Rejection(
        4, "Query method start_canister is not supported by the management canister", "IC0406"
    )
    refused = net.admit(KEY, "list_canisters", METHODS["list_canisters"].arguments.encode())
    assert refused == Rejection(4, "ic00 method list_canisters is a query and cannot be called", "IC0406")


def test_the_effective_id_is_that_of_the_canister(net: Managed) -> None:
    record = net.create()
    find: Callable[[str, bytes], Principal | None] = net.management.effective_id
    for method in sorted(FIELDS):
        assert find(method, exact(method, arguments(net, method, record.canister_id))) == record.canister_id
    assert find("create_canister", METHODS["create_canister"].arguments.encode({"settings": None})) is None
    assert find("start_canister", b"nonsense") is None
    assert find("nonsense", b"") is None
