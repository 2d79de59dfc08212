"""Runs every client through the gateway, and every agent against the local network, and writes the tables in README.md
and docs/localnet.md: ``python -m tests.interop``.
"""

import asyncio
import logging
import sys
import tempfile
from itertools import groupby
from pathlib import Path

import pytest
import structlog

from tests.demo import NotBuilt
from tests.interop import agents, builds
from tests.interop.node import Unavailable
from tests.interop.scenarios import EXAMINATIONS, Examination
from tests.interop.table import README, Cell, Key, read, render, section_of, with_section


async def find() -> dict[Key, Cell]:
    """What the run finds; a client that is only known by its recording keeps its row where the recording is missing.

    Raises Unavailable where an SDK cannot be run, NotBuilt without the demo canister, and what a scenario raises that
    goes wrong.
    """
    found: dict[Key, Cell] = {}
    for (client, generation), row in groupby(EXAMINATIONS, key=lambda examination: examination.key[:2]):
        say(f"{client} ({generation}): ")
        found |= await find_row(list(row))
        say("\n")
    return found


async def find_row(row: list[Examination]) -> dict[Key, Cell]:
    """The same for one client."""
    found: dict[Key, Cell] = {}
    try:
        for examination in row:
            found[examination.key] = await examination.run()
            say(f"{examination.column} {found[examination.key].word}; ")
    except pytest.skip.Exception as missing:
        say(f"as it was, for {missing}")
        known = read(section_of(README.read_text()))
        return {examination.key: known[examination.key] for examination in row}
    return found


async def find_agents() -> dict[str, dict[str, Cell]]:
    """The rows of all agents. Raises as `find` does."""
    found = {}
    for agent in agents.AGENTS:
        with tempfile.TemporaryDirectory() as folder:
            found[agent.name] = await agents.row(agent, Path(folder))
        say(f"{agent.name}\n")
    return found


def say(text: str) -> None:
    """Show how far the run is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> None:
    """Leaves the pages as they are where anything goes wrong."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        section, of_agents = render(asyncio.run(find())), agents.render(asyncio.run(find_agents()))
    except (Unavailable, NotBuilt, builds.NotBuilt) as missing:
        sys.exit(str(missing))
    README.write_text(with_section(README.read_text(), section))
    agents.PAGE.write_text(with_section(agents.PAGE.read_text(), of_agents, agents.MARK))


if __name__ == "__main__":
    main()
