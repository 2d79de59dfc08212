"""Break the core modules of the package in small ways, one at a time, and see whether their tests notice.

`python -m tests.mutants --seed 1 --count 60` prints the result as Markdown. The same seed makes the same mutations of
the same source. Works on a copy: the tree stays as it is. An interrupted run prints the table of what it has tested;
`--output FILE` also writes that table after each mutation.
"""

import argparse
import ast
import contextlib
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
CORE = {
    "appliance/protocol": ["tests/protocol"],
    "appliance/gateway/polling": ["tests/gateway/polling"],
    "appliance/gateway/limits": ["tests/gateway/limits", "tests/gateway/test_limited.py"],
    "appliance/gateway/hub.py": ["tests/gateway/test_hub.py"],
    "appliance/gateway/relay.py": ["tests/gateway/test_relay.py"],
    "appliance/gateway/outbox.py": ["tests/gateway/test_outbox.py"],
    "appliance/ic/agent.py": ["tests/ic/test_agent.py"],
    "appliance/ic/attempts.py": ["tests/ic/test_attempts.py", "tests/ic/test_agent.py"],
    "appliance/ic/endpoints.py": ["tests/ic/test_endpoints.py", "tests/ic/test_agent.py"],
    "appliance/ic/failover.py": ["tests/ic/test_failover.py", "tests/ic/test_agent.py"],
    "appliance/ic/replies.py": ["tests/ic/test_replies.py", "tests/ic/test_agent.py"],
}
"""Modules and folders, and the tests that mirror them."""
PATIENCE = 5
"""A mutation is caught, too, if its tests take this many times as long as they do without it."""
NO_TESTS_RAN = 5
"""What pytest exits with."""

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
}


@dataclass(frozen=True)
class Mutation:
    """One change of one place. `node` is the number of the changed node in the order of `ast.walk`."""

    path: str
    line: int
    node: int
    change: str


def changes_of(node: ast.AST) -> Iterator[str]:
    """The ways in which a node can be changed."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            yield "comparison"
        case ast.BoolOp():
            yield "and/or"
        case ast.BinOp(op=op) if type(op) in OPERATORS:
            yield "operator"
        case ast.Constant(value=bool() | int()):
            yield "constant"
        case ast.If() | ast.While() | ast.IfExp():
            yield "condition"
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Raise():
            yield "statement"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "statement"


def apply(node: ast.AST, change: str) -> ast.AST:
    """The changed node."""
    node = copy.deepcopy(node)
    match change, node:
        case "comparison", ast.Compare():
            node.ops = [COMPARISONS[type(node.ops[0])]()]
        case "and/or", ast.BoolOp():
            node.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
        case "operator", ast.BinOp():
            node.op = OPERATORS[type(node.op)]()
        case "constant", ast.Constant(value=bool(value)):
            node.value = not value
        case "constant", ast.Constant(value=int(value)):
            node.value = value + 1
        case "condition", ast.If() | ast.While() | ast.IfExp():
            node.test = ast.UnaryOp(ast.Not(), node.test)
        case _:
            return ast.copy_location(ast.Pass(), node)
    return node


def _skipped(tree: ast.Module) -> set[int]:
    """The nodes that mean nothing at run time: annotations."""
    kinds = (ast.AnnAssign, ast.arg, ast.FunctionDef, ast.AsyncFunctionDef)
    owners = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    notes = [
        node.returns if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else node.annotation for node in owners
    ]
    return {id(inner) for note in notes if note is not None for inner in ast.walk(note)}


def mutations_of(path: str, source: str) -> list[Mutation]:
    """Every mutation of a module, in order."""
    tree = ast.parse(source)
    skipped = _skipped(tree)
    return [
        Mutation(path, getattr(node, "lineno", 0), number, change)
        for number, node in enumerate(ast.walk(tree))
        if id(node) not in skipped
        for change in changes_of(node)
    ]


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


def mutate(source: str, mutation: Mutation) -> tuple[str, str]:
    """The broken module, and what the place was and is."""
    tree = ast.parse(source)
    old = next(node for number, node in enumerate(ast.walk(tree)) if number == mutation.node)
    new = apply(old, mutation.change)
    return ast.unparse(ast.fix_missing_locations(_Replace(old, new).visit(tree))), f"{_short(old)} → {_short(new)}"


def _short(node: ast.AST) -> str:
    shown = node.test if isinstance(node, ast.If | ast.While) else node
    line = " ".join(ast.unparse(shown).split())
    return line if len(line) <= 60 else line[:59] + "…"


def missing() -> list[str]:
    """The paths in `CORE` that do not exist."""
    return [path for part, tests in CORE.items() for path in (part, *tests) if not (TOP / path).exists()]


def _modules(part: str) -> list[str]:
    path = TOP / part
    return [part] if path.is_file() else sorted(str(found.relative_to(TOP)) for found in path.rglob("*.py"))


def sample(seed: int, count: int, without: Sequence[str] = ()) -> list[tuple[str, Mutation]]:
    """That many mutations with the part of `CORE` that each is in; larger parts have more of them."""
    everything = [
        (part, mutation)
        for part in CORE
        if part not in without
        for module in _modules(part)
        for mutation in mutations_of(module, (TOP / module).read_text())
    ]
    return sorted(
        random.Random(seed).sample(everything, min(count, len(everything))),
        key=lambda one: (one[1].path, one[1].line, one[1].node),
    )


def tests_of(part: str, module: str) -> list[str]:
    """The tests of a part. The one that mirrors the module runs first, since it fails the soonest."""
    path = Path(module)
    mirror = Path("tests", *path.parts[1:-1], f"test_{path.name}")
    return [str(mirror), *CORE[part]] if (TOP / mirror).exists() else CORE[part]


def passes(tree: Path, tests: list[str], limit_s: float | None = None) -> bool:
    """Whether tests pass in a tree. Those that take longer than the limit do not."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(  # noqa: S603
        command,
        cwd=tree,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        try:
            code = running.wait(limit_s)
        except subprocess.TimeoutExpired:
            return False
        finally:
            # a broken program may leave processes of its own behind
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    if code == NO_TESTS_RAN:
        raise RuntimeError(f"no test ran: {tests}")
    return code == 0


