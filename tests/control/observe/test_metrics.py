"""What is exported is in the catalogue and bounded, whatever happens; and it is what happened."""

import asyncio
import ssl
from collections import Counter, defaultdict
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from appliance.control.observe.catalogue import CATALOGUE, Metric
from appliance.control.observe.labels import OTHER, PLUGINS
from appliance.control.observe.metrics import Collector
from appliance.errors import NodeRefused, OpeningClaimed
from appliance.gateway.drain import Pacing
from appliance.gateway.recording.measurements import BOUNDS_NS, Counters, Latencies
from appliance.gateway.sockets.refusals import Refusal, Refusals
from appliance.gateway.sockets.tls.certificate_expiry import certificate_expiry
from appliance.gateway.sockets.tls.loading import LoadedTls
from tests.cluster.board import Board, MemoryEngine
from tests.cluster.nodes import Beating, beating, claim
from tests.control.reload.reloading import bench as reloading
from tests.gateway.bench import Bench, until
from tests.gateway.clients import CANISTER
from tests.gateway.fake_ic import OK

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBOjCB7aADAgECAhQugv0pSEPdU48wuNltA9QFX8By6jAFBgMrZXAwEjEQMA4G
A1UEAwwHZ2F0ZXdheTAgFw0yNjExMjQwNjQyMThaGA8yMTI2MTAzMTA2NDIxOFow
EjEQMA4GA1UEAwwHZ2F0ZXdheTAqMAUGAytlcAMhAN2busmxThKNS3Vi3gTrVjyD
0ujg+XCv9w1JJ4I0jlxAo1MwUTAdBgNVHQ4EFgQUX5wj+BQ7/f9c1mVr6D/P2pn7
VKkwHwYDVR0jBBgwFoAUX5wj+BQ7/f9c1mVr6D/P2pn7VKkwDwYDVR0TAQH/BAUw
AwEB/zAFBgMrZXADQQCKBTsVxi6fZTSumo+CENJHOs6QrOe9uM9B/vCTxTJOcWMG
ZRB/tadgUCfpSKcAHxQPRuRSbV0P9au3bwVVpKQB
-----END CERTIFICATE-----
"""
"""Of nobody, for a hundred years."""
BY_NAME = {metric.name: metric for metric in CATALOGUE}
REASONS = st.sampled_from(["rate_limited", "internal"]) | st.text(min_size=1, max_size=20)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    file = tmp_path / "certificate.pem"
    file.write_text(CERTIFICATE)
    return file


@dataclass
class PluginState:
    name: str
    state: str = "on"
    calls: int = 3
    failures: int = 2
    slow: int = 1
    seconds: float = 0.5
    waiting: int = 4


class Sockets(list[object]):
    """A listener with these sockets."""

    def __init__(self, bench: Bench, *sockets: object) -> None:
        super().__init__(sockets)
        self.refusals = Refusals(lambda: bench.gateway.config, bench.gateway.event_bus, lambda: 0)
        self.tls = LoadedTls()


def scrape(collector: Collector, only: str = "") -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Samples by name and labels, as Prometheus reads them: all, or those of one metric."""
    found = defaultdict(dict)
    text = collector.render().decode()
    if only:
        text = "".join(line for line in text.splitlines(keepends=True) if only in line)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found[sample.name], "the same twice"
            found[sample.name][labels] = sample.value
    return dict(found)


def metric_of(name: str) -> Metric | None:
    """The metric that a sample is of."""
    for suffix in ("", "_bucket", "_count", "_sum"):
        metric = BY_NAME.get(name.removesuffix(suffix) if suffix else name)
        if metric is not None and (metric.type == "histogram") == bool(suffix):
            return metric
    return None


def check(collector: Collector) -> set[str]:
    """Whether all that is exported is in the catalogue and bounded; returns the names of the metrics."""
    return check_samples(scrape(collector))


def check_samples(scraped: dict[str, dict[tuple[tuple[str, str], ...], float]]) -> set[str]:
    seen = set()
    for name, samples in scraped.items():
        metric = metric_of(name)
        assert metric is not None, f"{name} is not in the catalogue"
        seen.add(metric.name)
        combinations = set()
        for labels in samples:
            values = dict(labels)
            bucket = values.pop("le", None)
            assert (bucket is not None) == name.endswith("_bucket")
            assert set(values) == {label.name for label in metric.labels}, name
            combinations.add(tuple(values.items()))
            for label in metric.labels:
                value = values[label.name]
                assert label.values is None or value in label.values | {OTHER}, f"{value!r} is no {label.name}"
        assert len(combinations) <= metric.bound
        for label in metric.labels:
            assert len({dict(labels)[label.name] for labels in samples}) <= label.bound
    return seen


