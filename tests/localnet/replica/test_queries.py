"""Queries that call queries, on modules of Wasm."""

import pytest

from appliance.crypto import CandidTypes
from appliance.localnet.replica import queries
from appliance.localnet.state.outcome import Rejection, Reply
from tests.localnet.replica.test_executor import RELAY_MODULE, counted, problem
from tests.localnet.replica.test_replica import Log
from tests.localnet.wasm.modules import RELAY, module
from tests.localnet.wasm.net import Net


@pytest.fixture
def net() -> Net:
    return Net()


def test_a_composite_query_calls_a_query_and_forgets_everything(net: Net) -> None:
    first, second = net.install(RELAY_MODULE), net.install(RELAY_MODULE)
    net.call(second, "echo", b"")
    for _ in range(2):
        assert net.query(first, "ask", second + b"read") == Reply(b"7" + bytes([2]) + bytes(15))
    assert (counted(net, first), counted(net, second)) == ((0, 0), (1, 0))


def test_a_composite_query_sees_what_it_did_before_its_call(net: Net) -> None:
    body = """(global $seen (mut i32) (i32.const 0)) (table funcref (elem $back))
    (func $back (param i32)
      (i32.store8 (i32.const 1) (i32.add (i32.load8_u (i32.const 1)) (global.get $seen)))
      (call $msg_reply_data_append (i32.const 0) (i32.const 2)) (call $msg_reply))
    (func (export "canister_composite_query x")
      (global.set $seen (i32.const 5)) (i32.store8 (i32.const 0) (i32.const 9))
      (call $canister_self_copy (i32.const 100) (i32.const 0) (i32.const 10))
      (call $call_new (i32.const 100) (i32.const 10) (i32.const 110) (i32.const 1)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (drop (call $call_perform)))
    (func (export "canister_query y") (i32.store8 (i32.const 1) (i32.const 77)) (call $msg_reply))
    (data (i32.const 110) "y")"""
    canister = net.install(module(body))
    assert net.query(canister, "x") == Reply(bytes([9, 5])), "and not what the other query did"


def test_what_goes_wrong_there_is_told_to_the_callback(net: Net) -> None:
    first, second = net.install(RELAY_MODULE), net.install(RELAY_MODULE)
    absent = f"Error from Canister {second}: Canister has no query method 'echo'"
    assert net.query(first, "ask", second + b"echo") == Reply(b"5" + absent.encode())
    net.replica.stop_canister(second, lambda done: None)
    assert net.query(first, "ask", second + b"read") == Reply(b"5Canister " + str(second).encode() + b" is stopped")


def test_a_callback_that_traps_is_the_end(net: Net) -> None:
    first, second = net.install(RELAY_MODULE), net.install(RELAY_MODULE)
    assert net.query(first, "ask and trap", second + b"read") == problem(first, "oops")


DEEPER = """(table funcref (elem $on_reply $on_reject))
(func $answer (call $msg_reply_data_append (i32.const 0) (i32.const 1)) (call $msg_reply))
(func $on_reply (param i32) (call $msg_arg_data_copy (i32.const 0) (i32.const 0) (i32.const 1))
  (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1))) (call $answer))
(func $on_reject (param i32) (i32.store8 (i32.const 0) (i32.const 0)) (call $answer))
(func (export "canister_composite_query x")
  (call $canister_self_copy (i32.const 100) (i32.const 0) (i32.const 10))
  (call $call_new (i32.const 100) (i32.const 10) (i32.const 110) (i32.const 1)
    (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)) (drop (call $call_perform)))
(data (i32.const 110) "x")"""


def test_calls_in_calls_end(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    canister = net.install(module(DEEPER))
    assert net.query(canister, "x") == Reply(bytes([queries.DEPTH_LIMIT]))
    monkeypatch.setattr(queries, "CALLS_LIMIT", 2)
    assert net.query(canister, "x") == Reply(bytes([2]))


def test_a_query_cannot_call(net: Net) -> None:
    text = """(func (export "canister_query x") (call $call_new (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))"""
    outcome = net.query(net.install(module(text)), "x")
    assert isinstance(outcome, Rejection)
    assert outcome.message.endswith("Canister violated contract: ic0.call_new cannot be called in a query method")
    assert outcome.error_code == "IC0504"


def test_a_composite_query_is_not_for_updates(net: Net) -> None:
    canister = net.install(RELAY_MODULE)
    assert net.call(canister, "ask", canister + b"read") == problem(
        canister, "Canister has no update method 'ask'", "IC0536"
    )


def test_a_canister_of_python_is_asked_too(net: Net) -> None:
    text = RELAY.replace('"hello"', '"DIDL\\00\\00"').replace(
        "(call $call_data_append (i32.const 100) (i32.const 5))",
        "(call $call_data_append (i32.const 100) (i32.const 6))",
    )
    first, log = net.install(module(text)), net.replica.create_canister(Log())
    assert net.query(first, "ask", log + b"all") == Reply(b"7" + CandidTypes("(vec text)").encode([]))
    outcome = net.query(first, "ask", log + b"append")
    assert isinstance(outcome, Reply)
    assert outcome.arg.endswith(b"Canister has no query method 'append'")


def test_only_the_canister_that_the_user_asks_gets_a_certificate(net: Net) -> None:
    text = """(table funcref (elem $back))
    (func $answer (i32.store8 (i32.const 0) (call $data_certificate_present))
      (call $msg_reply_data_append (i32.const 0) (i32.const 1)) (call $msg_reply))
    (func $back (param i32) (call $msg_arg_data_copy (i32.const 0) (i32.const 0) (i32.const 1))
      (call $msg_reply_data_append (i32.const 0) (i32.const 1)) (call $msg_reply))
    (func (export "canister_query y") (call $answer))
    (func (export "canister_composite_query x")
      (call $canister_self_copy (i32.const 100) (i32.const 0) (i32.const 10))
      (call $call_new (i32.const 100) (i32.const 10) (i32.const 110) (i32.const 1)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (drop (call $call_perform)))
    (data (i32.const 110) "y")"""
    canister = net.install(module(text))
    assert (net.query(canister, "y"), net.query(canister, "x")) == (Reply(b"\1"), Reply(b"\0"))
