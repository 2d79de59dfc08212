"""What one canister does in its executions, and what of it stays."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from appliance.localnet.canisters.canister import Actor, ExecutionError, MethodNotFound, Trap
from appliance.localnet.state.outcome import Rejection
from appliance.localnet.wasm import execution
from appliance.localnet.wasm.canister import WasmCanister
from appliance.localnet.wasm.execution import ContractViolation, InstructionLimit, WasmTrap
from appliance.localnet.wasm.state import OutOfBounds
from appliance.localnet.wasm.system_api import LIMITS
from tests.localnet.wasm.modules import COUNTER, environment, module, reply


def installed(body: str, *, pointer: str = "i32", arg: bytes = b"") -> WasmCanister:
    canister = WasmCanister(module(body, pointer=pointer))
    canister.install(arg, environment())
    return canister


def update(canister: WasmCanister, method: str, arg: bytes = b"") -> bytes:
    env = environment()
    assert canister.update(method, arg, env) is None
    return reply(env)


def numbers(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8))


def test_it_is_an_actor() -> None:
    assert isinstance(WasmCanister(module("")), Actor)


def test_memory_and_globals_are_kept_from_update_to_update() -> None:
    canister = installed(COUNTER)
    assert [numbers(update(canister, "add")) for _ in range(3)] == [(1, 1), (2, 2), (3, 3)]


def test_a_query_leaves_no_trace_whoever_calls_it() -> None:
    canister = installed(COUNTER)
    update(canister, "add")
    for _ in range(2):
        assert numbers(canister.query("peek", b"", environment())) == (2, 2)
        assert numbers(update(canister, "peek")) == (2, 2)


def test_a_trap_leaves_no_trace() -> None:
    canister = installed(COUNTER)
    update(canister, "add")
    size = canister.memory_sizes
    with pytest.raises(Trap, match="oops") as raised:
        canister.update("add and trap", b"", environment())
    assert raised.value.sentence == "Canister called `ic0.trap` with message: 'oops'"
    assert numbers(update(canister, "add")) == (2, 2)
    assert canister.memory_sizes == size


def test_a_reinstalled_canister_begins_anew() -> None:
    canister = installed(COUNTER)
    update(canister, "add")
    canister.install(b"", environment())
    assert numbers(update(canister, "add")) == (1, 1)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("unreachable", "Canister trapped: unreachable"),
        ("(drop (i32.load (i32.const -4)))", "Canister trapped: heap out of bounds"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "Canister trapped: integer division by 0"),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", "Canister trapped: bad conversion to integer"),
        ("(call_indirect (i32.const 5))", "Canister trapped: table out of bounds"),
        ("(call_indirect (i32.const 1))", "Canister trapped: null function call"),
        (
            "(call_indirect (param i32) (i32.const 1) (i32.const 0))",
            "Canister trapped: function does not match its signature",
        ),
        ("(call $deep)", "Canister trapped: stack overflow"),
        ("(call $msg_reply_data_append (i32.const -1) (i32.const 8))", "Canister trapped: heap out of bounds"),
        (
            "(call $msg_arg_data_copy (i32.const -1) (i32.const 0) (i32.const 1))",
            "Canister trapped: heap out of bounds",
        ),
        (
            "(call $msg_arg_data_copy (i32.const 0) (i32.const 1) (i32.const 9))",
            "Canister violated contract: 1 + 9 is outside the 3 bytes that there are",
        ),
        ("(call $msg_reply) (call $msg_reply)", "Canister violated contract: the call is already replied or rejected"),
        (
            "(drop (call $performance_counter (i32.const 2)))",
            "Canister violated contract: ic0.performance_counter: there is no counter 2",
        ),
        (
            "(call $certified_data_set (i32.const 0) (i32.const 33))",
            "Canister violated contract: ic0.certified_data_set: 33 bytes, at most 32 are allowed",
        ),
        (
            "(drop (call $call_perform))",
            "Canister violated contract: ic0.call_perform was called without ic0.call_new before it",
        ),
        (
            "(call $msg_reject (i32.const 100) (i32.const 1))",
            "Canister violated contract: a text is not UTF-8",
        ),
    ],
)
def test_every_fault_has_its_sentence(body: str, sentence: str) -> None:
    text = f"""(table 2 funcref) (elem (i32.const 0) $deep) (func $deep (call $deep))
    (data (i32.const 100) "\\ff") (func (export "canister_update x") {body})"""
    canister = installed(text)
    with pytest.raises(ExecutionError) as raised:
        canister.update("x", b"arg", environment())
    assert raised.value.sentence == sentence


def test_a_method_that_is_not_exported_is_not_found() -> None:
    canister = installed(COUNTER)
    for kind, run in (("update", canister.update), ("query", canister.query)):
        with pytest.raises(MethodNotFound, match=f"Canister has no {kind} method 'x'"):
            run("x", b"", environment())
    with pytest.raises(MethodNotFound):
        canister.query("add", b"", environment())


def test_a_query_without_a_reply_raises() -> None:
    body = '(func (export "canister_query {}") {})'
    canister = installed(
        body.format("silent", "") + body.format("refuse", "(call $msg_reject (i32.const 0) (i32.const 0))")
    )
    with pytest.raises(ExecutionError, match="did not reply"):
        canister.query("silent", b"", environment())
    with pytest.raises(ExecutionError, match=r"^$"):
        canister.query("refuse", b"", environment())


LOOP = '(func (export "canister_{}") (loop $again (br $again)))'


@pytest.mark.parametrize("kind", ["update x", "query x", "init"])
def test_an_endless_loop_ends(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "LIMITS", dict.fromkeys(LIMITS, 1000))
    canister = WasmCanister(module(LOOP.format(kind)))
    run: dict[str, Callable[[], object]] = {
        "update x": lambda: canister.update("x", b"", environment()),
        "query x": lambda: canister.query("x", b"", environment()),
        "init": lambda: canister.install(b"", environment()),
    }
    with pytest.raises(InstructionLimit) as raised:
        run[kind]()
    assert raised.value.sentence == ("Canister exceeded the limit of 1000 instructions for single message execution.")


def test_instructions_are_counted() -> None:
    body = """(func (export "canister_update x")
      (i64.store (i32.const 0) (call $performance_counter (i32.const 0)))
      (i64.store (i32.const 8) (call $performance_counter (i32.const 0)))
      (i64.store (i32.const 16) (call $performance_counter (i32.const 1)))
      (call $msg_reply_data_append (i32.const 0) (i32.const 24)) (call $msg_reply))"""
    env = environment()
    env.instructions = 10**6
    installed(body).update("x", b"", env)
    first, second, both = numbers(reply(env))
    assert 0 < first < second < both - 10**6
    assert env.instructions > both


# --- upgrades ---

HOOKS = r"""
(func $mark (param $at i32) (param $what i32)
  (if (i64.eqz (call $stable64_size)) (then (drop (call $stable64_grow (i64.const 1)))))
  (i32.store8 (i32.const 0) (local.get $what))
  (call $stable64_write (i64.extend_i32_u (local.get $at)) (i64.const 0) (i64.const 1)))
