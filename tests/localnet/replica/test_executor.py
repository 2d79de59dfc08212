"""Calls between canisters, on modules of Wasm that make them."""

import pytest

from appliance.localnet.state.outcome import Outcome, Rejection, Reply
from tests.localnet.wasm.modules import ALICE, RELAY, module
from tests.localnet.wasm.net import Net

RELAY_MODULE = module(RELAY)
ABSENT = b"\0\0\0\0\0\0\0\x4d\1\1"


@pytest.fixture
def net() -> Net:
    return Net()


def counted(net: Net, canister: bytes) -> tuple[int, int]:
    outcome = net.query(canister, "read")  # type: ignore[arg-type]
    assert isinstance(outcome, Reply)
    return int.from_bytes(outcome.arg[:8], "little") - 1, int.from_bytes(outcome.arg[8:], "little")


def problem(canister: object, text: str, code: str = "IC0503") -> Rejection:
    if code == "IC0503":
        text = f"Canister called `ic0.trap` with message: '{text}'"
    return Rejection(5, f"Error from Canister {canister}: {text}", code)


def test_a_call_is_answered_from_the_callback(net: Net) -> None:
    first, second = net.install(RELAY_MODULE), net.install(RELAY_MODULE)
    assert net.call(first, "relay", second + b"echo") == Reply(b"7hello")
    assert counted(net, first) == (2, 0)
    assert counted(net, second) == (1, 0)


def test_a_canister_calls_itself(net: Net) -> None:
    canister = net.install(RELAY_MODULE)
    assert net.call(canister, "relay", canister + b"echo") == Reply(b"7hello")
    assert counted(net, canister) == (3, 0)


def test_a_query_method_is_called_and_leaves_no_trace(net: Net) -> None:
    first, second = net.install(RELAY_MODULE), net.install(RELAY_MODULE)
    for _ in range(2):
        assert net.call(first, "relay", second + b"read") == Reply(b"7" + bytes([1]) + bytes(15))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (b"refuse", "4hello"),
        (b"fail", "5Error from Canister {}: Canister called `ic0.trap` with message: 'oops'"),
        (b"silent", "5Error from Canister {}: Canister did not reply to the call"),
        (b"missing", "5Error from Canister {}: Canister has no update method 'missing'"),
        (b"ask", "5Error from Canister {}: Canister has no update method 'ask'"),
    ],
)
def test_a_rejection_is_told_to_the_reject_callback(net: Net, method: bytes, expected: str) -> None:
    first, second = net.install(RELAY_MODULE), net.install(RELAY_MODULE)
    assert net.call(first, "relay", second + method) == Reply(expected.format(second).encode())
    assert counted(net, first) == (2, 0)
    assert counted(net, second)[0] == (method in (b"refuse", b"silent")), "what was done is kept, but for traps"


def test_a_canister_that_is_not_there_is_a_rejection(net: Net) -> None:
    outcome = net.call(net.install(RELAY_MODULE), "relay", ABSENT + b"echo")
    assert isinstance(outcome, Reply)
    assert outcome.arg.startswith(b"3Canister ")
    assert outcome.arg.endswith(b" not found")


def test_a_management_canister_that_nobody_fills_has_no_methods(net: Net) -> None:
    canister = net.install(module(RELAY.replace("(i32.const 1000) (i32.const 10)", "(i32.const 1000) (i32.const 0)")))
    outcome = net.call(canister, "relay", bytes(10) + b"raw_rand")
    assert outcome == Reply(b"3Management canister has no method 'raw_rand'")


def test_a_callback_that_traps_is_rolled_back_and_cleaned_up(net: Net) -> None:
    first, second = net.install(RELAY_MODULE), net.install(RELAY_MODULE)
    assert net.call(first, "relay and trap", second + b"echo") == problem(first, "oops")
    assert counted(net, first) == (1, 9), "the first execution and the cleanup stay"
    assert counted(net, second) == (1, 0)


