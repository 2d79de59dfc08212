"""The page: well-formed, complete, and loads nothing."""

import re
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.bench.histogram import Histogram
from appliance.bench.report.document import machine
from appliance.bench.report.page import page
from appliance.bench.report.plots import bars, latency_curves
from tests.bench.report.results import result


def test_a_page_shows_every_result_and_loads_nothing() -> None:
    text = page([result(), result("a<b", note="x & y", closes={"<why>": 1})], machine(), "1.0")
    assert "<td>echo</td>" in text
    assert "a&lt;b" in text
    assert "x &amp; y" in text
    assert "&lt;why&gt;" in text
    assert not re.search(r"https?:|<script|<link|src=|url\(", text)


def test_a_page_without_figures_has_no_plots() -> None:
    assert "<svg" not in page([result(cpu_s=None, latency=Histogram())], machine(), "1.0")


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=50))
def test_curves_stay_inside_the_picture(values: list[int]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    svg = Xml.fromstring(latency_curves({"one": list(histogram.points())}))  # noqa: S314 - our own
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    (curve,) = svg.iter("polyline")
    for corner in curve.attrib["points"].split():
        x, y = map(float, corner.split(","))
        assert 0 <= x <= width
        assert 0 <= y <= height


def test_bars_are_as_long_as_their_values() -> None:
    svg = Xml.fromstring(bars([("a", 10.0), ("b", 5.0)]))  # noqa: S314 - our own
    first, second = (float(bar.attrib["width"]) for bar in svg.iter("rect"))
    assert first == pytest.approx(2 * second, rel=0.01)
