from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.output.formatting import ago, clock, counted, duration, number, size, time

MOMENT = datetime(2026, 3, 4, 5, 6, 7, 89000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0s"),
        (0.00042, "420µs"),
        (0.05, "50ms"),
        (1, "1s"),
        (1.25, "1.2s"),
        (9.96, "10s"),
        (59, "59s"),
        (60, "1m"),
        (61, "1m 1s"),
        (3600, "1h"),
        (3661, "1h 1m"),
        (90_000, "1d 1h"),
        (86_460, "1d"),
        (-5, "-5s"),
    ],
)
def test_durations(seconds: float | None, text: str):
    assert duration(seconds) == text


@given(st.floats(0, 1e8))
def test_a_duration_is_short_and_never_far_off(seconds: float):
    text = duration(seconds)
    assert len(text) <= 9
    units = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    total = 0.0
    for part in text.split():
        unit = next(unit for unit in units if part.endswith(unit))
        total += float(part.removesuffix(unit)) * units[unit]
    smallest = units[next(unit for unit in units if text.endswith(unit))]
    biggest = units[next(unit for unit in units if text.split()[0].endswith(unit))]
    assert abs(total - seconds) <= max(smallest, biggest / 24 if biggest >= 86400 else biggest / 60, 0.5) * 1.001


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (10 * 1024, "10 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (3 * 1024**3, "3.0 GiB"),
        (5000 * 1024**4, "5000 TiB"),
    ],
)
def test_sizes(count: int | None, text: str):
    assert size(count) == text


def test_numbers_and_nouns():
    assert [number(None), number(12), number(1234567)] == ["-", "12", "1 234 567"]
    assert [counted(count, "session") for count in (0, 1, 2000)] == ["no sessions", "1 session", "2 000 sessions"]


def test_times_are_utc():
    elsewhere = MOMENT.astimezone(tz=None)
    assert time(elsewhere) == "2026-03-04 05:06:07"
    assert clock(elsewhere) == "05:06:07.089"
    assert time(None) == "-"


def test_how_long_ago():
    assert ago(None) == "never"
    assert ago(MOMENT, MOMENT + timedelta(minutes=2)) == "2m ago"
    assert ago(MOMENT, MOMENT - timedelta(seconds=30)) == "in 30s"
    assert ago(datetime.now(UTC) - timedelta(hours=5, seconds=1)) == "5h ago"
