"""The modules of our pages: no module imports itself through others, and every import leads to a file."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
PAGES = ["appliance/control/page/static", "appliance/localnet/page/static"]
IMPORT = re.compile(
    r"""^\s*(?:import|export)\b(?:[^"';]*?\bfrom)?\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']""", re.M
)
"""Of ECMAScript modules: `import … from "…"`, `import "…"`, `export … from "…"`, and `import("…")`."""


def imports_of(source: str) -> list[str]:
    """What a module imports, as it is written."""
    return [static or dynamic for static, dynamic in IMPORT.findall(source)]


def modules_of(page: Path) -> dict[Path, list[Path]]:
    """Every module of a page, with the modules it imports."""
    return {
        file.resolve(): [(file.parent / name).resolve() for name in imports_of(file.read_text())]
        for file in sorted(page.rglob("*.js"))
    }


def cycle_in(imports: Mapping[Path, list[Path]]) -> list[Path] | None:
    """Modules of which each imports the next, and the last is the first; None without a cycle."""
    done: set[Path] = set()

    def visit(module: Path, above: list[Path]) -> list[Path] | None:
        if module in above:
            return [*above[above.index(module) :], module]
        if module not in done:
            for imported in imports.get(module, []):
                if (found := visit(imported, [*above, module])) is not None:
                    return found
            done.add(module)
        return None

    return next((found for module in imports if (found := visit(module, [])) is not None), None)


def test_every_kind_of_import_is_seen() -> None:
    source = """\
/** Not an import: from "./comment.js". */
import { a, b as c } from "./names.js";
import * as all from './all.js';
import {
  several,
  lines,
} from "../lines.js";
import "./effect.js";
export { d } from "./again.js";
const later = import("./later.js");
const text = "import x";
"""
    names = ["./names.js", "./all.js", "../lines.js", "./effect.js", "./again.js", "./later.js"]
    assert imports_of(source) == names


def test_a_cycle_is_found_wherever_it_is() -> None:
    a, b, c, d = (Path(name) for name in "abcd")
    assert cycle_in({a: [b, c], b: [c, d], c: [d], d: []}) is None
    assert cycle_in({a: [b], b: [c], c: [d], d: [b]}) == [b, c, d, b]
    assert cycle_in({a: [a]}) == [a, a]


@pytest.mark.parametrize("page", PAGES)
def test_there_is_no_cycle(page: str) -> None:
    imports = modules_of(TOP / page)
    assert imports, "there is no module to look at"
    cycle = cycle_in(imports)
    assert cycle is None, " -> ".join(str(module.relative_to(TOP)) for module in cycle or [])


@pytest.mark.parametrize("page", PAGES)
def test_every_import_is_a_file_of_the_page(page: str) -> None:
    folder = (TOP / page).resolve()
    for module, imported in modules_of(folder).items():
        for each in imported:
            assert each.is_file(), f"{module.name} imports {each}, which does not exist"
            assert each.is_relative_to(folder), f"{module.name} imports {each}, which is not served with the page"