(func $begin (i32.store8 (i32.const 50) (i32.const 83)))
(start $begin)
(func (export "canister_init") (call $mark (i32.const 0) (i32.const 73)))
(func (export "canister_pre_upgrade") (call $mark (i32.const 1) (i32.const 71)))
(func (export "canister_post_upgrade")
  (call $mark (i32.const 2) (i32.const 80)) (call $mark (i32.const 3) (i32.load8_u (i32.const 50)))
  (if (call $msg_arg_data_size) (then (call $trap (i32.const 0) (i32.const 0)))))
(func (export "canister_query marks") (call $stable64_read (i64.const 0) (i64.const 0) (i64.const 4))
  (call $msg_reply_data_append (i32.const 0) (i32.const 4)) (call $msg_reply))
(func (export "canister_update timer") (drop (call $global_timer_set (i64.const 77))) (call $msg_reply))
"""


def marks(canister: WasmCanister) -> bytes:
    return canister.query("marks", b"", environment())


def test_an_upgrade_runs_its_hooks_in_order_and_keeps_stable_memory() -> None:
    canister = installed(HOOKS)
    assert marks(canister) == b"I\0\0\0"
    env = environment()
    env.set_timer(5)
    canister.upgrade(module(HOOKS), b"", env)
    assert marks(canister) == b"IGPS"
    assert env.timer_ns == 0, "timers do not outlive an upgrade"


def test_the_hook_before_an_upgrade_finds_the_globals_as_they_were_left() -> None:
    body = rf"""{COUNTER}
    (func (export "canister_pre_upgrade")
      (drop (call $stable64_grow (i64.const 1)))
      (i64.store (i32.const 8) (global.get $calls))
      (call $stable64_write (i64.const 0) (i64.const 8) (i64.const 8)))
    (func (export "canister_query kept")
      (call $stable64_read (i64.const 0) (i64.const 0) (i64.const 8))
      (call $msg_reply_data_append (i32.const 0) (i32.const 8)) (call $msg_reply))
    """
    canister = installed(body)
    for _ in range(3):
        update(canister, "add")
    canister.upgrade(module(body), b"", environment())
    assert numbers(canister.query("kept", b"", environment())) == (3,)


def test_a_read_that_the_main_memory_cannot_take_is_a_trap_before_anything_is_read() -> None:
    """Stable memory may have 500 GiB of nothing, which must not come into the memory of this process."""
    canister = installed(r"""
    (func (export "canister_update far")
      (drop (call $stable64_grow (i64.const 8000000)))
      (call $stable64_read (i64.const 0) (i64.const 0) (i64.const 500000000000)))
    """)
    with pytest.raises(OutOfBounds, match="heap out of bounds"):
        update(canister, "far")


def test_a_hook_can_be_skipped() -> None:
    canister = installed(HOOKS)
    canister.upgrade(module(HOOKS), b"", environment(), skip_pre_upgrade=True)
    assert marks(canister) == b"I\0PS"


def test_an_upgrade_that_fails_changes_nothing() -> None:
    canister = installed(HOOKS)
    before = canister.module_hash
    with pytest.raises(Trap):
        canister.upgrade(module(HOOKS + "(func)"), b"fail", environment())
    assert (marks(canister), canister.module_hash) == (b"I\0\0\0", before)
    with pytest.raises(ExecutionError, match="header is missing"):
        canister.upgrade(b"no module", b"", environment())
    assert marks(canister) == b"I\0\0\0"


def test_main_memory_is_lost_in_an_upgrade_unless_it_is_to_be_kept() -> None:
    canister = installed(COUNTER)
    update(canister, "add")
    canister.upgrade(module(COUNTER), b"", environment())
    assert numbers(update(canister, "add")) == (1, 1)
    with pytest.raises(WasmTrap, match="enhanced orthogonal persistence only"):
        canister.upgrade(module(COUNTER), b"", environment(), keep_memory=True)


def test_a_module_that_keeps_its_memory_is_upgraded_only_when_that_is_said() -> None:
    name = b"icp:private enhanced-orthogonal-persistence"
    section = bytes([0, len(name) + 1, len(name)]) + name
    code = module(COUNTER, pages=1) + section
    larger = module(COUNTER, pages=5) + section
    canister = WasmCanister(code)
    canister.install(b"", environment())
    update(canister, "add")
    with pytest.raises(WasmTrap, match="Missing upgrade option"):
        canister.upgrade(code, b"", environment())
    canister.upgrade(larger, b"", environment(), keep_memory=True)
    assert numbers(update(canister, "add")) == (2, 1), "globals begin anew"
    assert canister.state.memory.size == 5 * 65536
    canister.upgrade(code, b"", environment(), keep_memory=False)
    assert numbers(update(canister, "add")) == (1, 1)


# --- other entry points ---


def test_who_inspects_messages_lets_in_what_it_accepts() -> None:
    body = """(func (export "canister_inspect_message")
      (call $msg_method_name_copy (i32.const 0) (i32.const 0) (i32.const 1))
      (if (i32.eq (i32.load8_u (i32.const 0)) (i32.const 97)) (then (call $accept_message)))
      (if (i32.eq (i32.load8_u (i32.const 0)) (i32.const 98)) (then (call $accept_message) (call $accept_message))))"""
    canister = installed(body)
    assert canister.inspect("all", b"", environment())
    assert not canister.inspect("none", b"", environment())
    with pytest.raises(ContractViolation, match="already accepted"):
        canister.inspect("both", b"", environment())
    assert installed(COUNTER).inspect("add", b"", environment())


def test_timers_and_heartbeats_run_where_they_are_exported() -> None:
    body = '(func (export "canister_{}") (drop (call $global_timer_set (i64.const {}))))'
    canister = installed(body.format("global_timer", 5) + body.format("heartbeat", 6))
    for run, due in ((canister.on_timer, 5), (canister.on_heartbeat, 6)):
        env = environment()
        run(env)
        assert env.timer_ns == due
    assert canister.has_heartbeat
    plain = installed(COUNTER)
    plain.on_timer(environment())
    plain.on_heartbeat(environment())
    assert not plain.has_heartbeat


def test_a_module_with_pointers_of_64_bits_runs() -> None:
    body = """(global $n (mut i64) (i64.const 0))
      (func (export "canister_update grow")
        (drop (memory.grow (i64.const 3))) (global.set $n (i64.add (global.get $n) (i64.const 1)))
        (i64.store (i64.const 200000) (global.get $n))
        (call $msg_arg_data_copy (i64.const 200008) (i64.const 0) (call $msg_arg_data_size))
        (call $msg_reply_data_append (i64.const 200000) (i64.add (call $msg_arg_data_size) (i64.const 8)))
        (call $msg_reply))
      (func (export "canister_query beyond") (call $msg_reply_data_append (i64.const -1) (i64.const 2)))"""
    canister = installed(body, pointer="i64")
    assert update(canister, "grow", b"abc") == b"\1" + bytes(7) + b"abc"
    assert update(canister, "grow", b"") == b"\2" + bytes(7)
    assert canister.state.memory.size == 8 * 65536
    with pytest.raises(ExecutionError, match="heap out of bounds"):
        canister.query("beyond", b"", environment())


def test_a_module_without_memory_runs() -> None:
    code = bytes(
        wasmtime.wat2wasm(
            '(module (import "ic0" "msg_reply" (func $reply)) (func (export "canister_update x") (call $reply)))'
        )
    )
    canister = WasmCanister(code)
    canister.install(b"", environment())
    assert update(canister, "x") == b""


def test_a_data_segment_that_does_not_fit_is_a_fault_of_the_installation() -> None:
    canister = WasmCanister(module('(data (i32.const 200000) "x")'))
    with pytest.raises(WasmTrap, match="out of bounds"):
        canister.install(b"", environment())


def test_an_export_that_a_module_has_for_itself_is_no_obstacle() -> None:
    text = """(module (memory (export "mem") 1) (global (export "g") i32 (i32.const 1))
      (func (export "f") (result i32) (i32.const 1)))"""
    WasmCanister(bytes(wasmtime.wat2wasm(text))).install(b"", environment())


# --- against a model ---

PERSISTENT = r"""
(global $g (mut i64) (i64.const 0))
(func $all (param $n i64)
  (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (local.get $n)))
  (global.set $g (i64.add (global.get $g) (local.get $n)))
  (if (i64.eqz (call $stable64_size)) (then (drop (call $stable64_grow (i64.const 1)))))
  (call $stable64_read (i64.const 8) (i64.const 0) (i64.const 8))
  (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (local.get $n)))
  (call $stable64_write (i64.const 0) (i64.const 8) (i64.const 8))
  (call $certified_data_set (i32.const 8) (i32.const 8))
  (drop (call $global_timer_set (i64.load (i32.const 8)))))
