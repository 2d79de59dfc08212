import asyncio
from typing import Any

import pytest

from tests.control.plane import OTHER, Plane
from tests.control.routes.test_operation import end_of
from tests.gateway.bench import until


async def listed(plane: Plane, **query: Any) -> list[str]:
    return [session["id"] for session in (await plane.get("/v1/sessions", **query))["items"]]


async def test_a_session_is_shown_as_it_is(plane: Plane) -> None:
    assert await plane.get("/v1/sessions") == {"items": [], "next": None, "missing": []}
    async with plane.connect() as connection:
        await connection.send({"text": "hello", "timestamp": 0})
        (session,) = (await plane.get("/v1/sessions"))["items"]
        assert session["canister"] == str(plane.canister_id)
        assert (session["canister_name"], session["generation"], session["path"]) == ("chat", "v2", "/v2")
        assert (session["state"], session["address"]) == ("open", "127.0.0.1")
        assert session["connected_at"] <= session["opened_at"]
        assert session["age_s"] >= 0
        assert session["frames_in"] >= 1
        assert session["bytes_out"] > session["bytes_in"] > 0
        found = await plane.get(f"/v1/sessions/{session['id']}")
        assert found.keys() == session.keys()
        for name in ("id", "client", "connected_at", "opened_at", "state"):
            assert found[name] == session[name]
    await until(lambda: not len(plane.control.listener))
    response = await plane.http.get(f"/v1/sessions/{session['id']}")
    assert response.status_code == 404
    assert "its timeline may still exist" in response.json()["detail"]


async def test_those_who_have_not_joined_are_there_too(plane: Plane) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", plane.control.listener.port)
    head = ["GET /v1 HTTP/1.1", "Host: gateway", "Connection: Upgrade", "Upgrade: websocket"]
    head += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""]
    writer.write("\r\n".join(head).encode())
    await until(lambda: len(plane.gateway.connections) == 1)
    (session,) = (await plane.get("/v1/sessions", state="hello"))["items"]
    assert (session["canister"], session["client"], session["opened_at"]) == (None, None, None)
    assert session["generation"] == "v1"
    writer.close()


async def test_each_filter_finds_what_it_says(plane: Plane) -> None:
    async with plane.connect(), plane.connect():
        first, second = (await plane.get("/v1/sessions"))["items"]
        both = [first["id"], second["id"]]
        assert await listed(plane, client=first["client"]) == [first["id"]]
        assert await listed(plane, client=second["client"][:-3]) == [second["id"]]
        for query in (
            {"canister": "chat"},
            {"canister": str(plane.canister_id)},
            {"generation": "v2"},
            {"state": "open"},
            {"address": "127.0.0.1"},
            {"address": "127.0.0.0/8"},
            {"min_age_s": 0},
        ):
            assert await listed(plane, **query) == both, query
        for query in (
            {"canister": OTHER},
            {"generation": "v1"},
            {"state": "opening"},
            {"address": "127.0.0.2"},
            {"address": "::/0"},
            {"address": "unix"},
            {"min_age_s": 3600},
            {"canister": "chat", "client": "nobody"},
        ):
            assert await listed(plane, **query) == [], query


async def test_pages_follow_each_other_though_sessions_end(plane: Plane) -> None:
    async with plane.connect() as one, plane.connect(), plane.connect():
        everyone = await listed(plane)
        page = await plane.get("/v1/sessions", limit=1)
        assert [session["id"] for session in page["items"]] == everyone[:1]
        await one.close()
        await until(lambda: len(plane.gateway.connections) == 2)
        page = await plane.get("/v1/sessions", limit=1, after=page["next"])
        assert [session["id"] for session in page["items"]] == everyone[1:2]
        page = await plane.get("/v1/sessions", limit=5, after=page["next"])
        assert [session["id"] for session in page["items"]] == everyone[2:]
        assert page["next"] is None


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ({"address": "nowhere"}, "address"),
        ({"after": "nothing"}, "after"),
        ({"after": "1e5.x"}, "after"),
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"state": "asleep"}, "state"),
        ({"generation": "v3"}, "generation"),
        ({"min_age_s": -1}, "min_age_s"),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(plane: Plane, query: dict[str, Any], key: str) -> None:
    response = await plane.http.get("/v1/sessions", params=query)
    assert response.status_code == 422
    assert [(fault["place"], fault["key"]) for fault in response.json()["errors"]] == [("query", key)]


async def test_a_story_is_told_while_the_session_is_there_and_after_it(plane: Plane) -> None:
    async with plane.connect():
        session = (await listed(plane))[0]
        story = await plane.get(f"/v1/sessions/{session}/story")
        assert (story["session"], story["closed"], story["close_code"], story["dropped"]) == (session, False, None, 0)
        kinds = [moment["kind"] for moment in story["moments"]]
        assert kinds[:4] == ["accepted", "upgraded", "frame", "joined"]
        assert "opened" in kinds
        assert all(moment["sentence"] and moment["at"] for moment in story["moments"])
        await plane.post("/v1/sessions/close", {"filter": {"id": session}, "code": 4200, "reason": "maintenance"})
    await until(lambda: not len(plane.control.listener))
    story = await plane.get(f"/v1/sessions/{session}/story")
    assert (story["closed"], story["close_code"]) == (True, 4200)
    assert "with code 4200" in story["summary"][-1]
    assert "maintenance" in story["summary"][-1]
    assert (await plane.http.get("/v1/sessions/nobody/story")).status_code == 404


