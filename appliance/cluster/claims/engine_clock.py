"""The time of the engine, as the heartbeats of a node tell it: a value without I/O.

Nodes order what they hold by this time, since their own clocks may differ by minutes. A heartbeat that was sent at one
moment and answered at another says that the engine had a certain time somewhere between. So the time of now is known
within the way of the shortest of the last heartbeats.
"""

from collections import deque
from typing import NamedTuple

SAMPLES = 16
"""Heartbeats that are remembered."""
DRIFT = 0.0005
"""Seconds in a second by which two clocks part at most. Those of machines do 0.0001 or less."""


class _Sample(NamedTuple):
    engine_ms: int
    sent: float
    answered: float

    def earliest_ms(self, at: float) -> float:
        return self.engine_ms + (at - self.answered) * 1000 - abs(at - self.answered) * 1000 * DRIFT

    def latest_ms(self, at: float) -> float:
        # The engine cuts its time down to whole milliseconds.
        return self.engine_ms + 1 + (at - self.sent) * 1000 + abs(at - self.sent) * 1000 * DRIFT


class EngineClock:
    """Times of the engine are ms since 1970, those of the node seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES)

    def answered(self, engine_ms: int, *, sent: float, at: float) -> None:
        """The engine had this time between these two."""
        sample = _Sample(engine_ms, sent, at)
        if self._samples and not self._agrees(sample):
            self._samples.clear()  # the clock of the engine was set, or another machine is the engine now
        self._samples.append(sample)

    def latest_ms(self, at: float) -> int:
        """The latest time that it can be, or have been, at the engine; 0 where nothing is known."""
        return int(min((each.latest_ms(at) for each in self._samples), default=0))

    def earliest_ms(self, at: float) -> int:
        """The earliest."""
        return int(max((each.earliest_ms(at) for each in self._samples), default=0))

    def _agrees(self, sample: _Sample) -> bool:
        at = sample.answered
        earliest = max(each.earliest_ms(at) for each in self._samples)
        latest = min(each.latest_ms(at) for each in self._samples)
        return earliest <= sample.latest_ms(at) and sample.earliest_ms(at) <= latest
