"""Metrics under the names that the reference gateway gives them, for existing dashboards: ``metrics.reference_names``.

It labels some of its metrics with a client's key, and so with a series for everybody who ever came; those are here
without the label, as sums. Its summaries of durations have no counterpart under their names.
"""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family

from appliance.control.observe.labels import OTHER
from appliance.gateway.gateway import Gateway


def reference_families(gateway: Gateway) -> Iterator[Family]:
    """The families: at most ``metrics.canisters`` canisters have a series, those with the most clients."""
    clients = GaugeMetricFamily("clients_connected", "Clients connected, by canister.", labels=["canister_id"])
    for label, count in _clients(gateway, gateway.config.metrics.canisters):
        clients.add_metric([label], count)
    yield clients
    pollers = GaugeMetricFamily("active_pollers", "Canisters that are polled.")
    pollers.add_metric([], len(gateway.pollers))
    yield pollers
    # Named as it is there: with the ending that the library gives to counters, no dashboard would find it.
    opened = GaugeMetricFamily("client_connected_count", "Sessions that opened since the start.")
    opened.add_metric([], gateway.counters.opened)
    yield opened


def _clients(gateway: Gateway, most: int) -> Iterator[tuple[str, int]]:
    counts = sorted(((len(gateway.hub.members(each)), str(each)) for each in gateway.hub.canisters()), reverse=True)
    yield from ((canister, count) for count, canister in counts[:most])
    if rest := sum(count for count, _ in counts[most:]):
        yield OTHER, rest
