"""Results for the tests of reports."""

from typing import Any

from appliance.bench.histogram import Histogram
from appliance.bench.result import Load, Result


def result(scenario: str = "echo", **changes: Any) -> Result:
    """One in which nothing went wrong: 100 messages in 2 s, 400 µs each, of them 300 on the loop."""
    latency = Histogram()
    for value in range(1, 101):
        latency.record(value * 1_000_000)
    fields = {
        "unit": "messages",
        "load": Load(clients=5, rate=50, seconds=2),
        "offered": 100,
        "done": 100,
        "wall_s": 2.0,
        "cpu_s": 0.04,
        "loop_cpu_s": 0.03,
        "rss": 80 * 2**20,
        "threads": 4,
        "calibration_s": 0.02,
        "bytes": 250_000,
        "frames": 100,
        "verified": 3,
        "latency": latency,
    }
    return Result(scenario, **(fields | changes))