def limits(tree: Path, parts: set[str]) -> dict[str, float]:
    """How long the tests of each part may take. They must pass before anything is broken."""
    found = {}
    for part in sorted(parts):
        begin = time.monotonic()
        if not passes(tree, CORE[part]):
            sys.exit(f"the tests of {part} fail without any mutation")
        found[part] = PATIENCE * (time.monotonic() - begin)
    return found


@dataclass(frozen=True)
class Result:
    """What the tests found in one mutation. `words` is what the place was and is."""

    path: str
    line: int
    words: str
    survived: bool

    def __str__(self) -> str:
        verdict = "survived" if self.survived else "caught"
        return f"{verdict} {self.path}:{self.line} {self.words}"


def results(tree: Path, chosen: list[tuple[str, Mutation]]) -> Iterator[Result]:
    """Breaks a copy of the tree in one place after the other."""
    limit_s = limits(tree, {part for part, _ in chosen})
    for part, mutation in chosen:
        path = tree / mutation.path
        source = path.read_text()
        broken, words = mutate(source, mutation)
        path.write_text(broken)
        try:
            survived = passes(tree, tests_of(part, mutation.path), limit_s[part])
        finally:
            path.write_text(source)
        yield Result(mutation.path, mutation.line, words, survived)


def table(found: Sequence[Result]) -> str:
    """The results by module in Markdown, and the mutations that no test caught."""
    lines = ["| module | mutations | caught | survived |", "| --- | ---: | ---: | ---: |"]
    total = Counter(one.path for one in found)
    survived = Counter(one.path for one in found if one.survived)
    for path in sorted(total):
        lines.append(f"| `{path}` | {total[path]} | {total[path] - survived[path]} | {survived[path]} |")
    lines.append(f"| all | {len(found)} | {len(found) - survived.total()} | {survived.total()} |")
    left = [f"- `{one.path}:{one.line}` `{one.words}`" for one in found if one.survived]
    return "\n".join([*lines, *([""] if left else []), *left])


def run(tree: Path, chosen: list[tuple[str, Mutation]], output: Path | None) -> None:
    """Breaks, tests, prints; an interrupted run prints what it has."""
    found: list[Result] = []
    try:
        for result in results(tree, chosen):
            found.append(result)
            print(f"{len(found)}/{len(chosen)} {result}", file=sys.stderr, flush=True)
            if output is not None:
                output.write_text(f"{table(found)}\n")
    except KeyboardInterrupt:
        print(f"interrupted after {len(found)} of {len(chosen)} mutations", file=sys.stderr)
    print(table(found))


def main() -> None:
    """Reads the options and runs on a copy of the tree."""
    parser = argparse.ArgumentParser(description="Break the core modules and see whether their tests notice.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--without", action="append", default=[], choices=CORE, metavar="PART", help="leave a part out")
    parser.add_argument("--output", type=Path, help="a file to write the table to after each mutation")
    options = parser.parse_args()
    if absent := missing():
        sys.exit(f"CORE in tests/mutants.py names what does not exist: {', '.join(absent)}; correct these paths")
    chosen = sample(options.seed, options.count, options.without)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        ignored = shutil.ignore_patterns(".git", ".venv", "target", "node_modules", "__pycache__", ".*_cache")
        shutil.copytree(TOP, tree, ignore=ignored, symlinks=True)
        run(tree, chosen, options.output)


if __name__ == "__main__":
    main()