async def test_a_gateway_that_does_nothing_exports_what_the_catalogue_has():
    async with Bench() as bench:
        seen = check(Collector(bench.gateway, Sockets(bench)))
        assert "icws_connections" in seen
        assert "icws_config_generation" not in seen


@settings(max_examples=30)  # of up to 200 labels each, and to read all that is exported takes long
@given(
    st.dictionaries(REASONS, st.integers(1, 9), max_size=100),
    st.dictionaries(st.integers(-1, 6000), st.integers(1, 9), max_size=100),
)
async def test_nobody_can_make_the_labels_grow(reasons, codes):
    async with Bench() as bench:
        stats = bench.gateway.counters
        for each in fields(Counters):
            counter = getattr(stats, each.name)
            if isinstance(counter, Counter):
                is_number = each.name in ("closed", "rejected_requests")
                counter.update(codes if is_number else reasons)
        plugins = [PluginState(f"plugin{number}") for number in range(PLUGINS + 5)]
        samples = scrape(Collector(bench.gateway, Sockets(bench), plugins=lambda: plugins))
        check_samples(samples)
        for name in ("icws_errors_total", "icws_poll_failures_total", "icws_doubts_total"):
            assert sum(samples.get(name, {}).values()) == sum(reasons.values())
        assert sum(samples.get("icws_closes_total", {}).values()) == sum(codes.values())
        assert samples["icws_plugin_calls_total"][(("plugin", OTHER),)] == 15


async def test_calls_under_way_and_waiting_are_what_they_are():
    async with Bench(relay={"queue": 1, "calls": 16}) as bench:
        client, shell = await bench.opened()
        await shell.peer.relays.settled()
        bench.gateway.connections.add(shell.peer)
        gate = asyncio.Event()
        bench.ic.before_submit = lambda request: gate.wait()
        size = 0
        for _ in range(2):
            shell.receive(client.message())
            size = size or shell.peer.relays._under_way[1].size
        await until(lambda: bench.gateway.budget.scheduler.under_way)
        samples = scrape(Collector(bench.gateway, Sockets(bench)))
        of_canister = (("canister", str(CANISTER)),)
        assert samples["icws_calls_under_way"][()] == 1
        assert samples["icws_canister_calls_under_way"][of_canister] == 1
        assert samples["icws_canister_calls_waiting"][of_canister] == 0
        assert samples["icws_calls_limit"][()] == 16
        assert samples["icws_call_bytes"][()] == size
        assert samples["icws_relays_waiting"][()] == 1
        assert samples["icws_unread_sockets"][()] == 1
        gate.set()
        await until(lambda: not bench.gateway.budget.scheduler.under_way)
        assert scrape(Collector(bench.gateway, Sockets(bench)))["icws_call_bytes"][()] == 0


async def test_what_a_node_says_of_its_cluster():
    board = Board()
    async with Bench() as bench, beating(MemoryEngine(board), "a") as it, beating(MemoryEngine(board), "b") as other:
        await it.beat()

        async def answer(kind: str, sender: str, body: bytes) -> bytes:
            return b"all"

        other.node.requests.serve({"list"}, answer)
        await it.node.claim(claim(), lambda _: None)
        with pytest.raises(OpeningClaimed):
            await other.node.claim(claim(), lambda _: None)
        samples = scrape(Collector(bench.gateway, Sockets(bench), node=it.node))
        assert samples["icws_cluster_joined"][()] == samples["icws_cluster_other_nodes"][()] == 1
        assert samples["icws_cluster_claims_total"][("result", "granted"),] == 1
        assert samples["icws_cluster_claims_total"][("result", "used"),] == 0
        samples = scrape(Collector(bench.gateway, Sockets(bench), node=other.node))
        assert samples["icws_cluster_claims_total"][("result", "used"),] == 1
        assert await it.node.requests.ask("b", other.node.incarnation, "list", b"", 60) == b"all"
        with pytest.raises(NodeRefused):
            await it.node.requests.ask("b", other.node.incarnation, "erase", b"", 60)
        samples = scrape(Collector(bench.gateway, Sockets(bench), node=it.node))
        assert samples["icws_cluster_asked_total"][("result", "answered"),] == 1
        assert samples["icws_cluster_requests"][()] == 0
        samples = scrape(Collector(bench.gateway, Sockets(bench), node=other.node))
        assert samples["icws_cluster_answered_total"][()] == 1
        assert samples["icws_cluster_refused_commands_total"][("reason", "unknown"),] == 1
        assert samples["icws_cluster_refused_commands_total"][("reason", "forged"),] == 0
        assert "icws_cluster_joined" not in scrape(Collector(bench.gateway, Sockets(bench)))
    assert it.node.commands.under_way == 0


