import asyncio

from appliance.localnet.state.clock import ManualClock
from appliance.localnet.subnet.conditions import Conditions
from appliance.localnet.subnet.travel import Travel
from tests.localnet.subnet.fleet import MS


async def durations(seed: bytes) -> list[int]:
    """How many milliseconds each of ten ways takes, by a clock that is moved in such steps."""
    clock, taken = ManualClock(0), list[int]()
    travel = Travel(Conditions(round_trip_s=(0.08, 0.12), seed=seed), clock)
    for _ in range(10):
        way, started = asyncio.ensure_future(travel.one_way()), clock.now_ns()
        while not way.done():
            clock.advance(MS)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        taken.append((clock.now_ns() - started) // MS)
    return taken


async def test_a_way_takes_half_a_round_trip_by_the_seed() -> None:
    first = await durations(b"1")
    assert all(40 <= taken <= 62 for taken in first)
    assert len(set(first)) > 3
    assert await durations(b"1") == first
    assert await durations(b"2") != first
