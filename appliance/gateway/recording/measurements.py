"""What the gateway measures: counters, and histograms of durations. Plain numbers, which metrics read."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

SECOND_NS = 10**9
BOUNDS_NS = tuple(step * 10**exponent for exponent in range(4, 10) for step in (10, 25, 50))
"""Upper bounds of the buckets, in nanoseconds: 100 us to 50 s, three in each power of ten.

From a verification (100 us) to a call that waited in a queue (tens of seconds). A quantile is off by at most the width
of its bucket, a factor of 2.5; finer buckets would cost a series of metrics each, for every histogram and label.
"""


@dataclass(slots=True)
class Counters:
    """Counts since the start. Single numbers only grow; ``refused``, ``failed_polls``, ``unverified`` and
    ``failed_relays`` count by ``GatewayError.reason``, ``closed`` by close code (1006 where there was none) and
    ``rejected_requests`` by HTTP status.
    """

    connections: int = 0
    """Sockets accepted."""
    rejected_requests: Counter[int] = field(default_factory=Counter)
    shed: Counter[str] = field(default_factory=Counter)
    """Connections that were ``unread`` for a while, or ``closed``, because too many bytes were held."""
    accept_pauses: int = 0
    """Times that nobody was accepted for a moment, because no file could be opened."""
    joined: int = 0
    """Sessions whose opening message was verified and registered."""
    opened: int = 0
    """Sessions that the canister answered."""
    frames: int = 0
    """Messages of clients."""
    delayed: int = 0
    """Times that frames of a client had to wait for a later turn of the event loop."""
    relayed: int = 0
    """Calls of clients that the IC answered or accepted."""
    failed_relays: Counter[str] = field(default_factory=Counter)
    unverified: Counter[str] = field(default_factory=Counter)
    """Messages that failed verification and passed, because it is only reported."""
    refused: Counter[str] = field(default_factory=Counter)
    """Sockets closed for an error."""
    relay_closes: int = 0
    """Of these, the ones closed because a message was not relayed: ``failed_relays`` counts that error too."""
    closed: Counter[int] = field(default_factory=Counter)
    polls: int = 0
    failed_polls: Counter[str] = field(default_factory=Counter)
    delivered: int = 0
    """Messages of canisters that were delivered to their client."""
    undeliverable: int = 0
    """Messages for clients that are not connected, or that do not take them any more."""
    repeated: int = 0
    """Messages that a reply contained again."""
    gaps: int = 0
    """Jumps of the nonces of a queue."""
    lost: int = 0
    """Messages that were missing there."""
    probes: int = 0
    """Polls further down a queue, to see whether the canister restarted."""
    resets: int = 0
    """Times that a canister restarted its queue."""
    farewells: int = 0
    """``ws_close`` calls that succeeded."""
    failed_farewells: Counter[str] = field(default_factory=Counter)


class Histogram:
    """Durations by bucket. ``counts`` has one number for each bound and one for what is longer than all."""

    __slots__ = ("bounds", "counts", "sum_ns")

    def __init__(self, bounds: Sequence[int] = BOUNDS_NS) -> None:
        """``bounds`` are nanoseconds, ascending; a duration belongs to the first that is not below it."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum_ns = 0

    def observe(self, duration_ns: int, times: int = 1) -> None:
        """Count a duration, ``times`` times. A negative one, as two clocks may disagree, counts as zero."""
        if duration_ns > 0:
            self.counts[bisect_left(self.bounds, duration_ns)] += times
            self.sum_ns += duration_ns * times
        else:
            self.counts[0] += times

    @property
    def count(self) -> int:
        """Number of durations."""
        return sum(self.counts)

    def at_most(self) -> list[tuple[float, int]]:
        """For every bound, in seconds, how many durations were not above it; the last bound is infinite."""
        pairs, total = [], 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            pairs.append((bound / SECOND_NS, total))
        return pairs

    def quantile_s(self, part: float) -> float | None:
        """About how many seconds the fastest ``part`` (0 to 1) of all took at most: linear within a bucket, and the
        last bound for what is beyond it. None where there was nothing yet.
        """
        total, below, lower = self.count, 0, 0.0
        if not total:
            return None
        for bound, count in zip((*self.bounds, self.bounds[-1]), self.counts, strict=True):
            if count and below + count >= part * total:
                return (lower + (bound - lower) * max(0.0, part * total - below) / count) / SECOND_NS
            below, lower = below + count, bound
        return lower / SECOND_NS


@dataclass(frozen=True, slots=True)
class Latencies:
    """The way of messages, hop by hop, and what verifying them takes."""

    client_to_gateway: Histogram = field(default_factory=Histogram)
    """From the time that a client wrote into its message to the message's arrival. Two clocks: where they disagree, so
    does this. Sampled, and only for generations that write a time."""
    gateway_to_ic: Histogram = field(default_factory=Histogram)
    """From a client's message to the IC's answer, the time in the relay queue included."""
    canister_to_polled: Histogram = field(default_factory=Histogram)
    """From the time that the canister wrote into its message to the poll that brought it; of the oldest new message of
    each reply. Two clocks here, too."""
    polled_to_written: Histogram = field(default_factory=Histogram)
    """From the reply of the IC to the frame at the client's socket, verification included."""
    reply_verification: Histogram = field(default_factory=Histogram)
    """Opening one reply to a poll: decoding, certificate, tree, frames."""
    frame_verification: Histogram = field(default_factory=Histogram)
    """Opening one message of a client: decoding, signature, delegations."""