(func $number (result i64)
  (call $msg_arg_data_copy (i32.const 16) (i32.const 0) (i32.const 8)) (i64.load (i32.const 16)))
(func (export "canister_init") (call $all (call $number)))
(func (export "canister_pre_upgrade") (call $all (i64.const 1)))
(func (export "canister_post_upgrade") (call $all (call $number))
  (if (i64.ge_u (call $number) (i64.const 900)) (then unreachable)))
(func (export "canister_update add") (call $all (call $number)) (call $msg_reply))
(func (export "canister_update grow") (drop (memory.grow (i32.const 1)))
  (i64.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8)) (call $number)) (call $msg_reply))
(func (export "canister_update trap") (drop (memory.grow (i32.const 1))) (call $all (call $number)) unreachable)
(func (export "canister_query read")
  (if (i64.eqz (call $stable64_size)) (then (drop (call $stable64_grow (i64.const 1)))))
  (i64.store (i32.const 24) (i64.load (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8))))
  (call $stable64_read (i64.const 8) (i64.const 0) (i64.const 8))
  (i64.store (i32.const 16) (global.get $g))
  (call $msg_reply_data_append (i32.const 0) (i32.const 32)) (call $msg_reply)
  (i64.store (i32.const 0) (i64.const 12345)) (global.set $g (i64.const 12345))
  (call $stable64_write (i64.const 0) (i64.const 0) (i64.const 8)) (drop (memory.grow (i32.const 1))))
