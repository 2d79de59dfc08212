"""Canisters of Wasm on the replica: timers, heartbeats, certified data, who is let in, upgrades."""

from pathlib import Path

import pytest

from appliance.crypto import SigningKey, Verifier, decode_cbor
from appliance.ic.agent import Agent
from appliance.ic.envelope import sign_request
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import AnonymousIdentity, KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import ExecutionError
from appliance.localnet.canisters.record import CanisterRecord
from appliance.localnet.net import Localnet
from appliance.localnet.state.outcome import Rejection, Reply
from appliance.localnet.wasm.canister import WasmCanister
from tests.localnet.machine import SECOND, START
from tests.localnet.replica.test_replica import Log
from tests.localnet.replica.test_rounds import TICKING
from tests.localnet.wasm.modules import COUNTER, RELAY, module
from tests.localnet.wasm.net import Net


@pytest.fixture
def net() -> Net:
    return Net()


CERTIFYING = """(func $certify (call $msg_arg_data_copy (i32.const 0) (i32.const 0) (call $msg_arg_data_size))
  (call $certified_data_set (i32.const 0) (call $msg_arg_data_size)))
(func (export "canister_init") (call $certify))
(func (export "canister_update set") (call $certify) (call $msg_reply))
(func (export "canister_update set and trap") (call $certify) unreachable)
(func (export "canister_query proof")
  (call $data_certificate_copy (i32.const 1000) (i32.const 0) (call $data_certificate_size))
  (call $msg_reply_data_append (i32.const 1000) (call $data_certificate_size)) (call $msg_reply))"""


def test_certified_data_is_that_of_the_committed_state(net: Net) -> None:
    canister = net.install(module(CERTIFYING), b"first")
    verifier = Verifier(net.replica.authority.root_key)

    def proved() -> bytes | None:
        outcome = net.query(canister, "proof")
        assert isinstance(outcome, Reply)
        decode_cbor(outcome.arg)
        tree = verifier.verify_certificate(outcome.arg, canister, now_ns=net.clock.now_ns())
        return tree.lookup([b"canister", canister, b"certified_data"])

    assert proved() == b"first"
    assert isinstance(net.call(canister, "set and trap", b"never"), Rejection)
    assert proved() == b"first"
    waiting = net.submit(canister, "set", b"second")
    assert proved() == b"first"
    net.replica.executor.execute()
    assert (waiting.status, proved()) == ("replied", b"second")
    net.replica.upgrade_canister(canister, module(COUNTER))
    assert net.replica.state.get((b"canister", canister, b"certified_data")) == b"second"
    net.replica.reinstall_canister(canister, Log())
    assert net.replica.state.get((b"canister", canister, b"certified_data")) == b""


INSPECTING = """(func (export "canister_inspect_message")
  (if (i32.eq (call $msg_arg_data_size) (i32.const 1)) (then (call $accept_message)))
  (if (i32.eq (call $msg_arg_data_size) (i32.const 2)) (then unreachable)))
(func (export "canister_update x") (call $msg_reply))"""


def test_calls_of_users_are_inspected(net: Net) -> None:
    canister = net.install(module(INSPECTING))
    identity = KeyIdentity(SigningKey.from_secret("ed25519", bytes(32)))
    verifier = Verifier(net.replica.authority.root_key)

    def admitted(arg: bytes) -> Rejection | None:
        signed = sign_request(identity, "call", now_ns=START, canister_id=canister, method_name="x", arg=arg)
        return net.replica.admit(verifier.open_request(signed.body, now_ns=START))

    assert admitted(b"a") is None
    assert admitted(b"") == Rejection(4, f"Canister {canister} rejected the message", "IC0406")
    trapped = admitted(b"ab")
    assert trapped is not None
    assert trapped.message == f"Error from Canister {canister}: Canister trapped: unreachable"


def test_an_upgrade_shows_the_new_code_and_raises_the_version(net: Net) -> None:
    canister = net.install(module(COUNTER))
    record = net.replica.canisters[canister]
    version, before = record.version, net.replica.state.get((b"canister", canister, b"module_hash"))
    net.replica.upgrade_canister(canister, module(RELAY))
    assert record.version > version
    assert net.replica.state.get((b"canister", canister, b"module_hash")) not in (before, None)
    assert net.call(canister, "echo", b"x") == Reply(b"x")
    with pytest.raises(ExecutionError):
        net.replica.upgrade_canister(canister, b"no module")
    assert net.call(canister, "echo", b"x") == Reply(b"x")


