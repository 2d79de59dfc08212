"""The system functions: all there are, who may call them, and what they say."""

import pytest

from appliance.ic.principal import Principal
from appliance.localnet.canisters.calls import Closure, Cycles, OutgoingCall
from appliance.localnet.canisters.canister import CanisterInfo, Environment, ExecutionError
from appliance.localnet.state.outcome import Rejection, Reply
from appliance.localnet.wasm.canister import WasmCanister
from appliance.localnet.wasm.execution import ContractViolation
from appliance.localnet.wasm.module import SYSTEM_FUNCTIONS
from appliance.localnet.wasm.system_api import Kind
from tests.localnet.machine import CANISTER, START
from tests.localnet.wasm.modules import ALICE, environment, module, reply

INTERFACE = """
accept_message:             -> ; F
call_cycles_add:          l -> ; U Ry Rt T
call_cycles_add128:      ll -> ; U Ry Rt T
call_data_append:        pp -> ; U CQ Ry Rt CRy CRt T
call_new:          pppppppp -> ; U CQ Ry Rt CRy CRt T
call_on_cleanup:         pp -> ; U CQ Ry Rt CRy CRt T
call_perform:               -> i ; U CQ Ry Rt CRy CRt T
call_with_best_effort_response: i -> ; U Ry Rt T
canister_cycle_balance:     -> l ; *
canister_cycle_balance128: p -> ; *
canister_liquid_cycle_balance128: p -> ; *
canister_self_copy:     ppp -> ; *
canister_self_size:         -> p ; *
canister_status:            -> i ; *
canister_version:           -> l ; *
certified_data_set:      pp -> ; I G U Ry Rt T
cost_call:              llp -> ; * s
cost_create_canister:     p -> ; * s
cost_http_request:      llp -> ; * s
cost_http_request_v2:   ppp -> ; * s
cost_sign_with_ecdsa:  ppip -> i ; * s
cost_sign_with_schnorr: ppip -> i ; * s
cost_vetkd_derive_key: ppip -> i ; * s
cycles_burn128:         llp -> ; I G U RQ Ry Rt C T
data_certificate_copy:  ppp -> ; NRQ CQ
data_certificate_present:   -> i ; *
data_certificate_size:      -> p ; NRQ CQ
debug_print:             pp -> ; * s
env_var_count:              -> p ; *
env_var_name_copy:     pppp -> ; *
env_var_name_exists:     pp -> i ; *
env_var_name_size:        p -> p ; *
env_var_value_copy:   ppppp -> ; *
env_var_value_size:      pp -> p ; *
global_timer_set:         l -> l ; I G U Ry Rt C T
in_replicated_execution:    -> i ; * s
is_controller:           pp -> i ; * s
msg_arg_data_copy:      ppp -> ; I U RQ NRQ CQ Ry CRy F
msg_arg_data_size:          -> p ; I U RQ NRQ CQ Ry CRy F
msg_caller_copy:        ppp -> ; *
msg_caller_info_data_copy: ppp -> ; *
msg_caller_info_data_size:  -> p ; *
msg_caller_info_signer_copy: ppp -> ; *
msg_caller_info_signer_size: -> p ; *
msg_caller_size:            -> p ; *
msg_cycles_accept:        l -> l ; U RQ Ry Rt
msg_cycles_accept128:   llp -> ; U RQ Ry Rt
msg_cycles_available:       -> l ; U RQ Ry Rt
msg_cycles_available128:  p -> ; U RQ Ry Rt
msg_cycles_refunded:        -> l ; Ry Rt
msg_cycles_refunded128:   p -> ; Ry Rt
msg_deadline:               -> l ; U RQ NRQ CQ Ry Rt CRy CRt
msg_method_name_copy:   ppp -> ; F
msg_method_name_size:       -> p ; F
msg_reject:              pp -> ; U RQ NRQ CQ Ry Rt CRy CRt
msg_reject_code:            -> i ; Ry Rt CRy CRt C CC
msg_reject_msg_copy:    ppp -> ; Rt CRt
msg_reject_msg_size:        -> p ; Rt CRt
msg_reply:                  -> ; U RQ NRQ CQ Ry Rt CRy CRt
msg_reply_data_append:   pp -> ; U RQ NRQ CQ Ry Rt CRy CRt
performance_counter:      i -> l ; * s
root_key_copy:          ppp -> ; I G U RQ Ry Rt C T
root_key_size:              -> p ; I G U RQ Ry Rt C T
stable64_grow:            l -> l ; * s
stable64_read:          lll -> ; * s
stable64_size:              -> l ; * s
stable64_write:         lll -> ; * s
stable_grow:              i -> i ; * s
stable_read:            iii -> ; * s
stable_size:                -> i ; * s
stable_write:           iii -> ; * s
subnet_self_copy:       ppp -> ; *
subnet_self_size:           -> p ; *
time:                       -> l ; *
trap:                    pp -> ; * s
"""
"""Of the interface specification: parameters, results, and the letters of the executions that may call it."""


