"""The slice of the schedules that CI runs; ``make cluster-soak`` runs all of them."""

import pytest

from tests.cluster.schedules.faults import FAULTS
from tests.cluster.schedules.harness import Outcome, run
from tests.cluster.schedules.oracle import Tally
from tests.cluster.schedules.report import NAME, PAGE, table, with_table
from tests.cluster.schedules.schedule import Schedule, names, schedule


@pytest.mark.timeout(1200)
async def test_everything_arrives_once_and_in_order_or_the_client_is_told() -> None:
    slice_ = Schedule("slice", (("killed", "engine_half_open_to_one"), ("engine_killed",)), "always")
    outcome = await run(slice_)
    assert not outcome.problems, outcome.report()


@pytest.mark.parametrize("name", list(names()))
def test_a_schedule_follows_from_its_name(name: str) -> None:
    one, other = schedule(name), schedule(name)
    assert one == other
    assert one.settings().random.random() == other.settings().random.random()
    for group in one.faults:
        struck = [each for fault in group for each in FAULTS[fault].struck]
        assert len(set(struck)) == len(struck)


@pytest.mark.parametrize("name", ["", "killed", "killed/never", "nonsense/1", "mixed/one"])
def test_other_names_are_none(name: str) -> None:
    with pytest.raises(KeyError):
        schedule(name)


def test_the_table_adds_up() -> None:
    outcomes = [
        Outcome(schedule("killed/0"), sessions=12, messages=Tally(1000, 990, 10, 0, 0), told_twice=1),
        Outcome(schedule("killed/1"), sessions=13, messages=Tally(500, 500, 0, 0, 0)),
        Outcome(schedule("mixed/0"), sessions=9, messages=Tally(7, 4, 1, 2, 3)),
    ]
    lines = [[cell.strip() for cell in line.split("|")[2:-1]] for line in table(outcomes).splitlines()[2:]]
    assert lines == [
        ["2", "25", "1,500", "1,490", "10", "0", "0", "1"],
        ["1", "9", "7", "4", "1", "2", "3", "0"],
        ["3", "34", "1,507", "1,494", "11", "2", "3", "1"],
    ]


def test_the_page_has_a_table_in_which_no_message_is_lost_or_doubled() -> None:
    page = PAGE.read_text()
    assert "NEW TABLE\n" in with_table(page, "NEW TABLE\n")
    shown = page.partition(f"<!-- {NAME} -->\n")[2].partition("<!-- end -->")[0]
    total = shown.splitlines()[-1].split("|")
    assert total[1].strip() == "**all**"
    assert total[-4:-2] == [" 0 ", " 0 "]
