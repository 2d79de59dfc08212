"""The fixed work is the same each time."""

from appliance.bench.calibration import Calibration


def test_the_work_costs_cpu() -> None:
    assert Calibration().cpu_s() > 0
