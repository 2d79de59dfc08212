import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.cli.conftest import Icws


async def test_there_is_none(icws: Icws):
    assert await icws.lines("drain") == ["drain  none so far"]
    assert (await icws.json("drain", "status"))["state"] == "none"
    assert "no drain" in (await icws("drain", "cancel", code=1)).stderr


async def test_all_sessions_go_at_a_pace(icws: Icws):
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(icws.plane.connect())
        result = await icws("drain", "start", "--rate", "1000/s", "--reconnect-after", "5s", "--wait")
        lines = result.stdout.splitlines()
        assert lines[:3] == ["drain     done", "scope     all sessions", "progress  3 closed of 3, 0 left"]
        assert lines[-1] == "pace      1000/s, 20s in total"
        assert "waiting" in result.stderr, "the progress is shown"
    assert (await icws.lines("drain"))[0] == "drain     done"
    await icws("drain", "cancel")
    assert "ready: ok" in (await icws("status")).stdout


async def test_a_drain_is_watched_and_cancelled(icws: Icws):
    async with icws.plane.connect(), icws.plane.connect():
        began = await icws.json("drain", "start", "--grace", "10m", "--deadline", "20m")
        assert began["state"] == "waiting"
        assert (await icws.lines("drain", "status"))[0] == "drain      waiting"
        cancelled = await icws.lines("drain", "cancel")
        assert cancelled[0] == "drain     cancelled"
        assert len(list(icws.plane.gateway.connections)) == 2


@pytest.mark.parametrize("of", [(), ("--canister", "chat")])
async def test_a_drain_that_is_cancelled_meanwhile_is_exit_code_1(
    icws: Icws, of: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    """Whoever waits for it did not get what was waited for."""
    monkeypatch.setattr("appliance.cli.operate.drain.POLL_INTERVAL_S", 0.01)
    gateway = icws.plane.gateway
    async with icws.plane.connect():
        start = ("drain", "start", "--grace", "10m", "--deadline", "20m", "--wait", *of)
        waiting = asyncio.create_task(icws(*start, code=1))
        while gateway.drain is None and not gateway.canister_drains:  # noqa: ASYNC110 - it comes by a thread
            await asyncio.sleep(0.005)
        await icws.plane.http.delete("/v1/drain", params={"canister": "chat"} if of else {})
        result = await waiting
    assert result.stdout.splitlines()[0].split() == ["drain", "cancelled"]
    assert (await icws.lines("drain", "status", *of))[0].split() == ["drain", "cancelled"]


async def test_the_end_of_a_canisters_drain_is_waited_for_and_shown(icws: Icws):
    async with icws.plane.connect():
        result = await icws("drain", "start", "--canister", "chat", "--wait")
    assert result.stdout.splitlines()[0].split() == ["drain", "done"]
    assert "1 closed of 1" in result.stdout


async def test_one_canister_is_drained_and_the_gateway_stays_ready(icws: Icws):
    async with icws.plane.connect():
        await icws("drain", "start", "--canister", "chat", "--grace", "10m", "--deadline", "20m")
        lines = await icws.lines("drain")
        assert lines[:2] == ["drain      waiting", f"scope      canister chat ({icws.plane.canister_id})"]
        assert (await icws.lines("drain", "status", "--canister", "chat"))[0] == "drain      waiting"
        assert "ready: ok" in (await icws("status")).stdout
        assert (await icws.lines("drain", "cancel", "--canister", "chat"))[0].split()[1] == "cancelled"


@pytest.mark.parametrize(
    "arguments", [["--rate", "5"], ["--rate", "0/s"], ["--deadline", "1"], ["--deadline", "30d"], ["odd"]]
)
async def test_wrong_usage_is_2(icws: Icws, arguments: list[str]):
    await icws("drain", "start", *arguments, code=2)
    assert icws.plane.gateway.drain is None