async def test_nothing_of_the_catalogue_is_only_a_name(tmp_path, certificate):
    """Everything has been seen to be exported, once everything has happened."""
    async with reloading(tmp_path / "gateway.yaml") as it, Bench() as bench:
        sockets = Sockets(bench)
        sockets.tls = LoadedTls(ssl.create_default_context(), b"", certificate_expiry(certificate))
        collector = Collector(
            bench.gateway,
            sockets,
            it.reloads,
            plugins=lambda: [PluginState("audit")],
            loop_lag_s=lambda: 0.001,
            node=Beating(MemoryEngine(Board())).node,
        )
        await it.reloads.apply("log: {level: debug}\n", trigger="api", actor="alice", confirm_within_s=60)
        _, shell = await bench.opened()
        await until(lambda: shell.peer.timeline.delivered)
        bench.gateway.connections.add(shell.peer)
        stats = bench.gateway.counters
        for each in fields(Counters):
            counter = getattr(stats, each.name)
            if isinstance(counter, Counter):
                counter[1000] += 1
        assert check(collector) == set(BY_NAME)
        await it.reloads.confirm(actor="alice")
        assert check(collector) == set(BY_NAME) - {"icws_config_confirm_by_timestamp_seconds"}
        await until(lambda: len(asyncio.all_tasks()) == 1 + len(bench.gateway.tasks))


async def test_the_names_of_the_reference_gateway_are_exported_on_request_only():
    async with Bench() as bench:
        _, shell = await bench.opened()
        collector = Collector(bench.gateway, Sockets(bench))
        assert "clients_connected" not in scrape(collector)
        config = bench.gateway.config
        metrics = config.metrics.model_copy(update={"reference_names": True, "canisters": 1})
        bench.gateway.config = config.model_copy(update={"metrics": metrics})
        found = scrape(collector)
        assert found["clients_connected"] == {(("canister_id", str(CANISTER)),): 1}
        assert found["active_pollers"] == found["client_connected_count"] == {(): 1}
        bench.gateway.config = config.model_copy(update={"metrics": metrics.model_copy(update={"canisters": 0})})
        assert scrape(collector)["clients_connected"] == {(("canister_id", "_other"),): 1}
        shell.lose()
        await until(lambda: not bench.gateway.pending_close_calls)
        assert scrape(collector)["active_pollers"] == {(): 0}


async def test_reloads_in_numbers(tmp_path):
    async with reloading(tmp_path / "gateway.yaml") as it, Bench() as bench:
        collector = Collector(bench.gateway, Sockets(bench), it.reloads)
        assert scrape(collector)["icws_config_last_reload_successful"] == {(): 1}
        assert not any(scrape(collector)["icws_config_reloads_total"].values())
        it.write("log: {level: debug}\n")
        await it.reloads.attempt(trigger="watch", actor="file")
        it.write("log: {level: loud, form: text}\n")
        await it.reloads.attempt(trigger="signal", actor="systemd")
        await it.reloads.attempt(trigger="something new", actor="somebody")
        samples = scrape(collector)
        assert {labels: number for labels, number in samples["icws_config_reloads_total"].items() if number} == {
            (("result", "applied"), ("trigger", "watch")): 1,
            (("result", "rejected"), ("trigger", "signal")): 1,
            (("result", "rejected"), ("trigger", OTHER)): 1,
        }
        assert samples["icws_config_last_reload_successful"] == {(): 0}
        assert samples["icws_config_rejected_keys"] == {(): 2}
        assert samples["icws_config_generation"] == {(): it.reloads.revision}


