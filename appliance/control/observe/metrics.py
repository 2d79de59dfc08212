"""Exports the counters of a running gateway to Prometheus: every metric of the catalogue, and no other."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import product
from typing import Any, Protocol, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector as Readable

from appliance.control.health.cluster import ClusterNode
from appliance.control.observe import catalogue as m
from appliance.control.observe import labels
from appliance.control.observe.canister_counts import CanisterTable
from appliance.control.observe.catalogue import CATALOGUE, Metric
from appliance.control.observe.labels import OTHER, PLUGINS, Label
from appliance.control.observe.process import usage
from appliance.control.observe.reference_names import reference_families
from appliance.control.reload.outcome import Outcome, Result
from appliance.control.reload.trials import Trial
from appliance.errors import ConfigError
from appliance.gateway.gateway import Gateway
from appliance.gateway.journal.journal import JournalStats
from appliance.gateway.limits.descriptors import places
from appliance.gateway.recording.measurements import SECOND_NS, Histogram
from appliance.gateway.sockets.refusals import Refusals
from appliance.gateway.sockets.tls.loading import LoadedTls

Values: TypeAlias = tuple[str, ...]
"""Label values of a metric, in the order of its labels."""
Sample: TypeAlias = tuple[Metric, Values, float]


class Sockets(Protocol):
    """The listener."""

    refusals: Refusals
    tls: LoadedTls

    def __len__(self) -> int:
        """The number of connected sockets."""


class PluginCounts(Protocol):
    """A loaded plugin, and counters of its calls."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""

    @property
    def state(self) -> str:
        """``off`` while it is disabled for failing too often."""

    @property
    def calls(self) -> int:
        """All calls."""

    @property
    def failures(self) -> int:
        """Calls that failed."""

    @property
    def slow(self) -> int:
        """Calls that exceeded the time-out."""

    @property
    def seconds(self) -> float:
        """The total time of all calls."""

    @property
    def waiting(self) -> int:
        """Calls that wait."""


class Reloading(Protocol):
    """``control.reload.reloads.Reloads``."""

    observers: list[Callable[[Outcome], None]]

    @property
    def revision(self) -> int:
        """The number of the configuration that runs."""

    @property
    def last(self) -> Outcome:
        """The outcome of the latest attempt."""

    @property
    def trial(self) -> Trial | None:
        """The configuration on trial that runs, if one does."""


class ReloadCounts:
    """Counts the outcomes of reloads by trigger and result, from now on."""

    def __init__(self, reloads: Reloading) -> None:
        self.reloads = reloads
        self.outcomes: Counter[tuple[str, Result]] = Counter()
        reloads.observers.append(self._count)

    def _count(self, outcome: Outcome) -> None:
        if outcome.result != "started":  # a start is no reload
            self.outcomes[outcome.trigger, outcome.result] += 1

    @property
    def faults(self) -> int:
        """How many problems the latest attempt found."""
        error = self.reloads.last.error
        if isinstance(error, ConfigError):
            return len(error.problems)
        return int(error is not None)


