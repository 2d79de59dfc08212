"""Samples of the counters of the last day, so that a chart is not empty when somebody opens the page.

Kept in memory: coarser the longer ago, since counters that only grow lose nothing by being read less often.
"""

import asyncio
from array import array
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import NamedTuple, Self, TypeAlias, cast

from appliance.control.models import HopSum, Sample, Span
from appliance.gateway.gateway import Gateway
from appliance.gateway.recording.by_canister import CanisterMeasurements, HopTotal
from appliance.gateway.sockets.listener import Listener
from appliance.ic.principal import Principal

SAMPLE_INTERVAL_S = 5.0
MAX_SAMPLES = 120
"""Of each span: a chart of 400 to 800 pixels shows no more."""
TICKS: Mapping[Span, int] = {"10m": 1, "1h": 6, "6h": 36, "24h": 144}
"""Of each span, every how many samples one is kept."""
CANISTER_HOPS = ("client_to_gateway", "gateway_to_ic", "canister_to_polled", "polled_to_written")
_COUNTERS = ("relayed", "delivered", "relay_closes")
_TOTALS = ("refused", "failed_relays", "failed_polls")

Values: TypeAlias = "array[int]"
"""The numbers of one canister at one time, in the order of ``_values``: 200 bytes instead of 3,000."""


class Taken(NamedTuple):
    """What is sampled at one time: the gateway, and the charted canisters."""

    sample: Sample
    canisters: Mapping[Principal, Values]


@dataclass
class _Ring:
    """The samples of one span, the oldest first. Those of a canister end with the same time as those of the gateway."""

    ticks: int
    samples: deque[Sample]
    canisters: dict[Principal, deque[Values]] = field(default_factory=dict)

    def add(self, taken: Taken) -> None:
        self.samples.append(taken.sample)
        for canister, values in taken.canisters.items():
            kept = self.canisters.setdefault(canister, deque(maxlen=self.samples.maxlen))
            kept.append(kept[-1] if kept and kept[-1] == values else values)  # an idle canister costs nothing
        for canister in self.canisters.keys() - taken.canisters.keys():
            del self.canisters[canister]


class MetricsHistory:
    """Takes a sample every ``every_s`` seconds, and keeps the latest ones of each span. An async context."""

    def __init__(
        self, take: Callable[[], Taken], *, every_s: float = SAMPLE_INTERVAL_S, kept: int = MAX_SAMPLES
    ) -> None:
        self.every_s = every_s
        self._take = take
        self._taken = 0
        self._rings = {span: _Ring(ticks, deque(maxlen=kept)) for span, ticks in TICKS.items()}
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._sample()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def interval_s(self, span: Span) -> float:
        """Seconds between two samples of a span."""
        return self.every_s * TICKS[span]

    def samples(self, span: Span = "10m") -> list[Sample]:
        """Those of the gateway, the oldest first."""
        return list(self._rings[span].samples)

    def samples_of(self, canister: Principal, span: Span = "10m") -> list[Sample]:
        """Those of one canister, the oldest first; none of one that is not charted."""
        ring = self._rings[span]
        values = ring.canisters.get(canister, ())
        times = [sample.at for sample in ring.samples][len(ring.samples) - len(values) :]
        return [canister_sample(at, each) for at, each in zip(times, values, strict=True)]

    def charted(self) -> set[Principal]:
        """The canisters that samples are kept of."""
        return set(self._rings["10m"].canisters)

    def _sample(self) -> None:
        taken = self._take()
        for ring in self._rings.values():
            if self._taken % ring.ticks == 0:
                ring.add(taken)
        self._taken += 1
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


def values_of(gateway: Gateway, canister: Principal) -> Values:
    """The numbers of one canister now."""
    members = gateway.hub.members(canister).values()
    measured = gateway.recorder.by_canister.of(canister)
    return _values(measured, sessions=sum(1 for member in members if member.is_open), joined=len(members))


def canister_sample(at: datetime, values: Values) -> Sample:
    """Numbers of one canister, as the API shows them: ``connections`` are the clients that joined it."""
    sessions, joined, *rest = values
    numbers = iter(rest)
    return Sample(
        at=at,
        sessions=sessions,
        connections=joined,
        counters={name: next(numbers) for name in _COUNTERS},
        totals={name: next(numbers) for name in _TOTALS},
        hops=[HopSum(name=name, count=next(numbers), sum_s=next(numbers) / 1e9) for name in CANISTER_HOPS],
    )


def take(gateway: Gateway, listener: Listener, charted: set[Principal]) -> Taken:
    """Take a sample of the gateway and of at most ``metrics.canisters`` canisters: those that are ``charted`` already,
    so that charts do not come and go, then those with the most clients.
    """
    used = {canister.id for canister in gateway.config.canisters} | {*gateway.hub.canisters(), *gateway.pollers}
    gateway.recorder.by_canister.keep(used)

    def rank(canister: Principal) -> tuple[bool, int, Principal]:
        return canister not in charted, -len(gateway.hub.members(canister)), canister

    chosen = sorted(used, key=rank)[: gateway.config.metrics.canisters]
    return Taken(sample_of(gateway, listener), {canister: values_of(gateway, canister) for canister in chosen})


def _values(measured: CanisterMeasurements, *, sessions: int, joined: int) -> Values:
    counts = [cast("int", getattr(measured, name)) for name in (*_COUNTERS, *_TOTALS)]
    hops = [cast("HopTotal", getattr(measured, name)) for name in CANISTER_HOPS]
    return array("q", [sessions, joined, *counts, *(number for hop in hops for number in (hop.count, hop.sum_ns))])