def declared(name: str) -> str:
    function = SYSTEM_FUNCTIONS[name]
    letters = sorted(kind.value for kind in function.allowed)
    return f"{name}: {function.parameters} -> {function.results} ; {' '.join(letters)}"


def specified() -> list[str]:
    lines = []
    for line in INTERFACE.strip().splitlines():
        signature, letters = line.split(" ; ")
        every = {kind.value for kind in Kind}
        known = {"*": every - {"s"}, "* s": every}.get(letters, set(letters.split()))
        name, types = signature.split(":")
        parameters, results = types.split("->")
        lines.append(f"{name}: {parameters.strip()} -> {results.strip()} ; {' '.join(sorted(known))}")
    return lines


def test_the_functions_are_those_of_the_specification() -> None:
    assert [declared(name) for name in sorted(SYSTEM_FUNCTIONS)] == specified()


ZEROS = {"i": "(i32.const 0)", "p": "(i32.const 0)", "l": "(i64.const 0)"}
CALLBACK = Closure(0, 0)
CALL = OutgoingCall(CANISTER, "x", b"", CALLBACK, CALLBACK, CALLBACK)


def calling(name: str) -> str:
    function = SYSTEM_FUNCTIONS[name]
    call = f"(call ${name} {' '.join(ZEROS[letter] for letter in function.parameters)})"
    return f"(func $f {f'(drop {call})' if function.results else call})"


ENTRIES = """(func $g (param i32) (call $f)) (table funcref (elem $g))
(func (export "canister_init") (if (call $msg_arg_data_size) (then (call $f))))
(export "canister_pre_upgrade" (func $f)) (export "canister_post_upgrade" (func $f))
(export "canister_inspect_message" (func $f)) (export "canister_global_timer" (func $f))
(export "canister_heartbeat" (func $f)) (export "canister_update x" (func $f))
(export "canister_query q" (func $f)) (export "canister_composite_query c" (func $f))"""


def executed(canister: WasmCanister, kind: Kind) -> None:
    env = environment()
    if kind in (Kind.QUERY, Kind.COMPOSITE):
        env.certificate = lambda: b"certificate"
    query = canister.open_query()
    query._state = canister.state
    rejection = Rejection(4, "no", "IC0406")
    empty = WasmCanister(module(""))
    empty.install(b"", environment())
    runs = {
        Kind.INIT: lambda: canister.install(b"x", env),
        Kind.PRE_UPGRADE: lambda: canister.upgrade(module(""), b"", env),
        Kind.UPDATE: lambda: canister.update("x", b"", env),
        Kind.REPLICATED_QUERY: lambda: canister.update("q", b"", env),
        Kind.QUERY: lambda: query.start("q", b"", env),
        Kind.COMPOSITE: lambda: query.start("c", b"", env),
        Kind.REPLY: lambda: canister.on_response(CALL, Reply(b""), env),
        Kind.REJECT: lambda: canister.on_response(CALL, rejection, env),
        Kind.CLEANUP: lambda: canister.clean_up(CALLBACK, env),
        Kind.COMPOSITE_REPLY: lambda: query.on_response(CALL, Reply(b""), env),
        Kind.COMPOSITE_REJECT: lambda: query.on_response(CALL, rejection, env),
        Kind.COMPOSITE_CLEANUP: lambda: query.clean_up(CALLBACK, env),
        Kind.INSPECT: lambda: canister.inspect("x", b"", env),
        Kind.TASK: lambda: canister.on_timer(env),
    }
    runs[kind]()


def refusal(name: str, kind: Kind) -> str:
    """What is said where the function is called in such an execution; nothing where it may be called."""
    body = calling(name) + (ENTRIES if kind is not Kind.START else "(start $f)")
    canister = WasmCanister(module(body))
    try:
        canister.install(b"", environment())
        if kind is not Kind.START:
            executed(canister, kind)
    except ContractViolation as error:
        return str(error) if " cannot be called in " in str(error) else ""
    except ExecutionError:
        pass
    return ""


