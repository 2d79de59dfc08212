import weakref
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.crypto import CandidTypes
from appliance.localnet.canisters.canister import Environment, MethodNotFound, Reject, Trap
from appliance.localnet.canisters.python_canister import Position, PythonCanister, UndoLog
from tests.localnet.greeter import Greeter
from tests.localnet.machine import CANISTER, Machine, principal

ALICE = principal("alice")


class Odd(PythonCanister):
    did: ClassVar[str] = """service : (nat) -> {
  set : (nat) -> ();
  set_and_trap : (nat) -> ();
  set_and_fail : (nat) -> ();
  peek_and_set : (nat) -> (nat, text) query;
  refuse : (text) -> ();
  big : (nat) -> (blob) query;
}
"""

    def __init__(self) -> None:
        super().__init__()
        self.value = 0

    def init(self, env: Environment, *arguments: object) -> None:
        self.undo_log.set(self, "value", *arguments)

    def set(self, env: Environment, value: int) -> tuple[()]:
        self.undo_log.set(self, "value", value)
        return ()

    def set_and_trap(self, env: Environment, value: int) -> None:
        self.undo_log.set(self, "value", value)
        raise Trap("on purpose")

    def set_and_fail(self, env: Environment, value: int) -> None:
        self.undo_log.set(self, "value", value)
        raise ZeroDivisionError("a fault")

    def peek_and_set(self, env: Environment, value: int) -> tuple[int, str]:
        before = self.value
        self.undo_log.set(self, "value", value)
        return before, "seen"

    def refuse(self, env: Environment, text: str) -> None:
        raise Reject(text)

    def big(self, env: Environment, size: int) -> bytes:
        return bytes(size)


def env() -> Environment:
    return Environment(CANISTER, ALICE, 1)


@pytest.fixture
def odd() -> Odd:
    canister = Odd()
    canister.install(CandidTypes("(nat)").encode(7), env())
    return canister


def nat(value: int) -> bytes:
    return CandidTypes("(nat)").encode(value)


def test_install_gets_the_arguments_of_the_interface(odd: Odd) -> None:
    assert odd.value == 7


def test_an_update_is_kept(odd: Odd) -> None:
    assert odd.update("set", nat(9), env()) == CandidTypes("()").encode()
    assert odd.value == 9


@pytest.mark.parametrize(
    ("method", "text"), [("set_and_trap", "^on purpose$"), ("set_and_fail", "ZeroDivisionError: a fault")]
)
def test_an_execution_that_raises_leaves_no_trace(odd: Odd, method: str, text: str) -> None:
    with pytest.raises(Trap, match=text):
        odd.update(method, nat(9), env())
    assert odd.value == 7


def test_a_query_changes_nothing_replicated_or_not(odd: Odd) -> None:
    for run in (odd.query, odd.update):
        assert CandidTypes("(nat, text)").decode(run("peek_and_set", nat(9), env())) == (7, "seen")
        assert odd.value == 7


def test_a_reject_is_no_trap(odd: Odd) -> None:
    with pytest.raises(Reject, match=r"^not today$"):
        odd.update("refuse", CandidTypes("(text)").encode("not today"), env())


def test_arguments_that_do_not_decode_trap(odd: Odd) -> None:
    with pytest.raises(Trap, match="failed to decode call arguments"):
        odd.update("set", b"nonsense", env())


def test_unknown_methods_and_updates_asked_as_queries_are_not_found(odd: Odd) -> None:
    with pytest.raises(MethodNotFound, match="Canister has no update method 'undo_log'"):
        odd.update("undo_log", b"", env())
    with pytest.raises(MethodNotFound, match="Canister has no query method 'set'"):
        odd.query("set", b"", env())


def test_a_reply_beyond_the_limit_traps(odd: Odd) -> None:
    environment = env()
    environment.reply_limit = 1000
    with pytest.raises(Trap, match="cannot be larger than 1000"):
        odd.query("big", nat(1000), environment)


def test_certified_data_has_at_most_32_bytes_and_belongs_to_updates() -> None:
    environment = env()
    environment.set_certified_data(bytes(32))
    assert environment.certified_data == bytes(32)
    with pytest.raises(Trap, match="at most 32 bytes"):
        environment.set_certified_data(bytes(33))
    environment.certificate = lambda: b"certificate"
    assert environment.data_certificate() == b"certificate"
    with pytest.raises(Trap, match="query"):
        environment.set_certified_data(b"")


