import json

import pytest

from distribution.audit import Verdict, read_deny, read_pip_audit

CLEAN = {"name": "a", "version": "1", "vulns": []}
UNKNOWN = {"name": "b", "skip_reason": "not found"}
FAULTY = {"name": "c", "version": "3", "vulns": [{"id": "PYSEC-1"}]}


@pytest.mark.parametrize(
    ("code", "output", "verdict"),
    [
        (0, "", Verdict.CLEAN),
        (1, "error: failed to fetch advisory database", Verdict.SKIPPED),
        (1, "error[vulnerability]: …", Verdict.FAILED),
        (2, "error: unexpected argument", Verdict.FAILED),
    ],
)
def test_without_a_database_the_crates_are_not_clean_but_skipped(code: int, output: str, verdict: Verdict) -> None:
    assert read_deny("crates", code, output).verdict is verdict


@pytest.mark.parametrize(
    ("packages", "verdict", "detail"),
    [
        ([CLEAN], Verdict.CLEAN, ""),
        ([CLEAN, UNKNOWN], Verdict.SKIPPED, "the database does not know 1 of 2 packages"),
        ([UNKNOWN, FAULTY], Verdict.FAILED, "c 3: PYSEC-1"),
    ],
)
def test_what_the_database_does_not_know_is_no_clean_package(packages: list, verdict: Verdict, detail: str) -> None:
    finding = read_pip_audit("lock", json.dumps({"dependencies": packages}), "")
    assert (finding.verdict, finding.detail) == (verdict, detail)


def test_a_report_that_is_none_is_no_verdict() -> None:
    finding = read_pip_audit("lock", "", "Traceback\nConnectionError: no route\n")
    assert finding.verdict is Verdict.SKIPPED
    assert "ConnectionError: no route" in str(finding)
