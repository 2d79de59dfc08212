"""The table of agents in docs/localnet.md holds what is true today."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.agents import AGENTS, MARK, PAGE, Agent, need, render, row
from tests.interop.table import section_of


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
async def test_a_row_says_what_the_run_finds(agent: Agent, project: Callable[[str], Path], tmp_path: Path) -> None:
    need(agent, project)
    found = {agent.name: await row(agent, tmp_path)}
    lines = render(found).splitlines()
    (rendered,) = (line for line in lines if agent.name in line)
    words = [cell.split(" (")[0].strip() for cell in rendered.split("|")[1:-1]]
    (written,) = (line for line in section_of(PAGE.read_text(), MARK).splitlines() if f"| {agent.name} " in line)
    assert [cell.split(" (")[0].strip() for cell in written.split("|")[1:-1]] == words, (
        "`make interop` writes what is true"
    )


def test_the_table_has_a_row_for_each_agent() -> None:
    rows = [line for line in section_of(PAGE.read_text(), MARK).splitlines() if line.startswith("| ")]
    assert [line.split("|")[1].strip() for line in rows[2:]] == [agent.name for agent in AGENTS]
