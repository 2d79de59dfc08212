"""The catalogue keeps to the rules of Prometheus, and to its own."""

import re

import pytest

from appliance import errors
from appliance.control.observe.catalogue import CATALOGUE, Metric
from appliance.control.observe.labels import CLIENT_CODES, CODE, GENERATION, HOP, MODE, OTHER, REASON
from appliance.errors import GatewayError, RateLimited
from appliance.gateway.recording.measurements import Latencies

every = pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)


@every
def test_names_say_what_a_metric_is(metric: Metric):
    assert re.fullmatch(r"(icws|process)_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.type == "counter")
    assert metric.type != "histogram" or metric.unit == "seconds"
    assert not re.search(r"_(ms|milliseconds|minutes|kb|kib|mb|percent|count|sum|bucket)(_|$)", metric.name)


@every
def test_every_metric_is_explained_and_bounded(metric: Metric):
    assert metric.help.endswith(".")
    assert "\n" not in metric.help
    assert len({label.name for label in metric.labels}) == len(metric.labels)
    for label in metric.labels:
        assert re.fullmatch(r"[a-z]+", label.name)
        assert label.meaning
        assert label.values is None or label.bound in (len(label.values), len(label.values) + 1)
        assert 0 < label.bound <= 1001
    assert metric.bound <= 1100


def test_names_are_there_once():
    names = [metric.name for metric in CATALOGUE]
    assert len(set(names)) == len(names)
    # in OpenMetrics a counter is called without its ending
    assert len({name.removesuffix("_total") for name in names}) == len(names)


def test_what_is_not_expected_is_other():
    assert REASON.of("rate_limited") == "rate_limited"
    assert REASON.of("nobody's reason") == OTHER
    assert CODE.of(4108) == "4108"
    assert CODE.of(0) == CODE.of(4999) == OTHER


def test_every_error_has_its_label():
    """Also one whose class is new: labels are read from the tree."""
    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, GatewayError)]
    assert RateLimited in found
    for error in found:
        assert REASON.of(error.reason) == error.reason
        assert CODE.of(error.close_code) == str(error.close_code)
    assert {str(code) for code in CLIENT_CODES} <= CODE.values


def test_closed_labels_are_what_the_code_says():
    assert {"v0", "v1", "v2"} == GENERATION.values
    assert {"shadow", "enforce"} == MODE.values
    assert HOP.values <= set(Latencies.__dataclass_fields__)
