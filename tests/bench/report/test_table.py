"""The table."""

from appliance.bench.histogram import Histogram
from appliance.bench.report.table import HEADS, figure, row, table
from tests.bench.report.results import result


def test_each_result_is_a_line_and_notes_and_faults_follow() -> None:
    lines = table([result(), result("up-50", lost=2, note="a note", latency=Histogram())]).splitlines()
    assert lines[0].split() == " ".join(HEADS).split()
    assert lines[1].split()[:6] == ["echo", "100", "100", "50.0", "400", "300"]
    assert lines[3:] == ["up-50: a note", "up-50: 2 messages were lost"]


def test_what_is_not_known_is_a_dash() -> None:
    cells = dict(zip(HEADS, row(result(cpu_s=None, latency=Histogram())), strict=True))
    assert (cells["CPU µs"], cells["cores"], cells["p99"]) == ("-", "-", "-")


def test_small_figures_have_a_decimal() -> None:
    assert [figure(value) for value in (None, 9.84, 99.96, 123.4)] == ["-", "9.8", "100.0", "123"]