@pytest.mark.parametrize("name", sorted(SYSTEM_FUNCTIONS))
def test_a_function_is_refused_in_all_other_executions(name: str) -> None:
    refused = {kind: refusal(name, kind) for kind in Kind}
    allowed = SYSTEM_FUNCTIONS[name].allowed
    expected = {kind: "" if kind in allowed else f"ic0.{name} cannot be called in {kind.title}" for kind in Kind}
    assert refused == expected


# --- what they say ---


def said(body: str, env: Environment, *, method: str = "update", arg: bytes = b"") -> bytes:
    """What an execution replies that puts it at 0 and its length on the stack."""
    text = f'(func $body (result i32) {body}) (func (export "canister_{method} x")'
    text += "(call $msg_reply_data_append (i32.const 0) (call $body)) (call $msg_reply))"
    text += '(data (i32.const 500) "COLOURPLACE")'
    canister = WasmCanister(module(text))
    canister.install(b"", environment())
    if method == "update":
        canister.update("x", arg, env)
    else:
        canister.open_query().start("x", arg, env)
    return reply(env)


def copied(name: str) -> str:
    size = f"(call ${name}_size)"
    return f"(call ${name}_copy (i32.const 0) (i32.const 0) {size}) {size}"


INFO = CanisterInfo(
    controllers=frozenset({ALICE}),
    version=2**40,
    status="stopping",
    subnet_id=b"subnet",
    root_key=b"root key",
    variables={"PLACE": "here", "COLOUR": "red"},
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("msg_arg_data", b"argument"),
        ("msg_caller", ALICE),
        ("canister_self", CANISTER),
        ("subnet_self", b"subnet"),
        ("root_key", b"root key"),
        ("msg_caller_info_data", b""),
        ("msg_caller_info_signer", b""),
    ],
)
def test_bytes_are_copied(name: str, expected: bytes) -> None:
    env = environment()
    env.info = INFO
    assert said(copied(name), env, arg=b"argument") == expected


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("(i64.extend_i32_u (call $canister_status))", 2),
        ("(call $canister_version)", 2**40),
        ("(call $time)", START),
        ("(call $global_timer_set (i64.const 9))", 4),
        ("(call $msg_deadline)", 0),
        ("(call $msg_cycles_available)", 50),
        ("(call $msg_cycles_accept (i64.const 60))", 50),
        ("(call $canister_cycle_balance)", 700),
        ("(i64.extend_i32_u (call $in_replicated_execution))", 1),
        ("(i64.extend_i32_u (call $data_certificate_present))", 0),
        ("(i64.extend_i32_u (call $env_var_count))", 2),
        ("(i64.extend_i32_u (call $env_var_name_size (i32.const 1)))", 5),
        ("(i64.extend_i32_u (call $env_var_name_exists (i32.const 500) (i32.const 6)))", 1),
        ("(i64.extend_i32_u (call $env_var_name_exists (i32.const 500) (i32.const 5)))", 0),
        ("(i64.extend_i32_u (call $env_var_value_size (i32.const 506) (i32.const 5)))", 4),
        ("(i64.extend_i32_u (call $stable_grow (i32.const 2)))", 0),
        ("(i64.extend_i32_u (call $stable_grow (i32.const 65537)))", 2**32 - 1),
        ("(i64.extend_i32_u (call $cost_sign_with_ecdsa (i32.const 0)(i32.const 0)(i32.const 0)(i32.const 0)))", 2),
    ],
)
def test_numbers_are_returned(call: str, expected: int) -> None:
    env = Environment(CANISTER, ALICE, START, 4, info=INFO, cycles=Cycles(700, 50))
    assert said(f"(i64.store (i32.const 0) {call}) (i32.const 8)", env) == expected.to_bytes(8, "little")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("(call $msg_cycles_available128 (i32.const 0))", 2**70),
        ("(call $canister_cycle_balance128 (i32.const 0))", 2**80),
        ("(call $canister_liquid_cycle_balance128 (i32.const 0))", 2**80),
        ("(call $msg_cycles_accept128 (i64.const 64) (i64.const 1) (i32.const 0))", 2**70),
        ("(call $msg_cycles_accept128 (i64.const 1) (i64.const 5) (i32.const 0))", 2**64 + 5),
        ("(call $cycles_burn128 (i64.const -1) (i64.const 5) (i32.const 0))", 2**80),
        ("(call $cost_call (i64.const 1) (i64.const 5) (i32.const 0))", 0),
    ],
)
def test_cycles_have_128_bits(call: str, expected: int) -> None:
    env = Environment(CANISTER, ALICE, START, cycles=Cycles(2**80, 2**70))
    assert said(f"{call} (i32.const 16)", env) == expected.to_bytes(16, "little")


