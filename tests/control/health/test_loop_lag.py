import asyncio

from appliance.control.health.loop_lag import LoopLagMonitor
from tests.gateway.bench import until


async def test_a_loop_that_was_held_up_is_found_late() -> None:
    async with LoopLagMonitor(interval_s=0) as loop_lag:
        assert loop_lag.check().ok
        loop_lag.lag_s = 99.0
        found = loop_lag.check()
        assert not found.ok
        assert found.detail == "the event loop is 99000 ms late"


async def test_the_lag_is_measured_until_the_monitor_is_left() -> None:
    async with LoopLagMonitor(interval_s=0) as loop_lag:
        loop_lag.lag_s = 99.0
        await until(lambda: loop_lag.lag_s < 99.0)
    loop_lag.lag_s = 99.0
    await asyncio.sleep(0.01)
    assert loop_lag.lag_s == 99.0
