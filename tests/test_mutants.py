"""The mutations of `tests.mutants`: each is another program, and a seed makes the same ones."""

import ast
import sys
from pathlib import Path

import pytest

from tests import mutants

SOURCE = """
def f(a: int, b: list[int] = []) -> bool:
    x: int = a + 1
    while a < 3 and not b:
        self.y = g(a)
        g(x)
        x += 1
    if a in b:
        raise ValueError(x)
    return a is None or True
"""


def test_every_mutation_is_another_program() -> None:
    found = mutants.mutations_of("m.py", SOURCE)
    broken = [mutants.mutate(SOURCE, mutation)[0] for mutation in found]
    assert len({*broken, ast.unparse(ast.parse(SOURCE))}) == len(found) + 1
    kinds = {mutation.change for mutation in found}
    assert kinds == {"comparison", "and/or", "operator", "constant", "condition", "statement"}


def test_annotations_are_left_alone() -> None:
    assert mutants.mutations_of("m.py", "def f(a: g(1 < 2)) -> h(not 3): ...\nx: Literal[1]") == []


def test_a_seed_makes_the_same_sample() -> None:
    assert mutants.sample(1, 20) == mutants.sample(1, 20) != mutants.sample(2, 20)
    assert {part for part, _ in mutants.sample(1, 10**6)} == set(mutants.CORE)
    assert not mutants.missing()


def test_a_path_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "CORE", {"appliance/gone.py": ["tests/test_gone.py"]})
    monkeypatch.setattr(sys, "argv", ["mutants"])
    with pytest.raises(SystemExit, match=r"appliance/gone\.py, tests/test_gone\.py; correct these paths"):
        mutants.main()


def test_an_interrupted_run_prints_and_keeps_its_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "appliance").mkdir(parents=True)
    (tree / "appliance/m.py").write_text(SOURCE)
    verdicts = iter([True, True, False])

    def passes(*_: object) -> bool:
        if (verdict := next(verdicts, None)) is None:
            raise KeyboardInterrupt
        return verdict

    monkeypatch.setattr(mutants, "CORE", {"appliance": ["tests"]})
    monkeypatch.setattr(mutants, "passes", passes)
    chosen = [("appliance", one) for one in mutants.mutations_of("appliance/m.py", SOURCE)]
    mutants.run(tree, chosen, tmp_path / "table.md")
    printed = capsys.readouterr().out
    assert "| `appliance/m.py` | 2 | 1 | 1 |\n| all | 2 | 1 | 1 |\n\n- `appliance/m.py:" in printed
    assert (tmp_path / "table.md").read_text() == printed
    assert (tree / "appliance/m.py").read_text() == SOURCE