def test_cycles_move_only_as_far_as_they_reach() -> None:
    cycles = Cycles(10, 5)
    assert (cycles.accept(3), cycles.accept(3), cycles.balance, cycles.available) == (3, 2, 15, 0)
    assert (cycles.burn(20), cycles.balance) == (15, 0)
    with pytest.raises(ContractViolation, match="do not fit into 64 bits"):
        said(
            "(drop (call $canister_cycle_balance)) (i32.const 0)", Environment(CANISTER, ALICE, 1, cycles=Cycles(2**64))
        )


def test_environment_variables_are_read() -> None:
    env = environment()
    env.info = INFO
    copy = "(call $env_var_value_copy (i32.const 500) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 3))"
    assert said(f"{copy} (i32.const 3)", env) == b"red"
    env = environment()
    env.info = INFO
    assert said(
        "(call $env_var_name_copy (i32.const 0) (i32.const 0) (i32.const 2) (i32.const 4)) (i32.const 4)", env
    ) == (b"LOUR")
    for absent in ("$env_var_value_size (i32.const 500) (i32.const 2)", "$env_var_name_size (i32.const 9)"):
        with pytest.raises(ContractViolation, match="there is no environment variable"):
            said(f"(call {absent})", environment())


def test_controllers_are_known() -> None:
    size = "(call $msg_caller_size)"
    body = f"(call $msg_caller_copy (i32.const 0) (i32.const 0) {size}) (call $is_controller (i32.const 0) {size})"
    env = environment()
    env.info = INFO
    assert said(body, env) == b"a"
    env = environment(Principal(b"bob"))
    env.info = INFO
    assert said(body, env) == b""


def test_a_query_gets_the_certificate() -> None:
    env = environment()
    env.certificate = lambda: b"certificate"
    assert said(copied("data_certificate"), env, method="query") == b"certificate"
    env = environment()
    with pytest.raises(ContractViolation, match="no data certificate"):
        said("(call $data_certificate_size)", env, method="query")


def test_what_is_printed_goes_into_the_journal() -> None:
    env, lines = environment(), []
    env.on_print = lines.append
    said("(call $debug_print (i32.const 500) (i32.const 6)) (i32.const 0)", env)
    assert lines == ["COLOUR"]


NEW = "(call $call_new (i32.const 0) (i32.const {}) (i32.const 500) (i32.const {}) {zeros})"


def new(principal: int = 10, name: int = 6) -> str:
    zeros = "(i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)"
    return NEW.format(principal, name, zeros=zeros)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (new(30), "a principal of 30 bytes, at most 29 are allowed"),
        (new(name=20001), "a method name of 20001 bytes, at most 20000 are allowed"),
        ("(call $call_on_cleanup (i32.const 0) (i32.const 0))", "without ic0.call_new before it"),
        (new() + 2 * "(call $call_on_cleanup (i32.const 0) (i32.const 0))", "was called before for this call"),
        (new() + "(call $call_data_append (i32.const 0) (i32.const 10485761))", "cannot be larger than 10485760"),
        (new() + "(call $call_cycles_add (i64.const 1))", "1 cycles are more than the balance of 0"),
        ("(call $msg_reply_data_append (i32.const 0) (i32.const 2097153))", "cannot be larger than 2097152"),
    ],
)
def test_a_call_that_cannot_be_made_is_a_violation(body: str, problem: str) -> None:
    with pytest.raises(ContractViolation, match=problem):
        said(f"{body} (i32.const 0)", environment())


def test_a_call_that_is_not_performed_is_not_made_and_costs_nothing() -> None:
    env = Environment(CANISTER, ALICE, START, cycles=Cycles(100))
    said(f"{new()} (call $call_cycles_add (i64.const 60)) {new(9)} (drop (call $call_perform)) (i32.const 0)", env)
    (call,) = env.calls
    assert (call.cycles, env.cycles.balance, len(call.callee), call.method) == (0, 100, 9, "COLOUR")
    env = Environment(CANISTER, ALICE, START, cycles=Cycles(100))
    said(f"{new()} (call $call_cycles_add (i64.const 60)) (i32.const 0)", env)
    assert (env.calls, env.cycles.balance) == ([], 100)


def test_too_many_calls_are_refused_by_a_number() -> None:
    body = f"""(local $n i32) (loop $more {new()} (i32.store (i32.const 0) (call $call_perform))
      (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 501)))) (i32.const 4)"""
    env = environment()
    assert said(body, env) == (2).to_bytes(4, "little")
    assert len(env.calls) == 500
