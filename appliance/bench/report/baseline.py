"""A run compared with an earlier one.

CPU is compared in units of the calibration that was measured beside it, so a slower machine or a busy neighbour does
not look like a slower gateway. Latency depends on everything else that runs, so it is not compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.bench.report.table import aligned, figure
from appliance.bench.result import Result


@dataclass(frozen=True)
class Change:
    """``ratio`` is now to then: above 1 the gateway needs more. ``then`` and ``now`` are in ``unit``."""

    scenario: str
    unit: str
    then: float
    now: float
    ratio: float

    def is_worse(self, tolerance: float) -> bool:
        """Whether it needs more than the tolerated part (0.3: 30 %) on top."""
        return self.ratio > 1 + tolerance


def _calibrated(value: Callable[[Result], float | None]) -> Callable[[Result], float | None]:
    def in_calibrations(result: Result) -> float | None:
        found = value(result)
        return found / result.calibration_s if found is not None and result.calibration_s else None

    return in_calibrations


def _bytes_of_session(result: Result) -> float | None:
    # Pages come and go in the process by the MiB: less than a KiB a session is noise, and negative is none.
    return None if result.rss_per_session is None else max(1024.0, result.rss_per_session)


_MEASURES: dict[str, tuple[Callable[[Result], float | None], Callable[[Result], float | None]]] = {
    "CPU µs": (lambda result: result.cpu_us, _calibrated(lambda result: result.cpu_us)),
    "cores": (
        lambda result: result.cores if result.is_quiet else None,
        _calibrated(lambda result: result.cores if result.is_quiet else None),
    ),
    "bytes a frame": (lambda result: result.bytes_per_frame, lambda result: result.bytes_per_frame),
    "bytes a session": (lambda result: result.rss_per_session, _bytes_of_session),
}
"""By unit: the figure that is shown, and the one that is compared."""


def changes(results: Sequence[Result], baseline: Sequence[Result]) -> list[Change]:
    """Compare the scenarios that both runs have."""
    earlier = {result.scenario: result for result in baseline}
    found = []
    for now in results:
        then = earlier.get(now.scenario)
        if then is not None:
            found += [change for unit in _MEASURES if (change := _change(unit, then, now)) is not None]
    return found


def _change(unit: str, then: Result, now: Result) -> Change | None:
    shown, compared = _MEASURES[unit]
    before, after = compared(then), compared(now)
    if not before or after is None:
        return None
    return Change(now.scenario, unit, shown(then) or 0.0, shown(now) or 0.0, after / before)


def comparison(found: Sequence[Change], tolerance: float) -> str:
    """Return the changes as a table, the worse ones marked."""
    rows = [["compared with the baseline", "", "then", "now", "ratio", ""]]
    for one in found:
        digits = 3 if one.unit == "cores" else None
        mark = "worse" if one.is_worse(tolerance) else ""
        rows.append(
            [one.scenario, one.unit, figure(one.then, digits), figure(one.now, digits), f"{one.ratio:.2f}", mark]
        )
    return aligned(rows)
