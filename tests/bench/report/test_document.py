"""What is kept as JSON comes back."""

import json

import pytest

from appliance.bench.factor import Step
from appliance.bench.report.document import document, results_of
from appliance.bench.target import BenchFailed
from tests.bench.report.results import result


def test_results_come_back() -> None:
    results = [result(), result("idle-sessions", is_quiet=True, cpu_s=None, rss_per_session=9000.0)]
    kept = json.loads(json.dumps(document(results, [Step("verify BLS", 1000, 2000)])))
    assert results_of(kept) == results
    assert (kept["machine"]["factor"], kept["machine"]["steps_us"]) == (pytest.approx(2), {"verify BLS": 2000})
    assert kept["results"][0]["latency_ms"]["p50"] == pytest.approx(50, rel=1 / 64)
    assert kept["results"][0]["cpu_us"] == 400


@pytest.mark.parametrize("data", [{}, [], {"format": 2}, {"format": 1}, {"format": 1, "results": [{}]}])
def test_something_else_is_no_baseline(data: object) -> None:
    with pytest.raises(BenchFailed, match="baseline"):
        results_of(data)  # type: ignore[arg-type]
