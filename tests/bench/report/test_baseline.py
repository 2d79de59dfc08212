"""Comparison by ratios."""

import pytest

from appliance.bench.report.baseline import changes, comparison
from appliance.bench.result import Result
from tests.bench.report.results import result


def ratios(now: Result, then: Result) -> dict[str, float]:
    return {change.unit: change.ratio for change in changes([now], [then])}


def test_a_machine_of_half_the_speed_is_no_slower_gateway() -> None:
    slow = result(cpu_s=0.08, calibration_s=0.04)
    assert ratios(slow, result()) == {"CPU µs": pytest.approx(1.0), "bytes a frame": 1.0}


def test_twice_the_cpu_is_worse() -> None:
    found = changes([result(cpu_s=0.08)], [result()])
    assert [change.unit for change in found if change.is_worse(0.3)] == ["CPU µs"]
    assert "worse" in comparison(found, 0.3)
    assert "worse" not in comparison(found, 1.5)


def test_idle_sessions_are_compared_by_cores_and_memory() -> None:
    then = result(is_quiet=True, frames=0, rss_per_session=10_000.0)
    now = result(is_quiet=True, frames=0, rss_per_session=5_000.0, cpu_s=0.02)
    assert ratios(now, then) == {"cores": 0.5, "bytes a session": 0.5}


def test_scenarios_that_only_one_run_has_are_left_out() -> None:
    assert changes([result("echo")], [result("up-50")]) == []
    assert ratios(result(failure="no", cpu_s=None, frames=0), result()) == {}