"""
SMALL = st.integers(0, 899)
PERSISTENT_MODULE = module(PERSISTENT)


class Lives(RuleBasedStateMachine):
    """Upgrades, traps, updates and queries in any order leave what the specification says."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.cache = Path(self._folder.name)

    def teardown(self) -> None:
        self._folder.cleanup()

    @initialize(number=SMALL)
    def begin(self, number: int) -> None:
        # With a cache: every upgrade would compile the same module again.
        self.canister = WasmCanister(PERSISTENT_MODULE, cache=self.cache)
        self.env = environment()
        self.canister.install(number.to_bytes(8, "little"), self.env)
        self.heap = self.stable = self.number = number
        self.tail = 0
        self.pages = 2
        self.timer = self.certified = number

    def take(self) -> None:
        """Keep the environment's part as the replica does."""
        self.timer = self.env.timer_ns
        if self.env.certified_data is not None:
            self.certified = int.from_bytes(self.env.certified_data, "little")

    def execute(self, method: str, number: int) -> None:
        self.env = environment()
        self.env.timer_ns = self.timer
        self.canister.update(method, number.to_bytes(8, "little"), self.env)
        self.take()

    @rule(number=SMALL)
    def add(self, number: int) -> None:
        self.execute("add", number)
        self.heap += number
        self.number += number
        self.stable += number

    @rule(number=SMALL)
    def grow(self, number: int) -> None:
        self.execute("grow", number)
        self.pages += 1
        self.tail = number

    @rule(number=SMALL)
    def trap(self, number: int) -> None:
        with pytest.raises(WasmTrap):
            self.execute("trap", number)

    @rule(number=st.integers(0, 1000), skip=st.booleans())
    def upgrade(self, number: int, skip: bool) -> None:
        self.env = environment()
        self.env.timer_ns = self.timer
        arg = number.to_bytes(8, "little")
        if number >= 900:
            with pytest.raises(WasmTrap):
                self.canister.upgrade(PERSISTENT_MODULE, arg, self.env, skip_pre_upgrade=skip)
            return
        self.canister.upgrade(PERSISTENT_MODULE, arg, self.env, skip_pre_upgrade=skip)
        self.take()
        self.stable += number + (not skip)
        self.heap = self.number = number
        self.tail, self.pages = 0, 2

    @invariant()
    def is_as_the_model(self) -> None:
        read = numbers(self.canister.query("read", b"", environment()))
        assert read == (self.heap, self.stable, self.number, self.tail)
        assert self.canister.state.memory.size == self.pages * 65536
        assert self.certified == self.stable


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=25, stateful_step_count=100, deadline=None)


