"""Which pollers run, and what of a canister is remembered while nobody polls it."""

import asyncio
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config.schema import Canister
from appliance.gateway.polling import pollers as module
from appliance.ic.principal import Principal
from tests.gateway.bench import Bench
from tests.gateway.clients import CANISTER

CANISTERS = [Canister(id=Principal(bytes([number] * 10))) for number in range(6)]
LIMIT = 3


@pytest.fixture(autouse=True, scope="module")
def few_positions():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_POSITIONS", LIMIT)
        yield


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(CANISTERS), st.none() | st.integers(1, 99)), max_size=12))
def test_a_canister_is_polled_from_where_it_was_unless_too_many_others_were_since(starts):
    async def run():
        async with Bench() as bench:
            pollers, known = bench.gateway.pollers, OrderedDict()
            for canister, nonce in starts:
                expected = known.pop(canister.id, 0) if nonce is None else nonce
                known.pop(canister.id, None)
                pollers.start(canister, bench.gateway.config.polling, nonce)
                assert list(pollers) == [canister.id]
                assert pollers[canister.id].facts.next_nonce == expected
                while len(known) >= LIMIT:
                    known.popitem(last=False)
                known[canister.id] = expected
                pollers.stop(canister.id)
                assert not pollers
                assert canister.id not in pollers

    asyncio.run(run())


async def test_the_position_of_a_canister_is_not_forgotten_while_it_is_polled():
    async with Bench() as bench:
        pollers, (first, *others) = bench.gateway.pollers, CANISTERS
        pollers.start(first, bench.gateway.config.polling, 7)
        for canister in others:
            pollers.start(canister, bench.gateway.config.polling, None)
            pollers.stop(canister.id)
        pollers.stop(first.id)
        pollers.start(first, bench.gateway.config.polling, None)
        assert pollers[first.id].facts.next_nonce == 7


async def test_whoever_waits_for_a_poll_goes_on_when_polling_stops():
    async with Bench() as bench:
        pollers = bench.gateway.pollers
        for canister in CANISTERS:
            pollers.start(canister, bench.gateway.config.polling, None)
        waiting = [asyncio.ensure_future(poller.drained()) for poller in pollers.values()]
        await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)
        pollers.stop_all()
        await asyncio.gather(*waiting)
        pollers.stop(CANISTERS[0].id)  # which is not polled any more
        assert not len(pollers)


async def test_a_poller_that_ends_late_takes_no_turn_from_the_next_one_of_its_canister():
    async with Bench(polling={"budget": "1/s"}) as bench:
        pollers, canister = bench.gateway.pollers, Canister(id=CANISTER)
        begun, ended = asyncio.Event(), asyncio.Event()

        async def slow_to_end():
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                for _ in range(10):
                    await asyncio.sleep(0)
                ended.set()

        bench.ic.before_query = slow_to_end
        pollers.start(canister, bench.gateway.config.polling, None)
        await begun.wait()
        pollers.stop(CANISTER)
        pollers.start(canister, bench.gateway.config.polling, None)
        await ended.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        assert pollers.budget.waiting == 1
