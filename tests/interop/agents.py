"""Agents of the field at the local network, as it is by default: what they do, for the table in docs/localnet.md."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.localnet.net import Localnet
from tests.interop import builds, node, rust
from tests.interop.table import Cell, numbered, table
from tests.interop.test_deploy import COUNTER
from tests.localnet.wasm.modules import custom_section, module
from tests.needs import lacks

TALKING = COUNTER.replace("STEP", "1").replace(
    '(func (export "canister_init")', '(func (export "canister_init") (call $debug_print (i32.const 40) (i32.const 5))'
)
DID = b"service : { add : () -> (nat64); peek : () -> (nat64) query }"
SMALL = module(TALKING + '(data (i32.const 40) "hello")') + custom_section("icp:public candid:service", DID)
LARGE = SMALL + custom_section("fill", bytes(2_500_000))
"""Installed in chunks."""

COLUMNS = ("create", "install", "call", "query, verified", "status")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "localnet.md"
MARK = "agents"
"""Of the section in ``PAGE``."""
INTRODUCTION = """\
Agents that are run, unmodified, against this network as it is by default (`make interop`): each creates a canister,
installs it, calls and queries it, and reads its status.
"""
NO_VERIFICATION = "It verifies nothing."
NO_BLS = "Its certificates are not verified: the package for that is on no index."

Steps = dict[str, Any]
"""What an agent has seen, by step."""


@dataclass(frozen=True)
class Agent:
    """An agent by its name and release, how it is driven, and what must be said of its columns."""

    name: str
    language: str
    run: Callable[[Localnet, Path], Awaitable[Steps]]
    project: str | None = None
    needs_build: bool = False
    notes: tuple[str, ...] = ()
    verifies_queries: bool = True


def render(found: Mapping[str, Mapping[str, Cell]]) -> str:
    """The table of agents with these rows, by the names of the agents."""
    languages = {agent.name: agent.language for agent in AGENTS}
    cells = {(name, languages[name], column): cell for name, row in found.items() for column, cell in row.items()}
    notes = list(dict.fromkeys(note for cell in cells.values() for note in cell.notes))
    return (
        INTRODUCTION
        + "\n"
        + table(cells, notes, "language").replace("| client", "| agent ", 1)
        + "".join(numbered(notes))
    )


def need(agent: Agent, project: Callable[[str], object]) -> None:
    """Skip or fail the test of an agent that cannot run here."""
    if agent.project is not None:
        project(agent.project)
    if agent.needs_build:
        try:
            rust.program()
        except builds.NotBuilt as missing:
            lacks(missing, "interop")


async def row(agent: Agent, folder: Path) -> dict[str, Cell]:
    """The row of an agent. Raises AssertionError for what goes wrong, node.Unavailable, and builds.NotBuilt."""
    for name, code in {"module": SMALL, "large": LARGE}.items():
        (folder / name).write_bytes(code)
    async with Localnet() as net:
        seen = await agent.run(net, folder)
    assert "failed" not in seen, seen
    assert seen["created"]["id"] == "bkyz2-fmaaa-aaaaa-qaaaq-cai"
    assert "installed" in seen
    assert seen["called"]["answers"][:2] == [1, 2]
    assert seen.get("queried", {"answer": seen["called"]["answers"][-1]})["answer"] == 2
    status = seen["status"]
    assert (str(status["status"]).lower(), int(status["cycles"])) == ("running", 10**12)
    yes = Cell("yes", agent.notes)
    query = Cell("yes") if agent.verifies_queries else Cell("unverified")
    return dict(zip(COLUMNS, (yes, yes, yes, query, yes), strict=True))


def _javascript(project: str, name: str) -> Agent:
    async def run(net: Localnet, folder: Path) -> Steps:
        options = {"networkUrl": net.url, "module": str(folder / "module")}
        async with node.Driver(node.project(project), "life.cjs", options) as driver:
            return {line["step"]: line for line in await driver.lines()}

    return Agent(name, "JavaScript", run, project=project)


def _python(library: str, name: str, *, notes: tuple[str, ...] = (), verifies_queries: bool = True) -> Agent:
    async def run(net: Localnet, folder: Path) -> Steps:
        options = json.dumps({"networkUrl": net.url, "module": str(folder / "module")})
        script = str(node.HERE / "drivers" / "life.py")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "ignore", script, library, options, stdout=asyncio.subprocess.PIPE
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(), 4 * node.PATIENCE_S)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        lines = [json.loads(line) for line in out.splitlines()]
        return {line["step"]: line for line in lines}

    return Agent(name, "Python", run, notes=notes, verifies_queries=verifies_queries)


async def _rust(net: Localnet, folder: Path) -> Steps:
    options = {
        "networkUrl": net.url,
        "canisterId": "bkyz2-fmaaa-aaaaa-qaaaq-cai",
        "subnetId": str(net.subnet_id),
        **{name: str(folder / name) for name in ("module", "large")},
    }
    return await rust.steps(options)


AGENTS = (
    Agent("ic-agent and ic-utils 0.49.3", "Rust", _rust, needs_build=True),
    _javascript("icp-sdk-core-6", "@icp-sdk/core 6.1.0"),
    _javascript("dfinity-agent-3.4.3", "@dfinity/agent 3.4.3"),
    _javascript("dfinity-agent-2.4.1", "@dfinity/agent 2.4.1"),
    _python("icp", "icp-py-core 2.3.1", notes=(NO_BLS,)),
    _python("ic", "ic-py 1.0.1", notes=(NO_VERIFICATION,), verifies_queries=False),
)
