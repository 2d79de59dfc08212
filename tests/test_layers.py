"""The order of the package: who may import whom, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
LAYERS = [
    {"errors"},
    {
        "core_dumps",
        "crypto",
        "described",
        "ic.principal",
        "installation",
        "private_files",
        "printable",
        "task_end",
        "threads",
        "whole_files",
    },
    {"ic"},
    {"protocol"},
    {"config"},
    {"gateway", "client", "localnet"},
    {"control", "cluster", "outbound", "plugins", "log", "bench"},
    {"preparation"},
    {"identities", "worker"},
    {"service"},
    {"process", "supervisor"},
    {"cli"},
    {"icws"},
]
"""From the bottom up. What stands side by side does not import each other."""
ROOMS = {
    "gateway": [
        {"sharing"},
        {"tasks", "hooks", "ic", "outbox", "drain", "change", "calls", "connection_handle", "nodes"},
        {"recording"},
        {"absences", "relay", "limits", "hub", "successions", "journal", "budgeted_calls"},
        {"client_verification"},
        {"peer_services"},
        {"polling", "peer"},
        {"epochs"},
        {"connections", "close_calls"},
        {"openings"},
        {"gateway"},
        {"sockets", "local_node"},
    ],
    "client": [
        {"errors", "owner"},
        {"opening", "sessions"},
        {"channel", "loop_thread", "reconnect", "settings"},
        {"codec", "connector"},
        {"connection", "register"},
        {"connecting"},
        {"sync"},
    ],
    "control": [
        {"models"},
        {"http", "reload", "client"},
        {"auth", "health"},
        {"observe"},
        {"control"},
        {"routes", "page"},
        {"app"},
        {"for_nodes"},
        {"plane"},
    ],
    "localnet": [
        {"state"},
        {"canisters"},
        {"replica", "wasm", "websocket"},
        {"subnet"},
        {"management", "storage", "http", "page"},
        {"net"},
    ],
    "bench": [
        {"histogram", "wire", "target", "processes", "calibration", "factor"},
        {"result", "stub", "load"},
        {"testbed", "report"},
        {"scenarios"},
        {"run"},
    ],
    "cli": [
        {"exit_codes", "groups", "loop", "streams", "version"},
        {"remote"},
        {"output"},
        {"diagnosis"},
        {"configure"},
        {"operate", "develop"},
        {"main"},
        {"entry"},
        {"__main__"},
    ],
}
"""The same inside these packages: their modules and folders, from the bottom up."""
NOT_FOR_PROTOCOL = {
    *("asyncio", "concurrent", "select", "selectors", "socket", "ssl", "threading"),
    *("aiohttp", "websockets", "uvloop", "wsproto"),
    *("time", "datetime", "random", "secrets"),
}
"""A session is bytes and time in, events out."""


def _name_of(path: Path) -> str:
    parts = path.relative_to(TOP).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {_name_of(path): path for package in ("appliance", "icws") for path in sorted((TOP / package).rglob("*.py"))}


def imports_of(source: str, module: str, known: set[str]) -> Iterator[str]:
    """What a module imports, wherever in it: modules of the package in full, of others too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known or inner == "appliance._native" else str(node.module)


def _imports(module: str) -> set[str]:
    return set(imports_of(SOURCES[module].read_text(), module, set(SOURCES)))


def _ours(module: str) -> set[str]:
    return {name for name in _imports(module) if name in SOURCES}


def place_of(module: str) -> tuple[int, str]:
    """The layer of a module and what it belongs to there."""
    inner = module.removeprefix("appliance.")
    for level, names in enumerate(LAYERS):
        if inner in names:
            return level, inner
    part = inner.split(".")[0]
    return next((level, part) for level, names in enumerate(LAYERS) if part in names)


def test_the_walk_sees_every_kind_of_import() -> None:
    source = "import a.b\nfrom appliance.ic import agent, X\nfrom appliance import _native\ndef f():\n    import c\n"
    found = set(imports_of(source, "m", {"appliance.ic", "appliance.ic.agent"}))
    assert found == {"a.b", "appliance.ic.agent", "appliance.ic", "appliance._native", "c"}
    assert "appliance.gateway.gateway" in SOURCES


