"""What a soak calls a problem, and where its table goes."""

from collections import Counter
from dataclasses import replace

import pytest

from tests.hostile.limits import BUDGET, MIB, OTHER
from tests.hostile.soak import LEAK, PAGE, POOLED, Sample, Soak, with_table

IDLE = Sample(rss=100 * MIB, descriptors=20, threads=9, journal=0)


def soak(last: Sample = IDLE, **facts: object) -> Soak:
    good = Soak(20, rounds=4, served=4, ends=Counter({"held": 70, "close 4123": 2}), peak=BUDGET)
    good.samples += [IDLE, IDLE, last]
    return replace(good, **facts)


def test_nothing_left_and_everybody_served_is_well() -> None:
    assert soak().problems() == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (soak(replace(IDLE, rss=IDLE.rss + LEAK + 1)), "of memory are left"),
        (soak(replace(IDLE, descriptors=IDLE.descriptors + POOLED + 1)), "open files are left"),
        (soak(replace(IDLE, threads=IDLE.threads + 1)), "1 threads are left"),
        (soak(replace(IDLE, journal=3)), "3 clients are left in the journal"),
        (soak(served=3), "others were not served after 1 of 4 attacks"),
        (soak(peak=BUDGET + OTHER + MIB), "memory grew by 57 MiB, the limit is 56"),
        (soak(ends=Counter({"close 1011": 1})), "1 clients were closed with 1011"),
        (soak(errors=["Traceback", "more"]), "errors are in the log, the first: Traceback"),
    ],
)
def test_each_problem_is_named(found: Soak, words: str) -> None:
    (problem,) = found.problems()
    assert words in problem


def test_the_page_has_a_place_for_the_table() -> None:
    page = with_table(PAGE.read_text(), soak().table())
    assert "| clients left in the journal | 0 |\n<!-- end -->" in page
    with pytest.raises(ValueError, match="no section"):
        with_table("", "")