class Collector(Readable):
    """Collects the metrics of one gateway. Optional sources that are absent are not exported."""

    def __init__(
        self,
        gateway: Gateway,
        sockets: Sockets,
        reloads: Reloading | None = None,
        *,
        plugins: Callable[[], Sequence[PluginCounts]] = tuple,
        loop_lag_s: Callable[[], float] | None = None,
        node: ClusterNode | None = None,
    ) -> None:
        """``reloads`` is observed from now on."""
        self._gateway = gateway
        self._sockets = sockets
        self._reloads = None if reloads is None else ReloadCounts(reloads)
        self._plugins = plugins
        self._loop_lag_s = loop_lag_s
        self._node = node
        self._canisters = CanisterTable(gateway)
        self._started_at = time.time()

    def render(self) -> bytes:
        """Every metric in the text format of Prometheus."""
        if self._gateway.config.metrics.reference_names:
            return generate_latest(self) + generate_latest(_Families(reference_families(self._gateway)))
        return generate_latest(self)

    def collect(self) -> Iterator[Family]:
        """The metric families, in the order of the catalogue."""
        found: dict[Metric, dict[Values, float]] = {}
        for metric, values, value in self.samples():
            samples = found.setdefault(metric, {})
            samples[values] = samples.get(values, 0) + value
        histograms = self.histograms()
        for metric in CATALOGUE:
            if metric in found:
                yield _family(metric, found[metric])
            elif metric in histograms:
                yield _histogram_family(metric, histograms[metric])

    def histograms(self) -> dict[Metric, dict[Values, Histogram]]:
        """The histograms by metric and label values."""
        latency = self._gateway.recorder.latency
        return {
            m.HOPS: {(hop,): getattr(latency, hop) for hop in sorted(labels.HOP.values or ())},
            m.VERIFICATION: {("reply",): latency.reply_verification, ("frame",): latency.frame_verification},
        }

    def samples(self) -> Iterator[Sample]:
        """Every other sample. Samples of a metric with the same label values are added up."""
        yield m.INFO, (version("icws"), str(self._gateway.principal)), 1
        yield from self._connections()
        yield from self._sessions()
        yield from self._messages()
        yield from self._calls()
        yield from self._limits()
        yield from self._by_canister()
        if self._node is not None:
            yield from _cluster(self._node)
        if self._reloads is not None:
            yield from _reloads(self._reloads)
        yield from self._by_plugin()
        yield from self._process()

    def _connections(self) -> Iterator[Sample]:
        gateway, stats = self._gateway, self._gateway.counters
        yield m.CONNECTIONS, (), len(self._sockets)
        yield m.CONNECTIONS_LIMIT, (), places(gateway.config.gateway.max_connections, gateway.config.relay.calls)
        yield m.ACCEPT_PAUSES, (), stats.accept_pauses
        yield m.HELD_BYTES, (), gateway.limits.holdings.bytes
        yield m.HELD_BYTES_LIMIT, (), gateway.limits.holdings.most_bytes
        for action in labels.SHED_BY.known:
            yield m.SHED, (action,), stats.shed[action]
        yield m.ADDRESSES, (), len(gateway.limits.holdings.address)
        yield m.LARGEST_ADDRESS, (), gateway.limits.holdings.address.largest()
        for account in gateway.limits.holdings.accounts:
            for mode in labels.MODE.known:
                yield m.HELD_EXCEEDED, (account.by, mode), account.connections_exceeded[mode]
                yield m.HELD_BYTES_EXCEEDED, (account.by, mode), account.bytes_exceeded[mode]
        yield m.ACCEPTED, (), stats.connections
        yield m.JOINED, (), stats.joined
        yield m.OPENED, (), stats.opened
        yield m.DEPARTING, (), gateway.pending_close_calls
        yield m.FAREWELLS, (), stats.farewells
        yield m.LATE_CLOSE_CALLS, (), gateway.epochs.pending_late_close_calls
        yield from _journal(gateway.journal.stats)
        yield m.DRAINING, (), not gateway.is_accepting
        yield m.DRAIN_LEFT, (), gateway.drain.left if gateway.drain else 0
        yield from _by(m.REJECTED, labels.STATUS, stats.rejected_requests)
        yield from _by(m.REFUSED, labels.REFUSAL, self._sockets.refusals.rejected)
        yield m.UNLOGGED, (), self._sockets.refusals.unlogged
        yield from _by(m.CLOSED, labels.CODE, stats.closed)
        yield from _by(m.ERRORS, labels.REASON, stats.refused)
        yield from _by(m.FAILED_FAREWELLS, labels.REASON, stats.failed_farewells)

    def _sessions(self) -> Iterator[Sample]:
        waiting_calls = waiting_bytes = unread = 0
        numbers: Counter[tuple[str, str]] = Counter()
        for peer in self._gateway.connections:
            numbers[peer.session.name, peer.session.state.value] += 1
            waiting_calls += len(peer.relays)
            unread += peer.relays.is_paused
            waiting_bytes += peer.outbox.waiting
        for values, number in numbers.items():
            yield m.SESSIONS, values, number
        yield m.WAITING_CALLS, (), waiting_calls
        yield m.UNREAD, (), unread
        yield m.OUTBOX_BYTES, (), waiting_bytes

    def _messages(self) -> Iterator[Sample]:
        stats, verifier = self._gateway.counters, self._gateway.verifier
        yield m.FRAMES, (), stats.frames
        yield m.DELAYED, (), stats.delayed
        yield m.RELAYED, (), stats.relayed
        yield m.DELIVERED, (), stats.delivered
        yield m.UNDELIVERABLE, (), stats.undeliverable
        yield m.REPEATED, (), stats.repeated
        yield m.GAPS, (), stats.gaps
        yield m.LOST, (), stats.lost
        yield m.POLLS_WAITING, (), self._gateway.epochs.poll_budget.waiting
        yield m.RESETS, (), stats.resets
        yield m.PROBES, (), stats.probes
        yield m.POLLS, (), stats.polls
        if stats.delivered:
            yield m.POLLS_PER_MESSAGE, (), stats.polls / stats.delivered
        yield m.SIGNATURES, ("hit",), verifier.cache_hits
        yield m.SIGNATURES, ("miss",), verifier.cache_misses
        yield from _by(m.FAILED_RELAYS, labels.REASON, stats.failed_relays)
        yield from _by(m.FAILED_POLLS, labels.REASON, stats.failed_polls)
        yield from _by(m.DOUBTED, labels.REASON, stats.unverified)

    def _calls(self) -> Iterator[Sample]:
        scheduler = self._gateway.budget.scheduler
        yield m.CALLS, (), scheduler.under_way
        yield m.CALLS_LIMIT, (), scheduler.calls
        yield m.CALL_BYTES, (), scheduler.bytes_under_way
        yield m.CALL_BYTES_LIMIT, (), scheduler.max_bytes
        yield m.CALLS_WAITING, (), scheduler.waiting
        yield m.COSTLY_MESSAGES, (), self._gateway.verification.messages
        yield m.COSTLY_SECONDS, (), self._gateway.verification.seconds
        yield m.COSTLY_WAITING, (), self._gateway.verification.waiting
        yield m.ORDERS_LOST, (), self._gateway.paces.orders_lost

    def _limits(self) -> Iterator[Sample]:
        limits = self._gateway.limits
        for decided, number in limits.decisions().items():
            yield m.DECISIONS, decided, number
        if self._node is not None:
            yield from _by(m.LIMIT_EVENTS, labels.COUNTED, limits.cluster.counts)
            yield m.LIMIT_WAITING, (), len(limits.cluster)
        for report in limits.reports():
            yield m.LIMITED_NOW, (report.scope,), report.limited
            yield m.LIMIT_KEYS, (report.scope,), report.remembered
            yield m.FORGOTTEN, (report.scope,), report.forgotten

    def _by_canister(self) -> Iterator[Sample]:
        names = self._gateway.config.canister_names
        for label, counts in self._canisters.update(self._gateway.config.metrics.canisters).items():
            yield m.CANISTER_INFO, (label, names.get(label, "")), 1
            yield m.CLIENTS, (label,), counts.clients
            yield m.DEGRADED, (label,), counts.degraded
            yield m.PAUSED, (label,), counts.paused
            yield m.LAG, (label,), counts.lag_s
            yield m.CANISTER_CALLS, (label,), counts.calls_under_way
            yield m.CANISTER_CALLS_WAITING, (label,), counts.calls_waiting
            yield m.CANISTER_POLLS, (label,), counts.polls
            yield m.CANISTER_DELIVERED, (label,), counts.delivered

    def _by_plugin(self) -> Iterator[Sample]:
        for number, plugin in enumerate(self._plugins()):
            values = (plugin.name if number < PLUGINS else OTHER,)
            yield m.PLUGIN_OFF, values, plugin.state == "off"
            yield m.PLUGIN_CALLS, values, plugin.calls
            yield m.PLUGIN_FAILURES, values, plugin.failures
            yield m.PLUGIN_SLOW, values, plugin.slow
            yield m.PLUGIN_WAITING, values, plugin.waiting
            yield m.PLUGIN_SECONDS, values, plugin.seconds

    def _process(self) -> Iterator[Sample]:
        used, expires_at = usage(), self._sockets.tls.expires_at
        yield m.CPU, (), used.cpu_s
        yield m.STARTED_AT, (), self._started_at
        yield m.MAX_FDS, (), used.max_fds
        if used.resident_bytes is not None:
            yield m.RESIDENT, (), used.resident_bytes
        if used.open_fds is not None:
            yield m.OPEN_FDS, (), used.open_fds
        if self._loop_lag_s is not None:
            yield m.LOOP_LAG, (), self._loop_lag_s()
        if expires_at is not None:
            yield m.TLS_EXPIRY, (), expires_at.timestamp()


