import asyncio

from appliance.control.health.health import Finding, Health


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
        ("started", True, "accepts connections"),
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


async def test_failed_checks_are_sentences() -> None:
    health = Health({}, {"one": well, "two": later})
    assert await health.failed() == ["started: is starting", "two: broken"]
    health.started = True
    assert await health.failed() == ["two: broken"]
