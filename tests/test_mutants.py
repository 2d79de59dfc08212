"""The mutations of `tests.mutants`: each is another program, and a seed makes the same ones."""

import ast

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
    assert all((mutants.TOP / test).exists() for tests in mutants.CORE.values() for test in tests)
