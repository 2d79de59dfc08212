"""A log-linear histogram of durations: a fixed relative error, and two histograms merge into one."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import Self

_SUB_BITS = 6
_SUB = 1 << _SUB_BITS
"""Buckets of each power of two: a quantile is at most 1/64 (1.6 %) above the recorded value."""


@dataclass(slots=True)
class Histogram:
    """Counts of durations in nanoseconds. A quantile is the upper end of its bucket, so never below the value."""

    counts: dict[int, int] = field(default_factory=dict)
    total: int = 0
    largest_ns: int = 0

    def record(self, value_ns: int) -> None:
        """Count a duration. A negative one counts as zero: two clock readings of different processes may cross."""
        value_ns = max(0, value_ns)
        index = _index_of(value_ns)
        self.counts[index] = self.counts.get(index, 0) + 1
        self.total += 1
        self.largest_ns = max(self.largest_ns, value_ns)

    def merge(self, other: Self) -> None:
        """Add all counts of another histogram."""
        for index, count in other.counts.items():
            self.counts[index] = self.counts.get(index, 0) + count
        self.total += other.total
        self.largest_ns = max(self.largest_ns, other.largest_ns)

    def quantile(self, share: float) -> int | None:
        """The duration (ns) that this share (0 to 1) of the values does not exceed; None without values."""
        if not self.total:
            return None
        wanted = max(1, ceil(round(share * self.total, 6)))  # 0.07 * 100 is 7.000000000000001
        seen = 0
        for index, count in sorted(self.counts.items()):
            seen += count
            if seen >= wanted:
                return min(_upper_of(index), self.largest_ns)
        return self.largest_ns

    def points(self) -> Iterator[tuple[int, float]]:
        """Yield (ns, share of the values that are at most that), ascending."""
        seen = 0
        for index, count in sorted(self.counts.items()):
            seen += count
            yield min(_upper_of(index), self.largest_ns), seen / self.total


def _index_of(value: int) -> int:
    """Below 128 each value has its own bucket; above, the leading bit and the six below it choose the bucket."""
    shift = max(0, value.bit_length() - _SUB_BITS - 1)
    return (shift << _SUB_BITS) + (value >> shift)


def _upper_of(index: int) -> int:
    """The largest value of a bucket."""
    if index < 2 * _SUB:
        return index
    shift = (index >> _SUB_BITS) - 1
    return (((index & (_SUB - 1)) + _SUB + 1) << shift) - 1
