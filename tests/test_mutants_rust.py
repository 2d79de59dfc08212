"""The mutations of `tests.mutants_rust`: each is another program of the code alone, and a seed makes the same ones."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest

from tests import mutants_rust as mutants

SOURCE = """
/// Fails where 1 < 2 && true.
fn check(text: &str, limit: usize) -> Result<()> {
    // 3 + 4 == 7
    if text.len() >= limit && !text.is_empty() {
        return Err("5 < 6 || false".into());
    }
    verify(text, b'"', &[..limit])?;
    matches!(limit, 1..=9).then(|| Vec::<u8>::with_capacity(limit + 1));
    Ok(())
}

#[cfg(test)]
mod tests {
    fn law() { assert!(1 < 2 && true) }
}
"""


def test_every_mutation_is_another_program_of_the_code_alone() -> None:
    found = mutants.mutations_of("m.rs", SOURCE)
    broken = [mutants.mutate(SOURCE, mutation)[0] for mutation in found]
    assert len({*broken, SOURCE}) == len(found) + 1
    for kept in (
        "1 < 2 && true.",
        "// 3 + 4 == 7",
        '"5 < 6 || false"',
        "assert!(1 < 2 && true)",
        "matches!",
        "Vec::<u8>",
    ):
        assert all(kept in program for program in broken), kept
    kinds = {mutation.change for mutation in found}
    assert kinds == {
        "comparison",
        "and/or",
        "operator",
        "constant",
        "condition",
        "negation",
        "boundary",
        "check",
        "verdict",
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("check", "verify(text, b'\"', &[..limit])?; → nothing"),
        ("boundary", "matches!(limit, 1..=9)"),
        ("verdict", "return Ok(());"),
        ("comparison", "if text.len() > limit && !text.is_empty() {"),
    ],
)
def test_a_result_shows_what_was_and_what_is(change: str, words: str) -> None:
    shown = [mutants.mutate(SOURCE, one)[1] for one in mutants.mutations_of("m.rs", SOURCE) if one.change == change]
    assert any(words in line for line in shown), shown


def test_a_seed_makes_the_same_sample_of_all_kinds() -> None:
    assert mutants.sample(1) == mutants.sample(1) != mutants.sample(2)
    kinds = {one.change for one in mutants.sample(1)}
    assert {one.change for one in islice(mutants.sample(1), len(kinds))} == kinds


def test_the_rooms_are_there_and_their_tests_are_left_out() -> None:
    paths = mutants.sources()
    assert {Path(path).relative_to(mutants.CORE).parts[0] for path in paths} == set(mutants.ROOMS)
    assert not [path for path in paths if "tests" in path or "small_forests" in path]


def test_what_does_not_compile_is_not_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / mutants.CORE / "m.rs"
    path.parent.mkdir(parents=True)
    path.write_text(SOURCE)
    chosen = mutants.mutations_of(str(mutants.CORE / "m.rs"), SOURCE)
    programs: list[str] = []

    def cargo(_: Path, arguments: Sequence[str], limit_s: float | None = None) -> bool:
        del limit_s
        if (broken := path.read_text()) not in programs:
            programs.append(broken)
        # the tests pass without a mutation; then every third does not compile and the next fails a test
        turn = (len(programs) - 1) % 3
        return len(programs) == 1 or (turn != 0 if "--no-run" in arguments else turn != 1)

    monkeypatch.setattr(mutants, "cargo", cargo)
    found = list(mutants.results(tmp_path, chosen, 4))
    assert [result.survived for result in found] == [False, True, False, True]
    assert len(programs) == 1 + 5
    assert path.read_text() == SOURCE
