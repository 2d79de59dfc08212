"""The table of the suite's verdicts."""

import json
from pathlib import Path

import pytest

from tests.autobahn.report import PAGE, Verdict, read, table, with_table


def report(folder: Path, **cases: tuple[str, str]) -> Path:
    found = {
        name.strip("c").replace("_", "."): {"behavior": verdict, "behaviorClose": closing}
        for name, (verdict, closing) in cases.items()
    }
    (folder / "index.json").write_text(json.dumps({"icws": found}))
    return folder


def test_verdicts_are_counted_by_group(tmp_path: Path) -> None:
    verdicts = read(report(tmp_path, c7_1_10=("OK", "FAILED"), c7_1_9=("NON-STRICT", "OK"), c1_1=("OK", "OK")))
    assert [verdict.case for verdict in verdicts] == ["1.1", "7.1.9", "7.1.10"]
    assert [verdict.failed for verdict in verdicts] == [False, False, True]
    *_, one, seven, everything = table(verdicts).splitlines()
    assert one == "| 1.* | messages of every length | 1 | 1 | 0 | 0 | 0 |"
    assert seven == "| 7.* | closing | 2 | 0 | 1 | 0 | 1 |"
    assert everything == "| **all** |  | 3 | 1 | 1 | 0 | 1 |"


def test_a_suite_that_ran_nothing_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no case"):
        read(report(tmp_path))


def test_the_page_has_a_place_for_it() -> None:
    page = with_table(PAGE.read_text(), table([Verdict("1.1", "OK", "OK")]))
    assert "| **all** |  | 1 | 1 | 0 | 0 | 0 |\n<!-- end -->" in page
    with pytest.raises(ValueError, match="no section"):
        with_table("", "")