class _Families(Readable):
    def __init__(self, families: Iterator[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        return self._families


def _journal(stats: JournalStats | None) -> Iterator[Sample]:
    yield m.JOURNALED, (), stats is not None
    yield m.JOURNAL_COMMIT, (), stats.commit_s if stats is not None else 0
    yield m.JOURNAL_FAILURES, (), stats.failures if stats is not None else 0


def _cluster(node: ClusterNode) -> Iterator[Sample]:
    yield m.ENGINE, (), node.contact.state == "joined"
    yield m.NODES, (), node.others
    yield from _by(m.CLAIMS, labels.CLAIM, node.claims)
    yield from _by(m.RINGS, labels.RING, node.doorbell.counts)
    yield from _by(m.PAUSES, labels.PAUSE, node.pauses.counts)
    yield from _by(m.REQUESTS_ASKED, labels.ASKED, node.requests.asked)
    yield from _by(m.REQUESTS_REFUSED, labels.REQUEST_REFUSAL, node.requests.refused)
    yield m.REQUESTS_ANSWERED, (), node.requests.answered
    yield m.REQUESTS, (), node.requests.under_way
    yield m.COMMANDS, (), node.commands.under_way
    yield m.COMMANDS_LIMIT, (), node.commands.limit
    yield m.COMMANDS_LATE, (), node.commands.late
    yield m.COMMANDS_DROPPED, (), node.commands.dropped
    kept = node.own.ledger
    yield m.REGISTRY, (), kept.bytes
    yield m.REGISTRY_LIMIT, (), kept.limit
    yield m.REGISTRY_CLIENTS, (), len(kept)
    yield m.REGISTRY_WAITING, (), kept.waiting
    yield m.REGISTRY_DROPPED, (), kept.dropped
    yield m.GIVEN_UP, (), node.speaking.given_up
    yield from _by(m.SPOKEN_FOR, labels.SPOKEN, node.spoken_for)
    yield m.RETURNED, (), node.returned
    yield from _by(m.QUESTIONS, labels.QUESTION, node.answering.counts)
    yield from _by(m.POLLED_CANISTERS, labels.POLLED, node.polls.roles)
    yield from _by(m.ENTRIES, labels.ENTRY, node.polls.counts)
    yield from _by(m.LIMIT_COMMANDS, labels.TOLD, node.rates.counts)
    yield m.LIMIT_WAITING_LIMIT, (), node.settings.limit_keys


def _reloads(counts: ReloadCounts) -> Iterator[Sample]:
    reloads = counts.reloads
    yield m.CONFIG_GENERATION, (), reloads.revision
    yield m.RELOAD_SUCCESSFUL, (), reloads.last.is_good
    yield m.RELOAD_AT, (), reloads.last.at_ns / 1e9
    yield m.REJECTED_KEYS, (), counts.faults
    if reloads.trial is not None:
        yield m.CONFIRM_BY, (), reloads.trial.confirm_by_ns / 1e9
    for values in product(labels.TRIGGER.known, labels.RESULT.known):
        yield m.RELOADS, values, 0
    for (trigger, result), number in counts.outcomes.items():
        yield m.RELOADS, (labels.TRIGGER.of(trigger), result), number


def _by(metric: Metric, label: Label, numbers: Mapping[Any, int]) -> Iterator[Sample]:
    """A sample for each value, 0 for those that did not occur: `rate()` misses the first event of a series that starts
    at 1.
    """
    for value in label.known:
        yield metric, (value,), 0
    for key, number in numbers.items():
        yield metric, (label.of(key),), number


def _family(metric: Metric, samples: Mapping[Values, float]) -> Family:
    made = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
    family = made(metric.name, metric.help, labels=[label.name for label in metric.labels])
    for values, value in samples.items():
        family.add_metric(values, float(value))
    return family


def _histogram_family(metric: Metric, histograms: Mapping[Values, Histogram]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=[label.name for label in metric.labels])
    for values, histogram in histograms.items():
        buckets = [(_bound(bound), float(count)) for bound, count in histogram.at_most()]
        family.add_metric(values, buckets, histogram.sum_ns / SECOND_NS)
    return family


def _bound(seconds: float) -> str:
    return "+Inf" if math.isinf(seconds) else f"{seconds:g}"