async def test_a_conversation_in_numbers():
    async with Bench() as bench:
        bench.canister.on_message = lambda key, payload: bench.canister.send(key, b"pong") or OK
        client, shell = await bench.opened()
        shell.receive(client.message())
        await until(lambda: shell.peer.timeline.delivered == 2)
        collector = Collector(bench.gateway, Sockets(bench, shell))
        samples = scrape(collector)
        one = {name: values[()] for name, values in samples.items() if () in values}
        assert one["icws_connections"] == 1
        assert one["icws_relays_total"] == one["icws_canister_messages_total"] == 2
        assert one["icws_polls_per_message"] == one["icws_polls_total"] / 2
        assert samples["icws_hop_seconds_count"][(("hop", "gateway_to_ic"),)] == 2
        assert samples["icws_hop_seconds_count"][(("hop", "polled_to_written"),)] == 2
        # Polls after an opening show the last message again, and are verified too.
        verified = samples["icws_verification_seconds_count"][(("subject", "reply"),)]
        assert 2 <= verified == bench.gateway.recorder.latency.reply_verification.count <= one["icws_polls_total"]
        assert samples["icws_canister_clients"][(("canister", str(CANISTER)),)] == 1
        assert samples["icws_canister_delivered_total"][(("canister", str(CANISTER)),)] == 2
        decisions = samples["icws_rate_limit_decisions_total"]
        labels = {"scope": "messages_per_client", "decision": "allowed", "mode": "enforce"}
        assert decisions[tuple(sorted(labels.items()))] == 2


async def test_peers_by_generation_and_state():
    async with Bench() as bench:
        _, opened = await bench.opened()
        for shell in (opened, bench.connect(), bench.connect()):
            bench.gateway.connections.add(shell.peer)
        sessions = scrape(Collector(bench.gateway, Sockets(bench)))["icws_sessions"]
        assert sessions == {
            (("generation", "v2"), ("state", "open")): 1,
            (("generation", "v2"), ("state", "hello")): 2,
        }


async def test_what_did_not_happen_yet_is_there_with_0():
    """An alert on an increase would not see a series begin with 1."""
    async with Bench() as bench:
        samples = scrape(Collector(bench.gateway, Sockets(bench)))
        assert samples["icws_poll_failures_total"][(("reason", "certificate_stale"),)] == 0
        assert samples["icws_closes_total"][(("code", "1006"),)] == 0


async def test_refusals_are_counted_by_reason_and_with_0():
    async with Bench(log={"refusals": "0/s"}) as bench:
        sockets = Sockets(bench)
        sockets.refusals.reject(Refusal("1", 0, "192.0.2.1", "origin", "no", 403))
        samples = scrape(Collector(bench.gateway, sockets))
        assert samples["icws_refused_connections_total"][(("reason", "origin"),)] == 1
        assert samples["icws_refused_connections_total"][(("reason", "full"),)] == 0
        assert samples["icws_refusals_unlogged_total"] == {(): 1}


async def test_a_canister_has_its_name_in_one_series():
    async with Bench(canisters=[{"id": str(CANISTER), "name": "chat"}]) as bench:
        await bench.opened()
        samples = scrape(Collector(bench.gateway, Sockets(bench)))
        names = {dict(labels)["canister"]: dict(labels)["name"] for labels in samples["icws_canister_info"]}
        assert names == {str(CANISTER): "chat", OTHER: ""}


async def test_a_drain_is_seen():
    async with Bench() as bench:
        collector = Collector(bench.gateway, Sockets(bench))
        assert scrape(collector)["icws_draining"] == {(): 0}
        bench.gateway.start_drain(Pacing(1000.0))
        assert scrape(collector)["icws_draining"] == {(): 1}
        await until(lambda: bench.gateway.drain.is_over)


@given(st.lists(st.integers(0, 10**11), max_size=30))
async def test_histograms_are_as_prometheus_wants_them(durations):
    async with Bench() as bench:
        histogram = bench.gateway.recorder.latency.gateway_to_ic
        for duration in durations:
            histogram.observe(duration)
        samples = scrape(Collector(bench.gateway, Sockets(bench)), only="icws_hop_seconds")
        hop = ("hop", "gateway_to_ic")
        of_all = samples["icws_hop_seconds_bucket"].items()
        buckets = {float(dict(labels)["le"]): count for labels, count in of_all if hop in labels}
        assert sorted(buckets) == [bound / 1e9 for bound in BOUNDS_NS] + [float("inf")]
        for bound, count in buckets.items():
            assert count == sum(duration <= bound * 1e9 for duration in durations)
        assert samples["icws_hop_seconds_count"][(hop,)] == len(durations)
        assert samples["icws_hop_seconds_sum"][(hop,)] == pytest.approx(sum(durations) / 1e9)


def test_every_hop_is_measured():
    assert {each.name for each in fields(Latencies)} == {
        *("client_to_gateway", "gateway_to_ic", "canister_to_polled", "polled_to_written"),
        *("reply_verification", "frame_verification"),
    }
