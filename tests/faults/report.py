"""The tables in ``docs/reliability.md``: what became of the messages in all schedules, by family of faults."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.faults import kinds
from tests.faults.harness import Outcome
from tests.faults.kinds import FAULTS
from tests.faults.oracle import Tally
from tests.tables import with_table as replaced

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
NETWORKS = {False: "at once", True: "like the mainnet"}
"""The sections of the page, by whether the run had ``--like-mainnet``."""
MIXED = "several at once"
_FAMILIES: Mapping[str, str] = {
    kinds.transport.__name__: "connections",
    kinds.statuses.__name__: "statuses and headers",
    kinds.bodies.__name__: "bodies",
    kinds.certificates.__name__: "certificates",
    kinds.queue.__name__: "queues",
}
_HEAD = """\
| faults | kinds | schedules | strikes | sessions | offered | delivered | told lost | silently lost | repeated |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def family_of(schedule: str) -> str:
    """The family of the fault that a schedule is named after."""
    name = schedule.partition("/")[0]
    if name == "mixed":
        return MIXED
    return _FAMILIES[FAULTS[name].module]


def table(outcomes: Sequence[Outcome]) -> str:
    """A line for each family, and one for all."""
    families = [*_FAMILIES.values(), MIXED]
    of = {family: [each for each in outcomes if family_of(each.schedule.name) == family] for family in families}
    lines = [_line(family, found) for family, found in of.items() if found]
    return _HEAD + "".join([*lines, _line("**all**", outcomes)])


def _line(name: str, outcomes: Sequence[Outcome]) -> str:
    messages = sum((outcome.messages for outcome in outcomes), Tally())
    cells = [
        len(set(_kinds(outcomes))),
        len(outcomes),
        sum(outcome.strikes.total() for outcome in outcomes),
        sum(outcome.sessions for outcome in outcomes),
        messages.offered,
        messages.delivered,
        messages.told_lost,
        messages.silently_lost,
        messages.repeated,
    ]
    return f"| {name} | " + " | ".join(f"{cell:,}" for cell in cells) + " |\n"


def _kinds(outcomes: Iterable[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        yield from (rule.fault for rule in outcome.schedule.rules)


def with_table(page: str, table: str, *, like_mainnet: bool) -> str:
    """The page with another table of a network. Raises ValueError where it has no place for it."""
    return replaced(page, f"faults: {NETWORKS[like_mainnet]}", table)
