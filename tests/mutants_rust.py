"""Break the verifying modules of the native core in small ways, one at a time, and see whether its tests notice.

`python -m tests.mutants_rust --seed 1 --count 60` prints the result as Markdown. The same seed makes the same mutations
of the same source. Works on a copy: the tree stays as it is. A mutation that the compiler refuses is not counted; the
next one of the sample takes its place. What was compiled stays in `native/target/mutants` for the next run.
"""

import argparse
import contextlib
import itertools
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants import PATIENCE, TOP, Result, table

CORE = Path("native/core/src")
ROOMS = ("certification", "encoding", "messages", "requests", "signatures")
"""The rooms of the core that verify."""
TARGET = TOP / "native/target/mutants"
MEMORY = 4 << 30
"""How much address space a test may take: a mutated decoder can read without an end."""

_COMMENT = re.compile(r"//[^\n]*")
_STRING = re.compile(r"""b?"(?:\\.|[^"\\])*"|b?'(?:\\.[^']*|[^'\\])'""", re.DOTALL)
_TEST = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*([;{])")
_NUMBER = re.compile(r"(?<![\w])(?<!(?<!\.)\.)(0x[0-9a-f_]+|[0-9][0-9_]*)(?![\w]|\.[0-9])")
_CHECK = re.compile(r"^ +(?!let |return )\w[^=\n]*\)\?;\n", re.MULTILINE)
_VERIFIER = re.compile(r"^ *(?:pub(?:\(crate\))? )?fn [^{;]*-> Result<\(\)> \{\n", re.MULTILINE)
_CONDITION = re.compile(r"\bif (?!let )([^{\n]+?) (?=\{)")

SWAPS = {
    "comparison": {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="},
    "and/or": {"&&": "||", "||": "&&"},
    "operator": {"+": "-", "-": "+", "<<": ">>", ">>": "<<"},
}
"""Operators that rustfmt writes between two spaces, which tells them from generics, references and arrows."""


@dataclass(frozen=True)
class RustMutation:
    """One change of one place: the characters from `start` to `end` become `new`."""

    path: str
    line: int
    start: int
    end: int
    change: str
    new: str


def blanked(source: str) -> str:
    """The source with blanks in place of comments, texts and blocks of tests, so that offsets stay the same."""
    for pattern in (_COMMENT, _STRING):
        source = pattern.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), source)
    block = next((found for found in _TEST.finditer(source) if found[2] == "{"), None)
    # rustfmt and the house put tests at the end of their module
    return source if block is None else source[: block.start()]


def _changes_of(code: str) -> Iterator[tuple[str, int, int, str]]:
    """Kind, start, end and new text of each change of a module whose comments, texts and tests are blanks."""
    for change, swaps in SWAPS.items():
        for found in re.finditer(r"(?<= )(?:<<|>>|[<>=!]=|&&|\|\||[<>+-])(?= )", code):
            if found[0] in swaps:
                yield change, found.start(), found.end(), swaps[found[0]]
    for found in re.finditer(r"\.\.=", code):
        yield "boundary", found.start(), found.end(), ".."
    for found in re.finditer(r"(?<=[\w)]\.\.)(?=[\w(])", code):
        yield "boundary", found.start(), found.end(), "="
    for found in _NUMBER.finditer(code):
        number = int(found[0].replace("_", ""), 0)
        yield "constant", found.start(), found.end(), str(number + 1)
        if number:
            yield "constant", found.start(), found.end(), str(number - 1)
    for found in re.finditer(r"(?<![\w!#])!(?=[\w(])", code):
        yield "negation", found.start(), found.end(), ""
    for found in _CONDITION.finditer(code):
        yield "condition", found.start(1), found.end(1), f"!({found[1]})"
    for found in re.finditer(r"\b(?:true|false)\b", code):
        yield "constant", found.start(), found.end(), "false" if found[0] == "true" else "true"
    for found in _CHECK.finditer(code):
        yield "check", found.start(), found.end(), ""
    for found in _VERIFIER.finditer(code):
        yield "verdict", found.end(), found.end(), "return Ok(());\n"


def mutations_of(path: str, source: str) -> list[RustMutation]:
    """Every mutation of a module, in order."""
    found = (
        RustMutation(path, source.count("\n", 0, start) + 1, start, end, change, new)
        for change, start, end, new in _changes_of(blanked(source))
    )
    return sorted(found, key=lambda one: (one.start, one.end, one.new))


def mutate(source: str, mutation: RustMutation) -> tuple[str, str]:
    """The broken module, and what the place was and is."""
    broken = source[: mutation.start] + mutation.new + source[mutation.end :]
    begin = source.rfind("\n", 0, mutation.start) + 1
    until = source.find("\n", max(mutation.end - 1, begin))
    old = source[begin:until]
    new = broken[begin : until + len(broken) - len(source)]
    return broken, f"{_short(old)} → {_short(new) or 'nothing'}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else line[:79] + "…"