def test_a_cleanup_that_traps_leaves_no_trace(net: Net) -> None:
    sets_and_traps = "(drop (call $global_timer_set (i64.const 0x7fffffffffffffff))) (call $trap_now (i32.const 0))"
    head = "(func $on_cleanup (param $env i32) "
    first, second = net.install(module(RELAY.replace(head, head + sets_and_traps))), net.install(RELAY_MODULE)
    assert net.call(first, "relay and trap", second + b"echo") == problem(first, "oops")
    assert counted(net, first) == (1, 0), "the first execution stays"
    assert net.replica.canisters[first].timer_ns == 0


def test_calls_of_an_execution_that_traps_are_not_made(net: Net) -> None:
    first, second = net.install(RELAY_MODULE), net.install(RELAY_MODULE)
    assert net.call(first, "trap after calling", second + b"echo") == problem(first, "oops")
    assert (counted(net, first), counted(net, second)) == ((0, 0), (0, 0))


def test_a_one_way_call_is_made_and_its_answer_told_to_nobody(net: Net) -> None:
    first, second = net.install(RELAY_MODULE), net.install(RELAY_MODULE)
    for method in (b"echo", b"fail"):
        assert net.call(first, "notify", second + method) == Reply(b"hello")
        assert not net.replica.canisters[first].contexts
    assert counted(net, second) == (1, 0)


def test_an_answer_is_given_once(net: Net) -> None:
    first, second = net.install(RELAY_MODULE), net.install(RELAY_MODULE)
    assert net.call(first, "reply and call", second + b"echo") == Reply(b"hello")
    assert counted(net, first) == (0, 0), "the callback replied once more, which is a trap"
    assert "already replied" in net.replica.canisters[first].log[-1].text


def test_who_does_not_answer_is_said_not_to(net: Net) -> None:
    canister = net.install(RELAY_MODULE)
    assert net.call(canister, "silent") == problem(canister, "Canister did not reply to the call", "IC0506")


def test_cycles_that_have_gone_back_cannot_be_accepted_any_more(net: Net) -> None:
    late = module(
        """
        (table funcref (elem $late))
        (func $late (param $env i32) (call $msg_cycles_accept128 (i64.const 0) (i64.const 300) (i32.const 0)))
        (func (export "canister_update reply and call") (call $msg_reply)
          (call $msg_caller_copy (i32.const 0) (i32.const 0) (call $msg_caller_size))
          (call $call_new (i32.const 0) (call $msg_caller_size) (i32.const 100) (i32.const 4)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
          (drop (call $call_perform)))
        (data (i32.const 100) "read")
        """
    )
    first, second = net.install(RELAY_MODULE), net.install(late)
    before = net.replica.canisters[first].cycles
    assert net.call(first, "pay", second + b"reply and call") == Reply(b"7")
    assert [net.replica.canisters[canister].cycles for canister in (first, second)] == [before, before]


def test_cycles_that_are_not_accepted_come_back(net: Net) -> None:
    first, second = net.install(RELAY_MODULE), net.install(RELAY_MODULE)
    before = net.replica.canisters[first].cycles
    assert net.call(first, "pay", second + b"earn") == Reply(b"7" + (300).to_bytes(2, "little"))
    assert net.replica.canisters[first].cycles == before - 300
    assert net.replica.canisters[second].cycles == before + 300
    net.call(first, "pay", second + b"fail")
    assert net.replica.canisters[first].cycles == before - 300


def test_messages_are_executed_in_the_order_they_came(net: Net) -> None:
    first, second = net.install(RELAY_MODULE), net.install(RELAY_MODULE)
    calls = [net.submit(first, "relay", second + b"read") for _ in range(3)]
    calls.insert(1, net.submit(second, "echo", b"between"))
    net.run()
    assert [net.outcome(call) for call in calls] == [
        *(Reply(b"7" + n.to_bytes(8, "little") + bytes(8)) for n in (2,)),
        Reply(b"between"),
        *(Reply(b"7" + n.to_bytes(8, "little") + bytes(8)) for n in (2, 2)),
    ], "calls of canisters wait behind those that users had sent before"


