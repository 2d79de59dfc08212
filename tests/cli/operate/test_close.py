from contextlib import AsyncExitStack

import pytest

from appliance.client import ConnectionClosed
from tests.cli.conftest import Icws


async def test_a_filter_that_means_everybody_is_refused(icws: Icws):
    async with icws.plane.connect():
        assert "icws drain start" in (await icws("close", "--yes", code=2)).stderr
        assert len(list(icws.plane.gateway.connections)) == 1


async def test_those_who_would_be_closed_are_counted_first(icws: Icws):
    async with icws.plane.connect(), icws.plane.connect():
        lines = await icws.lines("close", "--canister", "chat", "--dry-run")
        assert [line.split()[0] for line in lines[1:3]] == [peer.id for peer in icws.plane.gateway.connections]
        assert lines[3] == "would close 2 sessions"
        assert await icws.json("close", "--canister", "chat", "--dry-run") == {"matched": 2, "closed": 0}
        assert await icws.lines("close", "--client", "nobody", "--yes") == ["would close no sessions"]


async def test_nobody_is_closed_without_a_yes(icws: Icws):
    async with icws.plane.connect():
        refused = await icws("close", "--canister", "chat", code=1)
        assert refused.stderr == "Error: would close 1 session; --yes does it without asking\n"
        assert len(list(icws.plane.gateway.connections)) == 1


async def test_the_clients_are_told_code_and_reason(icws: Icws):
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(icws.plane.connect()) for _ in range(2)]
        first, _ = icws.plane.gateway.connections
        answer = await icws.lines("close", first.id, "--code", 4321, "--reason", "come back later", "--yes")
        assert answer == ["closed 1 session"]
        await sessions[0].receive()
        with pytest.raises(ConnectionClosed, match=r"4321.*come back later"):
            await sessions[0].receive()
        await sessions[1].receive()
        assert await icws.json("close", "--canister", "chat", "--yes") == {"matched": 1, "closed": 1}


@pytest.mark.parametrize(
    "arguments", [["x", "--code", "1000"], ["x", "--code", "5000"], ["x", "--reason", "y" * 121], ["x" * 65]]
)
async def test_wrong_usage_is_2(icws: Icws, arguments: list[str]):
    await icws("close", "--yes", *arguments, code=2)