def sources(top: Path = TOP) -> dict[str, str]:
    """The modules of the rooms that verify, without those of tests."""
    paths = [path for room in ROOMS for path in sorted((top / CORE / room).rglob("*.rs"))]
    texts = {path: path.read_text() for path in paths}
    tests = {
        (path.parent if path.stem in ("mod", "lib") else path.with_suffix("")) / name
        for path, text in texts.items()
        for name, _ in _TEST.findall(text)
    }
    return {
        str(path.relative_to(top)): text
        for path, text in texts.items()
        if not tests.intersection([path.with_suffix(""), *path.parents])
    }


def sample(seed: int) -> list[RustMutation]:
    """All mutations in the order of the draw: one of each kind in turn, since constants alone outnumber the rest."""
    kinds: dict[str, list[RustMutation]] = {}
    for path, source in sources().items():
        for mutation in mutations_of(path, source):
            kinds.setdefault(mutation.change, []).append(mutation)
    draw = random.Random(seed)
    shuffled = [draw.sample(kind, len(kind)) for _, kind in sorted(kinds.items())]
    return [one for turn in itertools.zip_longest(*shuffled) for one in turn if one is not None]


def cargo(tree: Path, arguments: Sequence[str], limit_s: float | None = None) -> bool:
    """Whether `cargo test` with these arguments succeeds in a tree. What takes longer than the limit does not."""
    # Other crates optimised: unoptimised cryptography takes most of the time of the tests.
    options = ("--quiet", "--package", "icws-core", "--config", 'profile.dev.package."*".opt-level=2')
    command = ["cargo", "test", "--locked", "--manifest-path", str(tree / "native/Cargo.toml"), *options, *arguments]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(TARGET), "CARGO_PROFILE_DEV_DEBUG": "0"}
    with subprocess.Popen(  # noqa: S603
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        try:
            if "--no-run" not in arguments:
                resource.prlimit(running.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
            return running.wait(limit_s) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            # cargo leaves the tests behind that it runs
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


def tests_of(path: str) -> list[list[str]]:
    """The arguments of `cargo test` for each part of the tests, those first that fail soonest: of the module, of all
    modules, and the vectors, for which more must be linked.
    """
    module = "::".join(Path(path).relative_to(CORE).with_suffix("").parts)
    return [["--lib", module], ["--lib"], ["--test", "*"]]


def is_caught(tree: Path, path: str, limit_s: float) -> bool | None:
    """Whether a test fails in a tree whose module at this path is broken; None where the compiler refuses it."""
    for tests in tests_of(path):
        if not cargo(tree, [*tests, "--no-run"]):
            return None
        if not cargo(tree, tests, limit_s):
            return True
    return False


def results(tree: Path, chosen: Sequence[RustMutation], count: int) -> Iterator[Result]:
    """Breaks a copy of the tree in one place after the other, until that many of them were compiled."""
    first = chosen[0].path
    if is_caught(tree, first, limit_s=600) is not False:
        sys.exit("the tests of icws-core fail without any mutation")
    begin = time.monotonic()
    is_caught(tree, first, limit_s=600)
    limit_s = 60 + PATIENCE * (time.monotonic() - begin)
    for mutation in chosen:
        path = tree / mutation.path
        source = path.read_text()
        broken, words = mutate(source, mutation)
        path.write_text(broken)
        try:
            caught = is_caught(tree, mutation.path, limit_s)
        finally:
            path.write_text(source)
        if caught is None:
            continue
        yield Result(mutation.path, mutation.line, words, not caught)
        if (count := count - 1) == 0:
            return


def run(tree: Path, chosen: Sequence[RustMutation], count: int, output: Path | None) -> None:
    """Breaks, tests, prints; an interrupted run prints what it has."""
    found: list[Result] = []
    try:
        for result in results(tree, chosen, count):
            found.append(result)
            print(f"{len(found)}/{count} {result}", file=sys.stderr, flush=True)
            if output is not None:
                output.write_text(f"{table(found)}\n")
    except KeyboardInterrupt:
        print(f"interrupted after {len(found)} of {count} mutations", file=sys.stderr)
    print(table(found))


def main() -> None:
    """Reads the options and runs on a copy of the tree."""
    parser = argparse.ArgumentParser(description="Break the native core and see whether its tests notice.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--output", type=Path, help="a file to write the table to after each mutation")
    options = parser.parse_args()
    # Always the same place: cargo takes tests for up to date that were compiled elsewhere, with the paths of that place
    # in them. And without the times of the files: an older time than that of the last mutation would pass as unchanged.
    tree = TARGET / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    ignored = shutil.ignore_patterns("target")
    for part in ("native", "tests/vectors"):
        shutil.copytree(TOP / part, tree / part, ignore=ignored, copy_function=shutil.copyfile)
    run(tree, sample(options.seed), options.count, options.output)


if __name__ == "__main__":
    main()
