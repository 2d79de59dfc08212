import asyncio
from array import array
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control.models import Sample, Span
from appliance.control.observe import metrics_history as module
from appliance.control.observe.metrics_history import MAX_SAMPLES, TICKS, MetricsHistory, Taken, sample_of, values_of
from appliance.errors import GatewayError
from appliance.ic.principal import Principal
from tests.control.page.steps import talk
from tests.control.plane import OTHER, Plane, running
from tests.gateway.bench import until

NUMBERS = count()
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SPANS: list[Span] = list(get_args(Span))


def take() -> Taken:
    return Taken(Sample.model_construct(sessions=next(NUMBERS)), {})


def numbers(first: int) -> "array[int]":
    return array("q", [first, *range(15)])


async def test_the_last_samples_are_kept_in_their_order() -> None:
    async with MetricsHistory(take, every_s=0.001, kept=3) as metrics_history:
        first = metrics_history.samples()[0].sessions
        await until(lambda: metrics_history.samples()[0].sessions > first + 3)
        found = [sample.sessions for sample in metrics_history.samples()]
        assert found == [found[0], found[0] + 1, found[0] + 2]


async def test_nothing_is_taken_any_more_when_it_is_left() -> None:
    async with MetricsHistory(take, every_s=0.001) as metrics_history:
        pass
    kept = metrics_history.samples()
    async with MetricsHistory(take, every_s=0.001) as other:
        await until(lambda: len(other.samples()) > 3)
    assert metrics_history.samples() == kept


async def test_a_sample_has_what_the_counters_say(plane: Plane) -> None:
    async with plane.connect():
        # A poll may deliver the first message before the reply to the opening call is there.
        await until(lambda: plane.gateway.recorder.latency.gateway_to_ic.count)
        sample = sample_of(plane.gateway, plane.control.listener)
    stats = plane.gateway.counters
    assert (sample.sessions, sample.connections) == (1, 1)
    assert sample.counters["joined"] == stats.joined == 1
    assert sample.totals["refused"] == 0
    assert {hop.name: hop.count for hop in sample.hops}["gateway_to_ic"] > 0
    stats.refused.update({"malformed": 2, "protocol": 3})
    assert sample_of(plane.gateway, plane.control.listener).totals["refused"] == 5


@given(taken=st.integers(1, 2000), kept=st.integers(1, 9), absent=st.sets(st.integers(0, 1999), max_size=5))
def test_longer_spans_keep_every_so_many_samples_and_canisters_keep_step(
    taken: int, kept: int, absent: set[int]
) -> None:
    """A canister has the samples since it is charted without a break, at the times of the gateway's."""
    canister = Principal.from_text(OTHER)
    now = [0]

    def take_next() -> Taken:
        number = now[0]
        sample = Sample.model_construct(at=BEGIN + timedelta(seconds=number), sessions=number)
        return Taken(sample, {} if number in absent else {canister: numbers(number)})

    history = MetricsHistory(take_next, kept=kept)

    async def sample_all() -> None:
        for number in range(taken):
            now[0] = number
            history._sample()
            assert history._timer is not None
            history._timer.cancel()

    asyncio.run(sample_all())
    for span in SPANS:
        times = list(range(0, taken, TICKS[span]))
        since = max((time for time in times if time in absent), default=-1)
        assert [each.sessions for each in history.samples(span)] == times[-kept:]
        found = [((each.at - BEGIN).seconds, each.sessions) for each in history.samples_of(canister, span)]
        assert found == [(time, time) for time in times[-kept:] if time > since]


def test_the_spans_are_as_long_as_they_are_called() -> None:
    history = MetricsHistory(take)
    seconds = {span: history.interval_s(span) * MAX_SAMPLES for span in SPANS}
    assert seconds == {"10m": 600, "1h": 3600, "6h": 21600, "24h": 86400}


async def test_canisters_are_measured_one_by_one(plane: Plane) -> None:
    other = Principal.from_text(OTHER)
    async with plane.connect() as client:
        await client.receive()
        await talk(client)
        shown = module.canister_sample(BEGIN, values_of(plane.gateway, plane.canister_id))
        whole = sample_of(plane.gateway, plane.control.listener)
        assert (shown.sessions, shown.connections) == (1, 1)
        for name in ("relayed", "delivered"):
            assert shown.counters[name] == whole.counters[name] > 0
        hops = {hop.name: hop for hop in whole.hops}
        for hop in shown.hops:
            assert (hop.count, hop.sum_s) == (hops[hop.name].count, hops[hop.name].sum_s)
        assert not any(values_of(plane.gateway, other))


async def test_a_message_that_is_not_relayed_is_one_error(plane: Plane) -> None:
    """It closes its client's socket too, which is counted, and known to be the same error."""
    async with plane.connect(message_type=None) as client:
        await client.receive()
        await client.send(b"no record")  # the canister traps
        with pytest.raises(GatewayError):
            await client.receive()
    await until(lambda: plane.gateway.counters.refused)
    for sample in (
        sample_of(plane.gateway, plane.control.listener),
        module.canister_sample(BEGIN, values_of(plane.gateway, plane.canister_id)),
    ):
        assert sample.totals["failed_relays"] >= 1
        assert sample.totals["refused"] == sample.counters["relay_closes"] == 1


async def test_the_charted_canisters_stay_and_then_those_with_most_clients_come() -> None:
    async with running(more="metrics: {canisters: 1}\n") as plane:
        await plane.post("/v1/canisters", {"id": OTHER})
        gateway, listener, other = plane.gateway, plane.control.listener, Principal.from_text(OTHER)
        async with plane.connect():
            assert set(module.take(gateway, listener, set()).canisters) == {plane.canister_id}
            assert set(module.take(gateway, listener, {other}).canisters) == {other}
            of_other = await plane.get("/v1/stats/recent", canister=OTHER)
        assert of_other["items"] == []
        assert of_other["now"]["sessions"] == 0


async def test_what_is_no_longer_used_is_forgotten(plane: Plane) -> None:
    measured = plane.gateway.recorder.by_canister
    measured.of(Principal.from_text(OTHER)).delivered = 5
    module.take(plane.gateway, plane.control.listener, set())
    assert not measured.of(Principal.from_text(OTHER)).delivered


async def test_only_later_samples_are_sent_where_some_are_there_already(plane: Plane) -> None:
    history = plane.control.metrics_history
    history._sample()
    for query in ({}, {"canister": "chat"}):
        whole = await plane.get("/v1/stats/recent", **query)
        first, second = (item["at"] for item in whole["items"])
        rest: dict[str, Any] = await plane.get("/v1/stats/recent", after=first, **query)
        assert [item["at"] for item in rest["items"]] == [second]
        assert rest["now"]["at"] > second
    hour = await plane.get("/v1/stats/recent", span="1h")
    assert (hour["every_s"], [item["at"] for item in hour["items"]]) == (history.every_s * 6, [first])
    for wrong, status in (
        ({"span": "2h"}, 422),
        ({"after": "now"}, 422),
        ({"after": "0.5"}, 422),
        ({"canister": "nobody"}, 404),
    ):
        assert (await plane.http.get("/v1/stats/recent", params=wrong)).status_code == status


async def test_the_api_tells_what_was(plane: Plane) -> None:
    recent = await plane.get("/v1/stats/recent")
    assert recent["every_s"] == plane.control.metrics_history.every_s
    assert [item["sessions"] for item in recent["items"]] == [0]
