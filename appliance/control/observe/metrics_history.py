"""Samples of the counters of the last minutes, so that a chart is not empty when somebody opens the page."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Self

from appliance.control.models import HopSum, Sample
from appliance.gateway.gateway import Gateway
from appliance.gateway.sockets.listener import Listener

SAMPLE_INTERVAL_S = 5.0
MAX_SAMPLES = 120
"""Ten minutes of them."""


class MetricsHistory:
    """Takes a sample every ``every_s`` seconds, and keeps the latest ones. An async context."""

    def __init__(
        self, take: Callable[[], Sample], *, every_s: float = SAMPLE_INTERVAL_S, kept: int = MAX_SAMPLES
    ) -> None:
        self.every_s = every_s
        self._take = take
        self._samples: deque[Sample] = deque(maxlen=kept)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._sample()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @property
    def samples(self) -> list[Sample]:
        """The oldest first."""
        return list(self._samples)

    def _sample(self) -> None:
        self._samples.append(self._take())
        self._timer = asyncio.get_running_loop().call_later(self.every_s, self._sample)


def sample_of(gateway: Gateway, listener: Listener) -> Sample:
    """The counters now; of counters that are split by a label only the sums."""
    values = {each.name: getattr(gateway.counters, each.name) for each in fields(gateway.counters)}
    latencies = {each.name: getattr(gateway.recorder.latency, each.name) for each in fields(gateway.recorder.latency)}
    return Sample(
        at=datetime.now(UTC),
        sessions=sum(1 for peer in gateway.connections if peer.is_open),
        connections=len(listener),
        counters={name: value for name, value in values.items() if isinstance(value, int)},
        totals={name: value.total() for name, value in values.items() if isinstance(value, Counter)},
        hops=[HopSum(name=name, count=each.count, sum_s=each.sum_ns / 1e9) for name, each in latencies.items()],
    )
