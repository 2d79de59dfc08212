"""All nodes keep a change, or none does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.configure.rolling import LOOKS, Rolling
from appliance.control.client import ControlRefused, ControlUnreachable
from appliance.control.models import Applied, ProblemDetails

NAMES = ["a", "b", "c"]
METHODS = st.sampled_from(["revision", "failing", "apply", "confirm", "roll_back"])
FAULTS = st.sampled_from(["refused", "silent", "done and silent"])


def refused(kind: str, detail: str = "no") -> ControlRefused:
    return ControlRefused("here", ProblemDetails(type=f"urn:icws:problem:{kind}", title="", status=409, detail=detail))


class Fake:
    """Nodes that run revision 1, or on trial 2, or 2 for good. ``faults`` are by method and node, each once."""

    def __init__(self, faults: dict[tuple[str, str], str] | None = None) -> None:
        self.runs = dict.fromkeys(NAMES, "1")
        self.faults = dict(faults or {})
        self.checks: dict[str, list[dict[str, str]]] = {}
        self.same: set[str] = set()
        self.made: list[str] = []

    def _do(self, method: str, node: str, result: Any) -> Any:
        self.made.append(f"{method} {node}")
        fault = self.faults.pop((method, node), None)
        if fault == "refused":
            raise refused("conflict")
        if fault == "silent":
            raise refused("node-failed", "silence")
        found = result()
        if fault is not None:
            raise ControlUnreachable("here", "no answer in time")
        return found

    def _applied(self, node: str, runs: str, result: str) -> Applied:
        self.runs[node] = runs
        generation = 1 if runs == "1" else 2
        return Applied.model_construct(result=result, generation=generation, changes=[])

    def revision(self, node: str) -> int:
        return self._do("revision", node, lambda: 1)

    def failing(self, node: str) -> dict[str, str]:
        def found() -> dict[str, str]:
            states = self.checks.get(node, [{}])
            return states.pop(0) if len(states) > 1 else states[0]

        return self._do("failing", node, found)

    def apply(self, node: str) -> Applied:
        if node in self.same:
            return self._do("apply", node, lambda: self._applied(node, "1", "unchanged"))
        return self._do("apply", node, lambda: self._applied(node, "trial", "applied"))

    def confirm(self, node: str) -> Applied:
        return self._do("confirm", node, lambda: self._applied(node, "2", "confirmed"))

    def roll_back(self, node: str, revision: int) -> Applied:
        assert revision == 1
        return self._do("roll_back", node, lambda: self._applied(node, "1", "rolled back"))

    def end_trials(self) -> None:
        self.runs = {node: "1" if runs == "trial" else runs for node, runs in self.runs.items()}


def run(fake: Fake, said: list[str] | None = None) -> Any:
    return Rolling(fake, NAMES, say=(said if said is not None else []).append, sleep=lambda _: None).run()


def test_each_node_runs_it_on_trial_before_any_keeps_it():
    fake, said = Fake(), list[str]()
    rolled = run(fake, said)
    assert rolled.kept
    assert fake.runs == dict.fromkeys(NAMES, "2")
    assert fake.made.index("confirm a") > fake.made.index("failing c")
    assert said == ["a: applied, revision 2", "b: applied, revision 2", "c: applied, revision 2"]


def test_a_node_without_a_change_is_left_alone():
    fake = Fake()
    fake.same = {"b"}
    assert [each.result for each in run(fake).nodes] == ["applied", "unchanged", "applied"]
    assert "confirm b" not in fake.made


def test_where_one_refuses_it_the_others_go_back():
    fake, said = Fake({("apply", "b"): "refused"}), list[str]()
    rolled = run(fake, said)
    assert not rolled.kept
    assert [(each.node, each.result) for each in rolled.nodes] == [
        ("a", "taken back"),
        ("b", "refused"),
        ("c", "not reached"),
    ]
    assert fake.runs == dict.fromkeys(NAMES, "1")
    assert "roll_back b" not in fake.made, "it has refused, and may be on somebody else's trial"
    assert said == ["a: applied, revision 2", "b: refused: no", "a: taken back, revision 1"]


def test_a_node_gets_time_to_become_ready():
    fake = Fake()
    fake.checks["b"] = [{}, {"ic": "slow"}, {"ic": "slow"}, {}]
    assert run(fake).kept


def test_a_node_that_becomes_unhealthy_takes_all_back():
    fake = Fake()
    fake.checks["b"] = [{"old": "failed before"}, {"old": "failed before", "ic": "gone"}]
    rolled = run(fake)
    assert [(each.result, each.problem) for each in rolled.nodes] == [
        ("taken back", None),
        ("taken back", "ic: gone"),
        ("not reached", None),
    ]
    assert fake.made.count("failing b") == 1 + LOOKS


def test_what_failed_before_keeps_nothing_from_going_on():
    fake = Fake()
    fake.checks["b"] = [{"drain": "it drains"}]
    assert run(fake).kept


def test_an_interrupt_takes_back():
    class Interrupted(Fake):
        def apply(self, node: str) -> Applied:
            if node == "c":
                raise KeyboardInterrupt
            return super().apply(node)

    fake = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        run(fake)
    assert fake.runs == dict.fromkeys(NAMES, "1")


@given(st.dictionaries(st.tuples(METHODS, st.sampled_from(NAMES)), FAULTS, max_size=4))
def test_all_or_none_whatever_fails_once(faults: dict[tuple[str, str], str]):
    """Once the trials have ended. Only a node that neither confirms nor takes back as it was told may be left, and is
    named."""
    fake = Fake(faults)
    rolled = run(fake)
    fake.end_trials()
    left = {each.node for each in rolled.nodes if each.result == "not taken back"}
    assert rolled.kept == (set(fake.runs.values()) == {"2"} and not left)
    if not rolled.kept:
        assert {node for node, runs in fake.runs.items() if runs != "1"} <= left
    assert left <= {node for method, node in faults if method == "roll_back"}
