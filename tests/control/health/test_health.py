import asyncio

from appliance.control.health import MOST_LAG_S, Finding, Health, Pulse
from tests.gateway.bench import until


def well() -> Finding:
    return Finding(True, "well")


async def later() -> Finding:
    await asyncio.sleep(0)
    return Finding(False, "broken")


async def test_all_checks_have_to_be_well() -> None:
    health = Health({"loop": well}, {"one": well, "two": later})
    health.started = True
    assert (await health.live()).status == "ok"
    ready = await health.ready()
    assert ready.status == "failing"
    assert ready.checks is not None
    assert [(check.name, check.ok, check.detail) for check in ready.checks] == [
        ("started", True, "takes connections"),
        ("one", True, "well"),
        ("two", False, "broken"),
    ]


async def test_it_is_not_ready_before_it_has_started() -> None:
    health = Health({}, {"one": well})
    assert (await health.live()).status == "ok"
    assert (await health.ready()).status == (await health.startup()).status == "failing"
    health.started = True
    assert (await health.ready()).status == (await health.startup()).status == "ok"


async def test_a_check_that_raises_is_a_finding() -> None:
    def raises() -> Finding:
        raise RuntimeError("no such thing")

    def silent() -> Finding:
        raise RuntimeError

    found = (await Health({"one": raises, "two": silent}, {}).live()).checks
    assert found is not None
    assert [(check.ok, check.detail) for check in found] == [(False, "no such thing"), (False, "RuntimeError")]


async def test_checks_run_side_by_side() -> None:
    gate = asyncio.Event()

    async def waits() -> Finding:
        await gate.wait()
        return well()

    async def opens() -> Finding:
        gate.set()
        return well()

    assert (await Health({"one": waits, "two": opens}, {}).live()).status == "ok"


async def test_a_loop_that_was_held_up_is_found_late() -> None:
    async with Pulse(beat_s=0) as pulse:
        assert pulse.check().ok
        pulse.lag_s = MOST_LAG_S + 1
        found = pulse.check()
        assert not found.ok
        assert found.detail == "the event loop is 3000 ms late"


async def test_the_pulse_beats_until_it_is_left() -> None:
    async with Pulse(beat_s=0) as pulse:
        pulse.lag_s = 99.0
        await until(lambda: pulse.lag_s < 99.0)
    pulse.lag_s = 99.0
    await asyncio.sleep(0.01)
    assert pulse.lag_s == 99.0
