"""The page with the results of all schedules."""

from collections import Counter

import pytest

from tests.faults.harness import Outcome
from tests.faults.kinds import FAULTS
from tests.faults.oracle import Tally
from tests.faults.report import MIXED, NETWORKS, PAGE, family_of, table, with_table
from tests.faults.schedule import names, schedule


def outcome(name: str, **tally: int) -> Outcome:
    return Outcome(schedule(name), strikes=Counter(x=2), sessions=4, messages=Tally(**tally))


def test_every_schedule_is_of_a_family() -> None:
    assert len({family_of(name) for name in names()}) == 6
    assert family_of("mixed/3") == MIXED


def test_the_table_adds_up() -> None:
    faults = list(FAULTS)
    outcomes = [
        outcome(f"{faults[0]}/beside", offered=1000, delivered=1000),
        outcome(f"{faults[0]}/talking", offered=30, delivered=20, told_lost=10),
        outcome(f"{faults[-1]}/talking", offered=7, delivered=5, silently_lost=2, repeated=3),
    ]
    lines = [[cell.strip() for cell in line.split("|")[2:-1]] for line in table(outcomes).splitlines()[2:]]
    assert lines[-1] == ["2", "3", "6", "12", "1,037", "1,025", "10", "2", "3"]
    for column in zip(*lines, strict=True):
        *parts, total = (int(cell.replace(",", "")) for cell in column)
        assert sum(parts) == total


@pytest.mark.parametrize("like_mainnet", NETWORKS)
def test_the_page_has_a_table_of_each_network_in_which_no_message_is_silently_lost_or_repeated(
    like_mainnet: bool,
) -> None:
    page = PAGE.read_text()
    assert "NEW TABLE\n" in with_table(page, "NEW TABLE\n", like_mainnet=like_mainnet)
    shown = page.partition(f"<!-- faults: {NETWORKS[like_mainnet]} -->\n")[2].partition("<!-- end -->")[0]
    total = shown.splitlines()[-1].split("|")
    assert total[1].strip() == "**all**"
    assert total[-3:-1] == [" 0 ", " 0 "]