def test_the_greeter() -> None:
    machine = Machine(Greeter())
    assert machine.query("greet", ALICE, "Alice") == "Hello, Alice!"
    assert [machine.call("count", ALICE) for _ in range(3)] == [1, 2, 3]
    assert machine.query("whoami", ALICE) == ALICE
    assert machine.canister.metadata["candid:service"].decode() == Greeter.did


class Owner:
    value = 0


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "remove", "set"]), st.integers(0, 4), st.integers(0, 9)),
    max_size=30,
)


Things = tuple[dict[int, int], Owner]


def act(undo_log: UndoLog, steps: list[tuple[str, int, int]], things: Things) -> None:
    mapping, owner = things
    for step, key, value in steps:
        match step:
            case "put":
                undo_log.put(mapping, key, value)
            case "remove" if key in mapping:
                assert undo_log.remove(mapping, key) not in (None, -1)
            case "set":
                undo_log.set(owner, "value", value)


def seen(things: Things) -> object:
    mapping, owner = things
    return dict(mapping), owner.value


@given(STEPS, STEPS)
def test_roll_back_gives_what_was_at_the_last_commit(
    kept: list[tuple[str, int, int]], dropped: list[tuple[str, int, int]]
) -> None:
    undo_log = UndoLog()
    things: Things = ({}, Owner())
    act(undo_log, kept, things)
    undo_log.commit()
    before = seen(things)
    act(undo_log, dropped, things)
    undo_log.roll_back()
    assert seen(things) == before
    undo_log.roll_back()
    assert seen(things) == before


EXECUTIONS = st.lists(STEPS, max_size=5)


def executed(executions: list[list[tuple[str, int, int]]]) -> tuple[UndoLog, Things, list[tuple[Position, object]]]:
    """An undo log after these executions, its things, and each position with what was there."""
    undo_log, kept = UndoLog(), []
    things: Things = ({}, Owner())
    for steps in [*executions, []]:
        kept.append((undo_log.position, seen(things)))
        act(undo_log, steps, things)
        undo_log.commit()
    return undo_log, things, kept


@settings(max_examples=50)
@given(EXECUTIONS, STEPS)
def test_every_position_shows_what_was_there(
    executions: list[list[tuple[str, int, int]]], query: list[tuple[str, int, int]]
) -> None:
    undo_log, things, kept = executed(executions)
    now = seen(things)
    for position, before in kept:
        with undo_log.rewound(position):
            assert seen(things) == before
            act(undo_log, query, things)
            undo_log.roll_back()
            assert seen(things) == before
        assert seen(things) == now


@settings(max_examples=50)
@given(EXECUTIONS)
def test_looking_back_does_not_even_change_the_order_of_keys(executions: list[list[tuple[str, int, int]]]) -> None:
    undo_log, (mapping, _), kept = executed(executions)
    order = list(mapping)
    for position, _ in kept:
        with undo_log.rewound(position):
            pass
        assert list(mapping) == order


def test_a_trap_in_the_past_leads_back_to_the_present(odd: Odd) -> None:
    snapshot = odd.snapshot()
    odd.update("set", nat(9), env())
    with pytest.raises(Trap, match="failed to decode"):
        snapshot.query("peek_and_set", b"nonsense", env())
    assert odd.value == 9
    assert CandidTypes("(nat, text)").decode(snapshot.query("peek_and_set", nat(1), env())) == (7, "seen")
    assert odd.value == 9
    assert (snapshot.snapshot(), snapshot.module_hash) == (snapshot, odd.module_hash)
    assert snapshot.metadata == odd.metadata


def test_a_snapshot_executes_queries_only(odd: Odd) -> None:
    snapshot = odd.snapshot()
    for run in (lambda: snapshot.update("set", nat(9), env()), lambda: snapshot.install(b"", env())):
        with pytest.raises(TypeError, match="queries only"):
            run()
    with pytest.raises(TypeError, match="queries only"):
        snapshot.on_timer(env())


class Thing:
    """Can be referred to weakly."""


def test_changes_are_freed_with_the_last_snapshot_before_them() -> None:
    undo_log, things = UndoLog(), {0: Thing()}
    removed = weakref.ref(things[0])
    before = undo_log.position
    undo_log.remove(things, 0)
    undo_log.commit()
    assert removed() is not None
    del before
    assert removed() is None


def test_removing_what_is_not_there() -> None:
    with pytest.raises(KeyError):
        UndoLog().remove({}, "none")
