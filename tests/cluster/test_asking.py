"""Operators ask one node for all: two and three gateways with a real Redis between them."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from appliance.cli.main import main
from appliance.cluster.seal import Seal
from appliance.ic.key_file import load_or_create_identity
from tests.cluster.planes import NodePlane, planes, until
from tests.cluster.redis_server import RedisServer, redis_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


async def test_sessions_of_all_nodes(server: RedisServer, tmp_path: Path):
    """Listed in pages, shown, explained, counted and closed, whichever node is asked."""
    async with planes(tmp_path, server.url) as (a, b), AsyncExitStack() as stack:
        for each in (a, b, a, b, b):
            await stack.enter_async_context(each.connect())
        found = await a.get("/v1/sessions", node="*")
        assert [each["node"] for each in found["items"]] == ["a", "b", "a", "b", "b"]
        assert (found["missing"], found["next"]) == ([], None)
        assert found["items"] == sorted(found["items"], key=lambda each: each["connected_at"])

        # in pages, whose borders are at any of them
        for limit in (1, 2, 4):
            pages, after = [], None
            while after is not None or not pages:
                query = {"limit": limit, "node": "*", **({} if after is None else {"after": after})}
                page = await b.get("/v1/sessions", **query)
                assert len(page["items"]) <= limit
                pages, after = pages + page["items"], page["next"]
            assert [each["id"] for each in pages] == [each["id"] for each in found["items"]]

        # of one other node, and of this one
        theirs = [each for each in found["items"] if each["node"] == "b"]
        assert [each["id"] for each in (await a.get("/v1/sessions", node="b"))["items"]] == [
            each["id"] for each in theirs
        ]
        assert [each["node"] for each in (await a.get("/v1/sessions"))["items"]] == ["a", "a"]
        assert [each["node"] for each in (await a.get("/v1/sessions", node="a"))["items"]] == ["a", "a"]

        # one session, from the node that does not have it
        there = theirs[0]["id"]
        assert (await a.http.get(f"/v1/sessions/{there}")).status_code == 404
        assert (await a.get(f"/v1/sessions/{there}", node="*"))["node"] == "b"
        story = await a.get(f"/v1/sessions/{there}/story", node="*")
        assert (story["session"], story["node"]) == (there, "b")
        refused = await a.http.get("/v1/sessions/ffffffff", params={"node": "*"})
        assert (refused.status_code, refused.json()["detail"]) == (
            404,
            "no session ffffffff is connected; its timeline may still exist",
        )

        # counted, then closed
        body = {"filter": {"canister": "chat"}, "code": 4510, "reason": "over"}
        counted = await a.post("/v1/sessions/close", {**body, "dry_run": True}, node="*")
        assert (counted["matched"], counted["closed"]) == (5, 0)
        closed = await a.post("/v1/sessions/close", {"filter": {"id": there}}, node="*")
        assert closed == {
            "matched": 1,
            "closed": 1,
            "nodes": [{"node": "a", "matched": 0, "closed": 0}, {"node": "b", "matched": 1, "closed": 1}],
            "missing": [],
        }
        wrong = await a.http.post("/v1/sessions/close", json={"filter": {"address": "x"}}, params={"node": "b"})
        assert (wrong.status_code, wrong.json()["errors"][0]["key"]) == (422, "address")
        assert (await a.post("/v1/sessions/close", body, node="b"))["closed"] == 2
        assert (await b.post("/v1/sessions/close", body, node="*"))["closed"] == 2
        await until(lambda: not len(a.control.listener) and not len(b.control.listener))
        assert {each["node"] for each in (await a.get("/v1/stories", node="*"))["items"]} == {"a", "b"}

        # both audit logs have who it was; a count is no change
        user = (await a.get("/v1/whoami"))["name"]
        assert [actor for actor, *_ in await a.audited()] == [f"{user} at node b", user, user]
        assert [(actor, after) for actor, _, after in await b.audited()] == [
            (
                user,
                {
                    "closed": 2,
                    "nodes": [{"node": "b", "matched": 0, "closed": 0}, {"node": "a", "matched": 2, "closed": 2}],
                    "missing": [],
                },
            ),
            (f"{user} at node a", {"closed": 2}),
            (f"{user} at node a", None),
            (f"{user} at node a", {"closed": 1}),
        ]


async def test_a_role_is_checked_at_both_nodes(server: RedisServer, tmp_path: Path):
    async with planes(tmp_path, server.url, cluster={"name": "roles"}) as (a, b):
        request = b"""{
            "actor": "token:x", "role": "viewer", "path": "/v1/sessions/close", "body": {"filter": {"state": "open"}}
        }"""
        ask = a.node.requests.ask
        answer = await ask("b", b.node.incarnation, "closeSessions", request, 60)
        assert answer[:3] == b"403"
        assert b"token:x at node a is viewer" in answer
        for kind, path, status in (
            ("closeSessions", "/v1/drain", b"422"),
            ("getReady", "/readyz", b"200"),
            ("getReady", "/v1/config", b"422"),
        ):
            body = b'{"actor": "u", "role": "admin", "path": "%s"}' % path.encode()
            assert (await ask("b", b.node.incarnation, kind, body, 60))[:3] == status
        assert (await ask("b", b.node.incarnation, "getReady", b"nonsense", 60))[:3] == b"422"


async def test_a_drain_of_another_node(server: RedisServer, tmp_path: Path):
    async with planes(tmp_path, server.url, cluster={"name": "drains"}) as (a, b):
        began = await a.post("/v1/drain", {"grace_s": 3600, "reconnect_after_s": 5}, node="b")
        assert began["state"] == "waiting"
        assert (await a.get("/v1/drain", node="b"))["state"] == "waiting"
        assert (await a.get("/v1/drain"))["state"] == "none"
        assert b.control.gateway.drain is not None
        assert a.control.gateway.drain is None
        found: dict[str, Any] = {}
        while not found or not found["b"]["draining"]:  # until a heartbeat says so
            found = {each["name"]: each for each in (await a.get("/v1/nodes"))["items"]}
        assert [found[name]["draining"] for name in "ab"] == [False, True]
        assert found["a"]["generation"] == 1
        assert (await a.http.get("/readyz", params={"node": "b"})).status_code == 503
        assert (await a.http.get("/readyz", params={"node": "a"})).status_code == 200
        refused = await a.http.post("/v1/drain", json={}, params={"node": "*"})
        assert (refused.status_code, refused.json()["errors"][0]["key"]) == (422, "node")
        assert (await a.http.delete("/v1/drain", params={"node": "b"})).json()["state"] == "cancelled"
        again = await a.http.delete("/v1/drain", params={"node": "b"})
        assert (again.status_code, again.json()["type"]) == (409, "urn:icws:problem:conflict")
        unknown = await a.http.post("/v1/drain", json={}, params={"node": "c"})
        assert (unknown.status_code, unknown.json()["detail"]) == (422, "node: cluster drains has no node c")
        invalid = await a.http.post("/v1/drain", json={"rate": "fast"}, params={"node": "b"})
        assert invalid.status_code == 422
        user = (await a.get("/v1/whoami"))["name"]
        assert [entry for entry in await a.audited() if entry[1] == "startDrain"][-1] == (
            user,
            "startDrain",
            {"node": "b"},
        )
        assert [actor for actor, action, _ in await b.audited()] == [f"{user} at node a"] * 3


async def test_nodes_that_do_not_answer_are_named(server: RedisServer, tmp_path: Path):
    async with planes(tmp_path, server.url, "abc", cluster={"name": "silent", "request_timeout": "100ms"}) as (a, b, c):
        b.node.requests.serve({"listSessions", "startDrain"}, lambda *_: asyncio.Event().wait())  # type: ignore[arg-type]
        c.node.follow_seal(Seal(load_or_create_identity(tmp_path / "other.pem"), "silent"))
        found = await a.get("/v1/sessions", node="*")
        assert {each["node"]: each["problem"] for each in found["missing"]} == {
            "b": "it was silent for 0.1 s",
            "c": "it was silent for 0.1 s",
        }
        assert c.node.requests.refused["forged"] == 1
        failed = await a.http.post("/v1/drain", json={}, params={"node": "b"})
        assert failed.status_code == 504
        assert failed.json()["detail"].endswith("nobody knows whether it did what it was asked for")
        refused = await a.http.get("/v1/sessions/ffffffff", params={"node": "*"})
        assert "node c: it was silent" in refused.json()["detail"]
        closed = await a.post("/v1/sessions/close", {"filter": {"state": "open"}}, node="*")
        assert [each["node"] for each in closed["missing"]] == ["b", "c"]
        assert "is it of another version" in closed["missing"][0]["problem"]


async def test_an_engine_that_is_away_is_named(tmp_path: Path):
    with redis_server(tmp_path) as own:
        async with planes(tmp_path, own.url, cluster={"timeout": "1s"}) as (a, _):
            own.kill()
            await until(lambda: a.node.contact.state == "away")
            found = await a.get("/v1/sessions", node="*")
            assert (found["items"], [each["node"] for each in found["missing"]]) == ([], [None])
            assert (await a.http.post("/v1/drain", json={}, params={"node": "b"})).status_code == 503


# --- the command line -------------------------------------------------------------------------------------------------


async def icws(plane: NodePlane, *arguments: object, code: int = 0) -> list[str]:
    """What a command at a node prints."""
    runner = CliRunner(env={"ICWS_CONFIG": str(plane.file), "COLUMNS": "300"})
    result = await asyncio.to_thread(runner.invoke, main, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return (result.stdout + result.stderr).splitlines()


async def test_commands_ask_all_nodes_or_one(server: RedisServer, tmp_path: Path):
    async with planes(tmp_path, server.url, cluster={"name": "cli"}) as (a, b), AsyncExitStack() as stack:
        for each in (a, b, b):
            await stack.enter_async_context(each.connect())
        lines = await icws(a, "sessions")
        assert lines[0].split()[:2] == ["SESSION", "NODE"]
        assert [line.split()[1] for line in lines[1:4]] == ["a", "b", "b"]
        assert lines[4] == "3 sessions"
        assert (await icws(a, "sessions", "--this-node"))[-1] == "1 session"
        assert (await icws(a, "sessions", "--node", "b"))[-1] == "2 sessions"
        assert "no node c" in (await icws(a, "sessions", "--node", "c", code=1))[0]
        there = lines[2].split()[0]
        assert "node         b" in await icws(a, "sessions", there)
        assert any(line.split() == ["node", "b"] for line in await icws(a, "explain", there))
        await icws(a, "explain", there, "--this-node", code=1)
        assert await icws(a, "close", "--canister", "chat", "--node", "b", "--dry-run")
        assert (await icws(a, "close", "--canister", "chat", "--yes"))[-1] == "closed 3 sessions: 1 at a, 2 at b"

        await icws(a, "drain", "start", "--node", "b", "--grace", "1h")
        assert (await icws(a, "drain", "status", "--node", "b"))[0].split() == ["drain", "waiting"]
        assert (await icws(a, "drain", "status"))[0].split() == ["drain", "none", "so", "far"]
        await icws(a, "drain", "cancel", "--node", "b")
        assert b.control.gateway.drain is None


async def test_a_reload_of_all_nodes(server: RedisServer, tmp_path: Path):
    async with planes(tmp_path, server.url, cluster={"name": "reload"}) as (a, b):
        for each in (a, b):
            each.file.write_text(each.file.read_text().replace("min_interval: 5ms", "min_interval: 7ms"))
        lines = await icws(a, "reload", "--cluster")
        assert lines == ["a: applied, revision 2", "b: applied, revision 2", "kept by all: 2 nodes changed"]
        for each in (a, b):
            assert each.control.reloads.config.polling.min_interval == 0.007
            assert each.control.reloads.trial is None

        a.file.write_text(a.file.read_text().replace("7ms", "9ms"))
        b.file.write_text(b.file.read_text().replace("7ms", "fast"))
        lines = await icws(a, "reload", "--cluster", code=1)
        assert lines[0] == "a: applied, revision 3"
        assert "b: refused" in lines[1]
        assert "min_interval" in lines[1]
        assert lines[-2] == "a: taken back, revision 4"
        assert lines[-1].startswith("no node has changed")
        for each in (a, b):
            assert each.control.reloads.config.polling.min_interval == 0.007
            assert each.control.reloads.trial is None
