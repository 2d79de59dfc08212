import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from appliance.config.fields.units import (
    PATTERNS,
    WRITTEN,
    Duration,
    Rate,
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(
            ("50ms", 0.05),
            ("1.5s", 1.5),
            ("5m", 300.0),
            ("1h", 3600.0),
            ("30d", 2592000.0),
            ("0s", 0.0),
            ("10 s", 10.0),
        ),
        *(("5min", 300.0), ("10sec", 10.0), ("2hours", 7200.0), ("1day", 86400.0), ("20msec", 0.02)),
        *(("1m30s", 90.0), ("1m 3s", 63.0), ("1h30min", 5400.0), ("1d12h", 129600.0), ("1s500ms", 1.5)),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("value", ["50", "", "ms", "5M", "-1s", "1s2", "1,5s", "٣s", 50, 0.5, True, None, ["1s"]])
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(value)


@pytest.mark.parametrize("text", ["30s1m", "1m1m", "1m60sec1s", "1m30", "m30s", "1h-5m", "1mx30s"])
def test_a_sum_of_durations_has_each_unit_once_and_the_largest_first(text: str) -> None:
    with pytest.raises(ValueError, match=rf"{text!r} is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        *(("64KiB", 65536), ("2MB", 2_000_000), (5, 5), ("5", 5), ("1.5MiB", 1572864), ("7 B", 7), ("1GiB", 2**30)),
        *(("64M", 2**26), ("8k", 8192), ("2 G", 2**31), ("1KB", 1000)),
    ],
)
def test_sizes_are_read(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["", "KiB", "1kb", "1 TiB", "-1", True, None, 1.5, "1" * 400])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(value)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        *(("20/s", 20.0), ("90/m", 1.5), ("6/h", 6 / 3600), ("0.5/s", 0.5), ("3 / m", 0.05), ("0/s", 0.0)),
        *(("20/sec", 20.0), ("90/min", 1.5), ("6/hour", 6 / 3600), ("1/second", 1.0)),
    ],
)
def test_rates_are_read(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("value", ["20", "", "/s", "20/d", "20/S", "-1/s", "1/2s", "٣/s", 20, 0.5, True, None, ["1/s"]])
def test_what_is_no_rate_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(value)


@given(st.builds(lambda number, unit: parse_rate(f"{number}/{unit}"), st.integers(0, 10**9), st.sampled_from("smh")))
@example(0.1)
def test_a_formatted_rate_reads_as_itself(rate: float) -> None:
    assert parse_rate(format_rate(rate)) == rate


@given(st.floats(1 / 3600, 1e6))
def test_any_rate_reads_as_itself(rate: float) -> None:
    assert parse_rate(format_rate(rate)) == rate


@given(st.integers(0, 10**15))
def test_a_formatted_size_reads_as_itself(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(0, 10**10).map(lambda ms: ms / 1000) | st.floats(0.001, 1e6))
def test_a_formatted_duration_reads_as_itself(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(("quantity", "hint"), [(Duration, "a number with a unit"), (Rate, "a number per second")])
def test_a_number_is_seconds_in_code_and_refused_where_people_write(quantity: object, hint: str) -> None:
    adapter = TypeAdapter(quantity)
    assert adapter.validate_python(0.5) == 0.5
    with pytest.raises(ValidationError, match=hint):
        adapter.validate_python(0.5, context=WRITTEN)


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_the_pattern_for_other_programs_is_the_same_each_time(pattern: str) -> None:
    for units in re.findall(r"\(([A-Za-z|]+)\)", pattern):
        assert units.split("|") == sorted(units.split("|"), key=lambda unit: (-len(unit), unit))
