import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from appliance.client.errors import ConnectFailed
from appliance.control.routes import events
from tests.control.plane import SECRETS, Plane, running
from tests.gateway.bench import until


class Stream:
    """Reads events as a browser does."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def next(self, kind: str) -> dict[str, Any]:
        """The next one of this kind, as its data says it."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
            elif fields.get("event") == kind:
                data: dict[str, Any] = json.loads(fields["data"])
                assert (data["id"], data["kind"]) == (int(fields["id"]), kind)
                return data
            else:
                fields = {}
        raise EOFError


@asynccontextmanager
async def listening(plane: Plane, after: int | None = None, **query: Any) -> AsyncIterator[Stream]:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    async with plane.http.stream("GET", "/v1/events", params=query, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        lines = response.aiter_lines()
        assert (await anext(lines)).startswith(":")
        yield Stream(lines)


async def test_what_happens_is_told_as_it_happens(plane: Plane) -> None:
    async with listening(plane) as stream:
        async with plane.connect():
            opened = await stream.next("session.opened")
            assert opened["data"]["canister"] == str(plane.canister_id)
            await plane.http.put("/v1/log", json={"level": "error"})
            entry = (await stream.next("audit"))["data"]
            assert (entry["action"], entry["after"]) == ("setLog", "error")
            await plane.post("/v1/canisters/chat/pause")
            reload = (await stream.next("reload"))["data"]
            assert (reload["result"], reload["generation"], reload["changes"]) == ("applied", 2, 1)
            await plane.post("/v1/drain", {"rate": 1000})
            assert (await stream.next("drain"))["data"]["state"] == "waiting"
            closed = (await stream.next("session.closed"))["data"]
            assert (closed["session"], closed["code"]) == (opened["data"]["session"], 1012)
        while (await stream.next("drain"))["data"]["state"] != "done":
            pass


async def test_a_listener_may_want_some_kinds_only(plane: Plane) -> None:
    async with listening(plane, kinds=["audit"]) as stream:
        await plane.post("/v1/canisters/chat/pause")
        await plane.http.put("/v1/log", json={"level": "error"})
        assert (await stream.next("audit"))["data"]["action"] == "pauseCanister"
        assert (await stream.next("audit"))["data"]["action"] == "setLog"
    response = await plane.http.get("/v1/events", params={"kinds": "weather"})
    assert response.status_code == 422


@pytest.mark.parametrize("role", [None, "operator"])
async def test_a_token_that_is_removed_or_gets_another_role_loses_its_streams(
    tcp: Plane, role: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.01)
    file = tcp.file.parent / "tokens"
    lines = file.read_text().splitlines()
    async with tcp.client(SECRETS["viewer"]) as http, http.stream("GET", "/v1/events") as response:
        stream = response.aiter_lines()
        for _ in range(20):
            assert await anext(stream) in (": still here", "")
        beside = file.with_suffix(".new")
        kept = [line.replace(" viewer ", f" {role} ") for line in lines if role or " viewer " not in line]
        beside.write_text("".join(f"{line}\n" for line in kept))
        beside.replace(file)
        async for line in stream:
            assert line in (": still here", "")


async def test_who_comes_back_gets_what_it_missed(plane: Plane) -> None:
    async with listening(plane, kinds="audit") as stream:
        await plane.http.put("/v1/log", json={"level": "error"})
        last = (await stream.next("audit"))["id"]
    await plane.http.put("/v1/log", json={"level": "info"})
    async with listening(plane, after=last, kinds="audit") as stream:
        assert (await stream.next("audit"))["data"]["after"] == "info"


async def test_whoever_leaves_is_forgotten(plane: Plane) -> None:
    before = len(plane.control.events)
    async with listening(plane):
        assert len(plane.control.events) == before + 1
    await until(lambda: len(plane.control.events) == before)


async def test_subscribers_are_bounded(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane.control.events, "_max_subscribers", len(plane.control.events) + 1)
    async with listening(plane):
        response = await plane.http.get("/v1/events")
        assert response.status_code == 503
        assert response.json()["type"] == "urn:icws:problem:too-many-listeners"


async def test_the_end_of_the_gateway_is_the_end_of_the_stream(plane: Plane) -> None:
    async with listening(plane) as stream:
        plane.control.events.close()
        with pytest.raises(EOFError):
            await stream.next("drain")


async def test_somebody_who_has_to_wait_and_a_canister_that_is_paused_are_told() -> None:
    limits = "rate_limits: {connections_per_ip: {rate: 1/h, burst: 1}}\n"
    async with (
        running(more=limits) as plane,
        listening(plane, kinds=["limit", "canister.state"]) as stream,
        plane.connect(),
    ):
        with pytest.raises(ConnectFailed, match="429"):
            await plane.connect().__aenter__()
        limited = (await stream.next("limit"))["data"]
        assert (limited["scope"], limited["key"], limited["mode"]) == ("connections_per_ip", "127.0.0.1", "enforce")
        await plane.post("/v1/canisters/chat/pause")
        paused = (await stream.next("canister.state"))["data"]
        assert (paused["canister"], paused["state"]) == (str(plane.canister_id), "paused")