async def test_sessions_are_closed_with_the_code_and_the_words_that_were_asked_for(plane: Plane) -> None:
    async with plane.connect() as one, plane.connect():
        first, second = await listed(plane)
        counted = await plane.post("/v1/sessions/close", {"filter": {"id": first}, "dry_run": True})
        assert counted == {"matched": 1, "closed": 0, "nodes": [], "missing": []}
        assert await listed(plane) == [first, second]
        assert (await plane.get("/v1/audit"))["items"] == []
        body = {"filter": {"id": first}, "code": 4510, "reason": "abuse"}
        assert await plane.post("/v1/sessions/close", body) == {"matched": 1, "closed": 1, "nodes": [], "missing": []}
        closed = await end_of(one)
        assert (closed.code, closed.text) == (4510, "abuse")
        await until(lambda: len(plane.gateway.connections) == 1)
        assert await listed(plane) == [second]
    entry = (await plane.get("/v1/audit"))["items"][0]
    assert entry["action"] == "closeSessions"
    assert entry["before"] == {**body, "sessions": [first]}
    assert entry["after"] == {"closed": 1}


@pytest.mark.parametrize("body", [{"filter": {}}, {"filter": {"canister": None}}, {}, {"filter": None}])
async def test_a_filter_that_says_nothing_closes_nobody(plane: Plane, body: dict[str, Any]) -> None:
    async with plane.connect():
        response = await plane.http.post("/v1/sessions/close", json=body)
        assert response.status_code == 422
        assert len(await listed(plane)) == 1


@pytest.mark.parametrize("wanted", [{}, {"address": "nowhere"}])
async def test_whoever_only_counts_attempts_no_change(plane: Plane, wanted: dict[str, str]) -> None:
    for is_dry, entries in ((True, 0), (False, 1)):
        body = {"filter": wanted, "dry_run": is_dry}
        assert (await plane.http.post("/v1/sessions/close", json=body)).status_code == 422
        assert len((await plane.get("/v1/audit"))["items"]) == entries


@pytest.mark.parametrize("code", [999, 1000, 1006, 3999, 5000])
async def test_only_codes_of_ours_are_sent(plane: Plane, code: int) -> None:
    body = {"filter": {"canister": "chat"}, "code": code}
    assert (await plane.http.post("/v1/sessions/close", json=body)).status_code == 422


async def test_refused_connections_are_listed_by_address(plane: Plane) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", plane.control.listener.port)
    writer.write(b"GET /nowhere HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\n\r\n")
    await until(lambda: plane.control.listener.refusals.rejected)
    writer.close()
    (refusal,) = (await plane.get("/v1/refusals", address="127.0.0.0/8"))["items"]
    facts = {"address": "127.0.0.1", "origin": "https://a.example", "path": "/nowhere", "status": 404}
    facts |= {"reason": "unknown_path", "code": None, "canister": None, "canister_name": None}
    assert refusal.items() >= facts.items()
    assert refusal["cause"].startswith("No WebSocket at this path")
    assert (await plane.get(f"/v1/sessions/{refusal['session']}/story"))["address"] == "127.0.0.1"
    assert (await plane.get("/v1/refusals"))["items"] == [refusal]
    assert (await plane.get("/v1/refusals", address="192.0.2.1"))["items"] == []
    assert (await plane.http.get("/v1/refusals?address=nowhere")).status_code == 422


async def test_the_stories_of_sessions_that_ended_are_listed_the_latest_first(plane: Plane) -> None:
    assert (await plane.get("/v1/stories"))["items"] == []
    ended = []
    for _ in range(3):
        async with plane.connect() as session:
            await session.receive()
            (here,) = await listed(plane)
        ended.insert(0, here)
        await until(lambda: not len(plane.control.listener))
    found = (await plane.get("/v1/stories"))["items"]
    assert [story["session"] for story in found] == ended
    assert found[0] == await plane.get(f"/v1/sessions/{ended[0]}/story")
    assert [story["session"] for story in (await plane.get("/v1/stories", limit=2))["items"]] == ended[:2]


async def test_a_canister_is_shown_with_its_name(plane: Plane) -> None:
    async with plane.connect() as session:
        await session.receive()
        (shown,) = (await plane.get("/v1/sessions"))["items"]
        story = await plane.get(f"/v1/sessions/{shown['id']}/story")
    assert (story["canister"], story["canister_name"]) == (str(plane.canister_id), "chat")
    assert any(f"of canister chat ({plane.canister_id})" in line for line in story["summary"])
