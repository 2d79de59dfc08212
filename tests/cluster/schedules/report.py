"""The table in ``docs/reliability.md``: what became of the messages while nodes and their engine failed."""

from collections.abc import Sequence
from pathlib import Path

from tests.cluster.schedules.harness import Outcome
from tests.cluster.schedules.oracle import Tally
from tests.tables import with_table as replaced

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reliability.md"
NAME = "faults: cluster"
_HEAD = """\
| fault | schedules | sessions | sent | delivered | told | lost | doubled | close calls made twice |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def table(outcomes: Sequence[Outcome]) -> str:
    """A line for each fault, and one for all."""
    of: dict[str, list[Outcome]] = {}
    for each in outcomes:
        of.setdefault(each.schedule.name.partition("/")[0], []).append(each)
    lines = [_line(fault.replace("_", " "), found) for fault, found in of.items()]
    return _HEAD + "".join([*lines, _line("**all**", outcomes)])


def _line(name: str, outcomes: Sequence[Outcome]) -> str:
    messages = sum((outcome.messages for outcome in outcomes), Tally())
    cells = [
        len(outcomes),
        sum(outcome.sessions for outcome in outcomes),
        messages.sent,
        messages.delivered,
        messages.told,
        messages.lost,
        messages.doubled,
        sum(outcome.told_twice for outcome in outcomes),
    ]
    return f"| {name} | " + " | ".join(f"{cell:,}" for cell in cells) + " |\n"


def with_table(page: str, table: str) -> str:
    """The page with another table. Raises ValueError where it has no place for it."""
    return replaced(page, NAME, table)
