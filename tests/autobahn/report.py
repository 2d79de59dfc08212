"""The suite's verdicts as a table, and its place in ``docs/reliability.md``."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
GROUPS = {
    "1": "messages of every length",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "reserved opcodes",
    "5": "fragments",
    "6": "UTF-8",
    "7": "closing",
    "9": "large messages and many fragments",
    "10": "frames cut by the sender",
}
"""By the first number of a case."""
VERDICTS = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED")
"""Those that are no failure (the suite's own words). NON-STRICT: right, and later than the suite would like."""
_BEGIN, _END = "<!-- autobahn -->\n", "<!-- end -->\n"


@dataclass(frozen=True)
class Verdict:
    """Of one case: on what was answered, and on how the connection was closed."""

    case: str
    behavior: str
    closing: str

    @property
    def failed(self) -> bool:
        """Whether the suite found a fault."""
        return self.behavior not in VERDICTS or self.closing not in VERDICTS


def read(folder: Path) -> list[Verdict]:
    """The verdicts of a report. Raises OSError, or ValueError where it has no case."""
    report: Mapping[str, Mapping[str, Mapping[str, str]]] = json.loads((folder / "index.json").read_text())
    cases = [case for agent in report.values() for case in agent.items()]
    if not cases:
        raise ValueError(f"{folder} has no case")
    verdicts = [Verdict(name, found["behavior"], found["behaviorClose"]) for name, found in cases]
    return sorted(verdicts, key=lambda verdict: [int(number) for number in verdict.case.split(".")])


def table(verdicts: list[Verdict]) -> str:
    """A line for each group of cases, and one for all."""
    lines = [
        "| cases | | run | OK | non-strict | informational | failed |\n| --- | --- | --- | --- | --- | --- | --- |\n"
    ]
    for number, name in GROUPS.items():
        if chosen := [verdict for verdict in verdicts if verdict.case.split(".")[0] == number]:
            lines.append(_line(f"{number}.*", name, chosen))
    return "".join([*lines, _line("**all**", "", verdicts)])


def _line(cases: str, name: str, verdicts: list[Verdict]) -> str:
    failed = sum(verdict.failed for verdict in verdicts)
    counts = Counter(verdict.behavior for verdict in verdicts if not verdict.failed)
    cells = [len(verdicts), *(counts[each] for each in VERDICTS[:3]), failed]
    return f"| {cases} | {name} | {' | '.join(map(str, cells))} |\n"


def with_table(page: str, table: str) -> str:
    """The page with another table. Raises ValueError where it has no place for it."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no section for the suite's table")
    return before + begin + table + end + after
