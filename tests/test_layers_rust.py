"""The order of the Rust modules, read from their source: no cycle between modules, and none between rooms.

A module depends on another where a path in it (`use` or inline, from `crate`, `super`, `self` or the name of a child)
leads to an item of that one. A parent may re-export its children: `pub use` is no dependency of the parent, and whoever
imports the name from the parent depends on the child. So a parent and its child make a cycle only where the child uses
an item of the parent's own and the parent uses one of the child. Tests may use everything, and do not count.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

NATIVE = Path(__file__).resolve().parent.parent / "native"
CRATES = {"core": NATIVE / "core" / "src", "client": NATIVE / "client" / "src", "bindings": NATIVE / "src"}

Module: TypeAlias = tuple[str, ...]
"""The names from the root of the crate; () is the root itself."""

_COMMENT = re.compile(r"//[^\n]*")
_TEST_FILE = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;")
_TEST_BLOCK = re.compile(r"#\[cfg\(test\)\]\s*mod\s+\w+\s*\{")
_USE = re.compile(r"(?P<public>\bpub(?:\([^)]*\))?\s+)?\buse\s+(?P<tree>[^;]+);")
_INLINE = re.compile(r"(?<![\w:])(?:(?:crate|super|self)::)?\w+(?:::\w+)+")


def without_tests(source: str) -> str:
    """The code without comments and without the blocks of tests in it."""
    source = _COMMENT.sub("", source)
    while found := _TEST_BLOCK.search(source):
        depth, at = 1, found.end()
        while depth and at < len(source):
            depth += {"{": 1, "}": -1}.get(source[at], 0)
            at += 1
        source = source[: found.start()] + source[at:]
    return source


def paths_of(tree: str) -> Iterator[tuple[str, str]]:
    """The paths in a tree of `use`, each with the name it gives to the module."""
    head, brace, rest = tree.strip().partition("{")
    if not brace:
        path, _, alias = head.partition(" as ")
        path = path.strip().removesuffix("::*").removesuffix("::self")
        yield path, alias.strip() or path.split("::")[-1]
        return
    depth, start = 0, 0
    inner = rest[: rest.rindex("}")] + ","
    for at, letter in enumerate(inner):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            if part := inner[start:at].strip():
                yield from paths_of(head.strip() + part)
            start = at + 1


class Crate:
    """The modules of a crate and what they depend on."""

    def __init__(self, sources: dict[Module, str]) -> None:
        tests = {(*module, name) for module, source in sources.items() for name in _TEST_FILE.findall(source)}
        self.sources = {
            module: without_tests(source)
            for module, source in sources.items()
            if not any(module[: len(test)] == test for test in tests)
        }
        self._exports = {module: self._names(module, public=True) for module in self.sources}
        self._imports = {module: self._names(module, public=False) for module in self.sources}

    def _names(self, module: Module, *, public: bool) -> dict[str, str]:
        uses = [found for found in _USE.finditer(self.sources[module]) if bool(found["public"]) is public]
        return {name: path for found in uses for path, name in paths_of(found["tree"])}

    def _target(self, module: Module, path: str, above: tuple[str, ...] = ()) -> Module | None:
        """The module that has the item of a path; None for other crates."""
        parts = path.split("::")
        here = () if parts[0] == "crate" else module
        if parts[0] not in ("crate", "super", "self") and (*module, parts[0]) not in self.sources:
            return None
        while parts and parts[0] in ("crate", "super", "self"):
            here = here[:-1] if parts.pop(0) == "super" else here
        for at, name in enumerate(parts):
            if (*here, name) in self.sources:
                here = (*here, name)
                continue
            exported = self._exports[here].get(name)
            if exported is None or exported in above:
                return here
            return self._target(here, "::".join([exported, *parts[at + 1 :]]), (*above, exported)) or here
        return here

    def dependencies(self, module: Module) -> set[Module]:
        """The modules that a module uses items of, itself apart."""
        inline = _INLINE.findall(_USE.sub("", self.sources[module]))
        found = {self._target(module, path) for path in (*self._imports[module].values(), *inline)}
        return {target for target in found if target is not None} - {module, ()}

    def graph(self) -> dict[Module, set[Module]]:
        return {module: self.dependencies(module) for module in self.sources}

    def rooms(self) -> dict[Module, set[Module]]:
        """The same between what stands at the root of the crate."""
        rooms: dict[Module, set[Module]] = {}
        for module, targets in self.graph().items():
            if module:
                rooms.setdefault(module[:1], set()).update(target[:1] for target in targets if target[0] != module[0])
        return rooms


def cycle_in(graph: dict[Module, set[Module]]) -> str | None:
    """One cycle, as its modules in a row; None where there is none."""
    done: set[Module] = set()

    def visit(module: Module, above: tuple[Module, ...]) -> tuple[Module, ...] | None:
        if module in above:
            return (*above[above.index(module) :], module)
        if module not in done:
            for target in sorted(graph.get(module, ())):
                if found := visit(target, (*above, module)):
                    return found
            done.add(module)
        return None

    for module in graph:
        if found := visit(module, ()):
            return " -> ".join("::".join(module) or "lib" for module in found)
    return None


def _read(root: Path) -> Crate:
    def module_of(path: Path) -> Module:
        parts = path.relative_to(root).with_suffix("").parts
        return parts[:-1] if parts[-1] in ("mod", "lib") else parts

    return Crate({module_of(path): path.read_text() for path in sorted(root.rglob("*.rs"))})


@pytest.mark.parametrize("name", CRATES)
def test_there_is_no_cycle_between_modules(name: str) -> None:
    assert cycle_in(_read(CRATES[name]).graph()) is None


@pytest.mark.parametrize("name", CRATES)
def test_there_is_no_cycle_between_rooms(name: str) -> None:
    assert cycle_in(_read(CRATES[name]).rooms()) is None


def test_the_dependencies_are_those_that_are_there() -> None:
    core = _read(CRATES["core"])
    envelope = core.dependencies(("requests", "envelope"))
    assert {("requests", "content"), ("requests", "delegation"), ("encoding", "cbor"), ("principal",)} <= envelope
    assert core.dependencies(("error",)) == set()
    assert ("certification", "small_forests") not in core.sources
    assert ("candid", "schema") in core.dependencies(("candid", "text"))


@pytest.mark.parametrize(
    "sources",
    [
        {"a": "use crate::b::B;", "b": "use crate::a::A;"},
        {"a": "use super::b::B;", "b": "fn f() { crate::a::g(1) }"},
        {"a": "use crate::{b, c};", "b": "use crate::c::{self, C};", "c": "use crate::a::{x::Y, z};"},
        {"": "mod a; mod r; pub use r::b;", "a": "use crate::b::B;", "r": "pub mod b;", "r.b": "use crate::a::A;"},
        {"r": "mod a; use a::A; pub struct R;", "r.a": "use super::R;"},
        {"r": "mod a; pub use a::A; fn f() { a::g() }", "r.a": "use super::f;"},
        {"r": "mod a; mod b; pub use a::A;", "r.a": "use super::b::B;", "r.b": "use super::A as Other;"},
    ],
    ids=["crate", "inline", "of three", "re-exported", "with the parent", "with a call", "through the parent"],
)
def test_a_cycle_is_found(sources: dict[str, str]) -> None:
    crate = Crate({tuple(name.split(".")) if name else (): source for name, source in {"": "", **sources}.items()})
    assert cycle_in(crate.graph()) is not None


@pytest.mark.parametrize(
    "sources",
    [
        {"r": "mod a; mod b; pub use a::A; pub use b::B;", "r.a": "", "r.b": "use super::A;"},
        {"a": "use crate::b::B;", "b": "#[cfg(test)]\nmod tests { use crate::a::A; }"},
        {"a": "use crate::b::B;", "b": "#[cfg(test)]\nmod tests;", "b.tests": "use crate::a::A;"},
        {"a": "use crate::b::B;", "b": "// use crate::a::A;\n"},
    ],
    ids=["a parent that re-exports", "a block of tests", "a file of tests", "a comment"],
)
def test_no_cycle_is_made_up(sources: dict[str, str]) -> None:
    crate = Crate({tuple(name.split(".")) if name else (): source for name, source in {"": "", **sources}.items()})
    assert cycle_in(crate.graph()) is None


def test_rooms_are_more_than_their_modules() -> None:
    sources = {"a": "", "a.x": "use crate::b::y::Y;", "a.z": "", "b": "", "b.y": "", "b.w": "use crate::a::z::Z;"}
    crate = Crate({(): "", **{tuple(name.split(".")): source for name, source in sources.items()}})
    assert cycle_in(crate.graph()) is None
    assert cycle_in(crate.rooms()) is not None


@pytest.mark.parametrize("name", CRATES)
def test_rooms_are_no_corridors_and_modules_no_books(name: str) -> None:
    for folder in [CRATES[name], *(path for path in CRATES[name].rglob("*") if path.is_dir())]:
        assert len(list(folder.iterdir())) <= 15, folder
    for path in CRATES[name].rglob("*.rs"):
        assert len(path.read_text().splitlines()) <= 400, path