def test_a_stopping_canister_finishes_and_takes_nothing_new(net: Net) -> None:
    first, second = net.install(RELAY_MODULE), net.install(RELAY_MODULE)
    told: list[bool] = []
    call = net.submit(first, "relay", second + b"echo")
    net.replica.executor.execute()
    net.replica.stop_canister(first, told.append)
    assert (told, net.replica.canisters[first].status) == ([], "stopping")
    late = net.submit(first, "echo")
    net.run()
    assert net.outcome(call) == Reply(b"7hello")
    assert net.outcome(late) == Rejection(5, f"Canister {first} is stopping", "IC0509")
    assert (told, net.replica.canisters[first].status) == ([True], "stopped")
    assert net.call(first, "echo") == Rejection(5, f"Canister {first} is stopped", "IC0508")
    assert net.query(first, "read") == Rejection(5, f"Canister {first} is stopped", "IC0508")
    net.replica.stop_canister(first, told.append)
    assert told == [True, True]
    net.replica.start_canister(first)
    assert net.call(first, "echo", b"again") == Reply(b"again")


def test_a_start_ends_the_wait_for_the_stop(net: Net) -> None:
    first, second = net.install(RELAY_MODULE), net.install(RELAY_MODULE)
    told: list[bool] = []
    net.submit(first, "relay", second + b"echo")
    net.replica.executor.execute()
    net.replica.stop_canister(first, told.append)
    net.replica.start_canister(first)
    net.run()
    assert (told, net.replica.canisters[first].status) == ([False], "running")


def gone(net: Net, how: str) -> tuple[Outcome, list[bool]]:
    first, second = net.install(RELAY_MODULE), net.install(RELAY_MODULE)
    told: list[bool] = []
    call = net.submit(first, "relay", second + b"echo")
    net.replica.executor.execute()
    net.replica.stop_canister(first, told.append)
    if how == "reinstalled":
        net.replica.reinstall_canister(first, net.replica.canisters[second].canister)  # type: ignore[arg-type]
    elif how == "uninstalled":
        net.replica.uninstall_canister(first)
    else:
        net.replica.delete_canister(first)
    net.run()
    return net.outcome(call), told


@pytest.mark.parametrize("how", ["reinstalled", "uninstalled", "deleted"])
def test_calls_of_a_canister_whose_code_is_gone_are_refused(net: Net, how: str) -> None:
    said = "uninstalled" if how == "deleted" else how
    assert gone(net, how) == (Rejection(4, f"Canister has been {said}", "IC0406"), [True])


def test_an_empty_canister_says_so(net: Net) -> None:
    canister = net.replica.create_canister()
    outcome = net.call(canister, "echo")
    assert isinstance(outcome, Rejection)
    assert outcome.error_code == "IC0537"
    assert outcome.message.endswith("the canister contains no Wasm module.")


class Managed:
    """Answers later, and takes all cycles."""

    def __init__(self) -> None:
        self.waiting = []  # type: ignore[var-annotated]

    def execute(self, context, method, arg, answer) -> None:  # type: ignore[no-untyped-def]
        context.cycles_available = 0
        self.waiting.append((context.caller, method, arg, answer))


def test_the_management_canister_may_answer_later(net: Net) -> None:
    management = net.replica.executor.management = Managed()
    text = RELAY.replace("(i32.const 1000) (i32.const 10)", "(i32.const 1000) (i32.const 0)")
    canister = net.install(module(text))
    before = net.replica.canisters[canister].cycles
    call = net.submit(canister, "pay", bytes(10) + b"raw_rand")
    net.run()
    ((caller, method, arg, answer),) = management.waiting
    assert (caller, method, arg, call.status) == (canister, "raw_rand", b"hello", "processing")
    answer(Reply(b"random"))
    net.run()
    assert net.outcome(call) == Reply(b"7random")
    assert net.replica.canisters[canister].cycles == before - 1000


def test_a_user_can_call_the_management_canister_too(net: Net) -> None:
    management = net.replica.executor.management = Managed()
    call = net.submit(b"", "create_canister")  # type: ignore[arg-type]
    net.run()
    management.waiting[0][3](Rejection(4, "no", "IC0406"))
    assert net.outcome(call) == Rejection(4, "no", "IC0406")
    assert management.waiting[0][0] == ALICE
