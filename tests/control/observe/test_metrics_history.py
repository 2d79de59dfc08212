from itertools import count

from appliance.control.models import Sample
from appliance.control.observe.metrics_history import MetricsHistory, sample_of
from tests.control.plane import Plane
from tests.gateway.bench import until

NUMBERS = count()


def take() -> Sample:
    return Sample.model_construct(sessions=next(NUMBERS))


async def test_the_last_samples_are_kept_in_their_order() -> None:
    async with MetricsHistory(take, every_s=0.001, kept=3) as metrics_history:
        first = metrics_history.samples[0].sessions
        await until(lambda: metrics_history.samples[0].sessions > first + 3)
        numbers = [sample.sessions for sample in metrics_history.samples]
        assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]


async def test_nothing_is_taken_any_more_when_it_is_left() -> None:
    async with MetricsHistory(take, every_s=0.001) as metrics_history:
        pass
    kept = metrics_history.samples
    async with MetricsHistory(take, every_s=0.001) as other:
        await until(lambda: len(other.samples) > 3)
    assert metrics_history.samples == kept


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


async def test_the_api_tells_what_was(plane: Plane) -> None:
    recent = await plane.get("/v1/stats/recent")
    assert recent["every_s"] == plane.control.metrics_history.every_s
    assert [item["sessions"] for item in recent["items"]] == [0]