def test_a_rejection_is_kept_with_what_was_done() -> None:
    body = (
        COUNTER
        + '(func (export "canister_update refuse") (call $add) (call $msg_reject (i32.const 100) (i32.const 4)))'
    )
    canister = installed(body)
    env = environment()
    canister.update("refuse", b"", env)
    assert env.answer == Rejection(4, "oops", "IC0406")
    assert numbers(update(canister, "add")) == (2, 2)


def test_a_canister_that_is_saved_and_loaded_is_as_it_was(tmp_path: Path) -> None:
    canister = installed(PERSISTENT, arg=(7).to_bytes(8, "little"))
    canister.update("grow", (5).to_bytes(8, "little"), environment())
    canister.save(tmp_path)
    loaded = WasmCanister.load(tmp_path)
    assert loaded.module_hash == canister.module_hash
    for _ in range(2):
        for one in (canister, loaded):
            update(one, "add", (3).to_bytes(8, "little"))
    read = canister.query("read", b"", environment())
    assert numbers(read) == (13, 13, 13, 5)
    assert loaded.query("read", b"", environment()) == read
    assert (tmp_path / "memory").stat().st_size == canister.state.memory.size == 3 * 65536


def test_an_upgraded_canister_is_saved_with_its_new_module(tmp_path: Path) -> None:
    canister = installed(COUNTER)
    canister.upgrade(module(HOOKS), b"", environment())
    canister.save(tmp_path)
    assert marks(WasmCanister.load(tmp_path)) == b"\0\0PS"