def test_an_open_call_goes_on_in_the_upgraded_canister(net: Net) -> None:
    first, second = net.install(module(RELAY)), net.install(module(RELAY))
    call = net.submit(first, "relay", second + b"echo")
    net.replica.executor.execute()
    net.replica.upgrade_canister(first, module(RELAY))
    net.run()
    assert net.outcome(call) == Reply(b"7hello")


def test_a_canister_of_python_is_not_upgraded(net: Net) -> None:
    with pytest.raises(ExecutionError, match="only a canister of Wasm"):
        net.replica.upgrade_canister(net.replica.create_canister(Log()), module(COUNTER))


def test_what_is_told_of_an_empty_canister_goes_with_its_code(net: Net) -> None:
    get = net.replica.state.get
    canister = net.replica.create_canister(controllers=[Principal(b"bob")])
    path = (b"canister", canister)
    assert (get((*path, b"module_hash")), get((*path, b"certified_data"))) == (None, b"")
    net.replica.reinstall_canister(canister, Log())
    assert get((*path, b"metadata", b"candid:service")) == Log.did.encode()
    net.replica.uninstall_canister(canister)
    assert get((*path, b"metadata", b"candid:service")) is None
    assert get((*path, b"module_hash")) is None
    assert get((*path, b"controllers")) is not None
    net.replica.delete_canister(canister)
    assert get((*path, b"controllers")) is None
    for change in (net.replica.delete_canister, net.replica.start_canister, net.replica.uninstall_canister):
        with pytest.raises(KeyError, match=str(canister)):
            change(canister)


def test_traps_and_prints_are_in_the_log(net: Net) -> None:
    text = """(func (export "canister_update x") (call $debug_print (i32.const 0) (i32.const 2)) unreachable)
    (data (i32.const 0) "hi")"""
    canister = net.install(module(text))
    record, heard = net.replica.canisters[canister], []
    record.on_log = heard.append
    for _ in range(2):
        net.call(canister, "x")
    assert [(line.number, line.text) for line in record.log] == [
        (0, "hi"),
        (1, "[TRAP]: Canister trapped: unreachable"),
        (2, "hi"),
        (3, "[TRAP]: Canister trapped: unreachable"),
    ]
    assert list(record.log) == heard
    assert heard[0].time_ns == heard[1].time_ns < heard[2].time_ns


def test_a_canister_is_put_back_as_it_was(net: Net, tmp_path: Path) -> None:
    canister = net.install(module(TICKING))
    old = net.replica.canisters[canister]
    assert isinstance(old.canister, WasmCanister)
    old.canister.save(tmp_path)
    other = Net()
    record = CanisterRecord(
        canister, WasmCanister.load(tmp_path), frozenset({Principal(b"bob")}), timer_ns=old.timer_ns
    )
    other.replica.restore_canister(record, certified_data=b"certified")
    assert other.replica.state.get((b"canister", canister, b"certified_data")) == b"certified"
    assert other.replica.state.get((b"canister", canister, b"module_hash")) == old.canister.module_hash
    other.clock.advance(11 * SECOND)
    other.run()
    assert other.query(canister, "ticks") == Reply(b"\1")
    with pytest.raises(ValueError, match="is taken"):
        other.replica.restore_canister(record)


async def test_a_canister_of_wasm_is_called_and_upgraded_over_http() -> None:
    async with Localnet() as net, HttpTransport([net.url], timeout_s=15, max_reply=1 << 20) as transport:
        canister = net.create_canister(WasmCanister(module(COUNTER)))
        agent = Agent(transport, AnonymousIdentity(), Verifier(net.root_key))
        for number in (1, 2):
            assert await agent.call(canister, "add", b"") == 2 * number.to_bytes(8, "little")
        assert await agent.query(canister, "peek", b"") == 2 * (3).to_bytes(8, "little")
        net.upgrade_canister(canister, module(RELAY))
        assert await agent.call(canister, "relay", canister + b"echo") == b"7hello"
