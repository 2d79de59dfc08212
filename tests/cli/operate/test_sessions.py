from contextlib import AsyncExitStack

import pytest

from appliance.client import ConnectionClosed
from tests.cli.conftest import Icws


async def test_who_is_there(icws: Icws):
    assert await icws.lines("sessions") == ["no sessions"]
    async with icws.plane.connect() as session:
        await session.receive()
        (peer,) = icws.plane.gateway.connections
        lines = await icws.lines("sessions")
        assert lines[0].split()[:4] == ["SESSION", "CANISTER", "CLIENT", "STATE"]
        assert lines[1].split()[:5] == [peer.id, "chat", f"({icws.plane.canister_id})", str(peer.who.client), "open"]
        assert lines[2] == "1 session"


async def test_filters_go_together(icws: Icws):
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(icws.plane.connect())
        clients = [peer.who.client for peer in icws.plane.gateway.connections]
        assert len(await icws.rows("sessions", "--canister", "chat", "--state", "open")) == 4
        assert len(await icws.rows("sessions", "--client", clients[0])) == 2
        assert await icws.lines("sessions", "--client", clients[0], "--generation", "v1") == ["no sessions"]
        assert await icws.lines("sessions", "--address", "10.0.0.0/8") == ["no sessions"]
        assert await icws.lines("sessions", "--min-age", "1h") == ["no sessions"]


async def test_there_may_be_more_than_are_shown(icws: Icws, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("appliance.cli.operate.sessions._PAGE", 2)
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(icws.plane.connect())
        every = [peer.id for peer in icws.plane.gateway.connections]
        some = await icws.lines("sessions", "--limit", 3)
        assert [line.split()[0] for line in some[1:4]] == every[:3]
        assert some[4] == "3 sessions, more exist: --all or --limit N"
        assert [row[0] for row in await icws.rows("sessions", "--all")] == [*every, "5"]
        answer = await icws.json("sessions", "--limit", 3)
        assert [each["id"] for each in answer["items"]] == every[:3]
        assert answer["next"]


async def test_one_is_shown_in_full(icws: Icws):
    async with icws.plane.connect() as session:
        await session.receive()
        (peer,) = icws.plane.gateway.connections
        text = (await icws("sessions", peer.id)).stdout
        assert f"session      {peer.id}\nstate        open\nclient       {peer.who.client}\n" in text
        assert f"canister     chat ({icws.plane.canister_id})\n" in text
        assert "path         /v2 (wire generation v2)\n" in text
        assert (await icws.json("sessions", peer.id))["id"] == peer.id
    assert "its timeline may still exist" in (await icws("sessions", peer.id, code=1)).stderr


@pytest.mark.parametrize(
    "arguments", [["--state", "odd"], ["--generation", "v3"], ["--min-age", "5"], ["--limit", "0"]]
)
async def test_wrong_usage_is_2(icws: Icws, arguments: list[str]):
    await icws("sessions", *arguments, code=2)


async def test_what_only_the_gateway_can_judge_is_told_by_it(icws: Icws):
    assert "address" in (await icws("sessions", "--address", "nonsense", code=1)).stderr


async def test_a_filter_that_means_everybody_is_refused(icws: Icws):
    async with icws.plane.connect():
        assert "icws drain start" in (await icws("close", "--yes", code=2)).stderr
        assert len(list(icws.plane.gateway.connections)) == 1


async def test_those_who_would_be_closed_are_counted_first(icws: Icws):
    async with icws.plane.connect(), icws.plane.connect():
        lines = await icws.lines("close", "--canister", "chat", "--dry-run")
        assert [line.split()[0] for line in lines[1:3]] == [peer.id for peer in icws.plane.gateway.connections]
        assert lines[3] == "would close 2 sessions"
        assert await icws.json("close", "--canister", "chat", "--dry-run") == {
            "matched": 2,
            "closed": 0,
            "nodes": [],
            "missing": [],
        }
        assert await icws.lines("close", "--client", "nobody", "--yes") == ["would close no sessions"]


async def test_nobody_is_closed_without_a_yes(icws: Icws):
    async with icws.plane.connect():
        refused = await icws("close", "--canister", "chat", code=1)
        assert refused.stderr == "Error: would close 1 session; confirm with --yes\n"
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
        assert await icws.json("close", "--canister", "chat", "--yes") == {
            "matched": 1,
            "closed": 1,
            "nodes": [],
            "missing": [],
        }


@pytest.mark.parametrize(
    "arguments", [["x", "--code", "1000"], ["x", "--code", "5000"], ["x", "--reason", "y" * 121], ["x" * 65]]
)
async def test_wrong_usage_of_close_is_2(icws: Icws, arguments: list[str]):
    await icws("close", "--yes", *arguments, code=2)