@pytest.mark.parametrize("module", SOURCES)
def test_imports_point_down(module: str) -> None:
    if module == "appliance":
        assert not _ours(module)
        return
    level, part = place_of(module)
    for imported in _ours(module) - {"appliance"}:
        other_level, other_part = place_of(imported)
        assert part == other_part or other_level < level, f"{module} imports {imported}, which is not below it"


def _rooms_of(module: str) -> tuple[str, str] | None:
    parts = module.split(".")[1:]
    return (parts[0], parts[1]) if len(parts) > 1 and parts[0] in ROOMS else None


@pytest.mark.parametrize("module", [name for name in SOURCES if _rooms_of(name)])
def test_rooms_stand_on_each_other(module: str) -> None:
    package, room = _rooms_of(module) or ("", "")
    levels = {name: level for level, names in enumerate(ROOMS[package]) for name in names}
    for imported in _ours(module):
        found = _rooms_of(imported)
        if found is not None and found[0] == package and found[1] != room:
            assert levels[found[1]] < levels[room], f"{module} imports {imported}, which is not below it"


def test_there_is_no_cycle() -> None:
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module not in done:
            for imported in _ours(module):
                visit(imported, (*above, module))
            done.add(module)

    for module in SOURCES:
        visit(module, ())


SESSIONS_OF_CLIENTS = [
    name for name in SOURCES if name.startswith("appliance.client.sessions") or name == "appliance.client.reconnect"
]


@pytest.mark.parametrize(
    "module", [*(name for name in SOURCES if name.startswith("appliance.protocol")), *SESSIONS_OF_CLIENTS]
)
def test_the_protocol_knows_no_loop_no_socket_and_no_clock(module: str) -> None:
    assert not {name.split(".")[0] for name in _imports(module)} & NOT_FOR_PROTOCOL


@pytest.mark.parametrize("module", [name for name in SOURCES if name.startswith("appliance.config")])
def test_the_configuration_knows_errors_principals_and_files_only(module: str) -> None:
    below = {name for name in _ours(module) if not name.startswith("appliance.config")}
    assert below <= {
        "appliance.described",
        "appliance.errors",
        "appliance.ic.principal",
        "appliance.private_files",
        "appliance.threads",
        "appliance.whole_files",
    }


@pytest.mark.parametrize("module", [name for name in SOURCES if name.startswith("appliance.errors")])
def test_errors_import_nothing_else_of_ours(module: str) -> None:
    assert all(name.startswith("appliance.errors") for name in _ours(module) - {"appliance"})


def test_the_load_tool_uses_nothing_of_the_gateway_that_it_measures() -> None:
    below = {name for module in SOURCES if module.startswith("appliance.bench") for name in _ours(module)}
    parts = {name.split(".")[1] for name in below if "." in name}
    assert parts <= {"bench", "errors", "crypto", "ic", "localnet"}
    of_localnet = {name for name in below if name.startswith("appliance.localnet")}
    assert of_localnet == {"appliance.localnet.state.certification"}


def test_each_native_crate_has_one_module_that_imports_it() -> None:
    importers = {name for name in SOURCES if "appliance._native" in _imports(name)}
    assert importers == {"appliance.crypto", "appliance.ic.http.exchanges"}


PARTS = ("connection", "frame_parser", "frames", "handshake")


def test_only_the_connection_and_its_parts_know_the_websocket_library() -> None:
    gateway = [name for name in SOURCES if name.startswith("appliance.gateway")]
    knowing = [name for name in gateway if any(found.split(".")[0] == "websockets" for found in _imports(name))]
    assert knowing == [f"appliance.gateway.sockets.{name}" for name in PARTS]


@pytest.mark.parametrize("path", [path for path in SOURCES.values() if path.name == "__init__.py"], ids=_name_of)
def test_packages_hold_no_logic(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_all = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
        assert is_text or is_all or isinstance(node, ast.Import | ast.ImportFrom), ast.unparse(node)


@pytest.mark.parametrize("name", SOURCES)
def test_a_module_with_more_than_400_lines_is_two(name: str) -> None:
    assert len(SOURCES[name].read_text().splitlines()) <= 400


def test_the_oldest_python_is_new_enough_for_every_file() -> None:
    for path in SOURCES.values():
        ast.parse(path.read_text(), feature_version=(3, 11))
