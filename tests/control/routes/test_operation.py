from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.client import Connection
from appliance.client.errors import ConnectFailed, ConnectionClosed
from tests.control.plane import Plane, running
from tests.gateway.bench import until


async def end_of(connection: Connection) -> ConnectionClosed:
    try:
        while True:
            await connection.receive()
    except ConnectionClosed as closed:
        return closed


async def test_a_drain_lets_everybody_go_and_nobody_in(plane: Plane) -> None:
    assert (await plane.get("/v1/drain"))["state"] == "none"
    async with plane.connect() as connection:
        begun = await plane.post("/v1/drain", {"rate": 1000, "reconnect_after_s": 7})
        assert (begun["state"], begun["canister"], begun["rate"]) == ("waiting", None, 1000)
        assert begun["deadline_s"] == plane.gateway.config.drain.deadline
        closed = await end_of(connection)
        assert closed.code == 1012
        assert "in 7 s" in closed.text
    await until(lambda: plane.gateway.drain is not None and plane.gateway.drain.is_over)
    done = await plane.get("/v1/drain")
    assert (done["state"], done["total"], done["closed"], done["left"]) == ("done", 1, 1, 0)
    assert (await plane.http.get("/readyz")).status_code == 503
    assert (await plane.get("/v1/status"))["draining"] is True
    cancelled = plane.read(await plane.http.delete("/v1/drain"))
    assert cancelled["total"] == 1
    assert (await plane.get("/v1/drain"))["state"] == "none"
    assert (await plane.http.get("/readyz")).status_code == 200
    async with plane.connect():
        pass
    actions = [entry["action"] for entry in (await plane.get("/v1/audit"))["items"]]
    assert actions == ["cancelDrain", "startDrain"]


async def test_a_drain_that_is_cancelled_spares_who_is_left(plane: Plane) -> None:
    async with plane.connect():
        waiting = await plane.post("/v1/drain", {"grace_s": 600})
        assert waiting["state"] == "waiting"
        assert waiting["eta_s"] > 500
        cancelled = plane.read(await plane.http.delete("/v1/drain"))
        assert (cancelled["state"], cancelled["closed"]) == ("cancelled", 0)
        assert (await plane.get("/v1/status"))["sessions"] == 1
    assert (await plane.http.delete("/v1/drain")).status_code == 409


async def test_one_canister_is_drained_while_the_gateway_stays_ready(plane: Plane) -> None:
    async with plane.connect() as connection:
        begun = await plane.post("/v1/drain", {"canister": "chat", "grace_s": 600})
        assert begun["canister"] == str(plane.canister_id)
        assert [drain["canister"] for drain in begun["canisters"]] == [str(plane.canister_id)]
        assert (await plane.get("/v1/drain"))["state"] == "none"
        assert (await plane.get("/v1/drain", canister="chat"))["state"] == "waiting"
        assert (await plane.get("/v1/canisters/chat"))["state"] == "draining"
        assert (await plane.http.get("/readyz")).status_code == 200
        await plane.post("/v1/drain", {"canister": "chat"})
        assert (await end_of(connection)).code == 1012
    await until(lambda: not plane.gateway.canister_drains)
    assert (await plane.http.delete("/v1/drain", params={"canister": "chat"})).status_code == 409
    for response in (
        await plane.http.post("/v1/drain", json={"canister": "nobody"}),
        await plane.http.get("/v1/drain", params={"canister": "nobody"}),
        await plane.http.delete("/v1/drain", params={"canister": "nobody"}),
    ):
        assert response.status_code == 404


async def test_a_drain_of_a_canister_is_cancelled(plane: Plane) -> None:
    async with plane.connect():
        await plane.post("/v1/drain", {"canister": "chat", "grace_s": 600})
        cancelled = plane.read(await plane.http.delete("/v1/drain", params={"canister": "chat"}))
        assert (cancelled["state"], cancelled["canisters"]) == ("cancelled", [])
        assert (await plane.get("/v1/canisters/chat"))["state"] == "ok"


async def test_a_change_of_something_else_lets_a_drain_go_on(plane: Plane) -> None:
    async with plane.connect():
        await plane.post("/v1/drain", {"canister": "chat", "grace_s": 600})
        text = plane.file.read_text().replace("max_interval: 20ms", "max_interval: 30ms")
        assert (await plane.post("/v1/config/apply", {"text": text}))["result"] == "applied"
        assert (await plane.get("/v1/drain", canister="chat"))["state"] == "waiting"
        await plane.http.delete("/v1/drain", params={"canister": "chat"})


@pytest.mark.parametrize("body", [{"rate": 0}, {"rate": -1}, {"grace_s": -1}, {"deadline_s": 1e9}, {"canister": ""}])
async def test_a_drain_that_makes_no_sense_is_refused(plane: Plane, body: dict[str, Any]) -> None:
    assert (await plane.http.post("/v1/drain", json=body)).status_code == 422
    assert plane.gateway.drain is None


@pytest.mark.parametrize("phase", ["winding_down", "stopping"])
async def test_a_gateway_that_stops_is_not_drained_anew(plane: Plane, phase: str) -> None:
    setattr(plane.gateway, phase, True)
    assert (await plane.http.post("/v1/drain", json={})).status_code == 409
    assert (await plane.http.delete("/v1/drain")).status_code == 409
    setattr(plane.gateway, phase, False)


async def test_the_limits_say_who_has_to_wait() -> None:
    own = "rate_limits: {connections_per_ip: {rate: 1/h, burst: 1}, messages_per_client: {mode: shadow}}\n"
    async with running(more=own) as plane:
        limits = {limit["scope"]: limit for limit in (await plane.get("/v1/limits"))["items"]}
        connections, messages = limits["connections_per_ip"], limits["messages_per_client"]
        assert (connections["mode"], connections["burst"]) == ("enforce", 1)
        assert connections["rate"] == pytest.approx(1 / 3600)
        assert (messages["mode"], messages["waiting"], connections["keys"]) == ("shadow", [], 0)
        async with plane.connect():
            with pytest.raises(ConnectFailed, match="429"):
                await plane.connect().__aenter__()
            items = (await plane.get("/v1/limits"))["items"]
            (found,) = (limit for limit in items if limit["scope"] == "connections_per_ip")
            (waiting,) = found["waiting"]
            assert (waiting["key"], waiting["times"]) == ("127.0.0.1", 1)
            assert 3000 < waiting["retry_after_s"] <= 3600
            assert (found["allowed"], found["limited"], found["shadowed"], found["keys"]) == (1, 1, 0, 1)


async def test_plugins_are_listed_with_how_they_do(plane: Plane) -> None:
    assert await plane.get("/v1/plugins") == {"items": []}
    (plane.file.parent / "p.py").write_text(
        "from appliance.plugins import hook\n\n\n@hook\ndef close(who, ending):\n    raise ValueError('no')\n"
    )
    await plane.post("/v1/config/apply", {"text": plane.file.read_text() + "plugins: [{path: p.py, name: mine}]\n"})
    async with plane.connect():
        pass

    await until(lambda: plane.control.plugins()[0].failures == 1)
    (plugin,) = (await plane.get("/v1/plugins"))["items"]
    assert (plugin["name"], plugin["hooks"], plugin["calls"], plugin["failures"]) == ("mine", ["close"], 1, 1)
    assert plugin["source"].endswith("p.py")
    assert "ValueError: no" in plugin["last_error"]


async def test_the_level_of_the_log_changes_until_the_configuration_does(plane: Plane) -> None:
    assert await plane.get("/v1/log") == {"level": "info"}
    assert plane.read(await plane.http.put("/v1/log", json={"level": "error"})) == {"level": "error"}
    assert await plane.get("/v1/log") == {"level": "error"}
    entry = (await plane.get("/v1/audit"))["items"][0]
    assert (entry["action"], entry["before"], entry["after"]) == ("setLog", "info", "error")
    await plane.post("/v1/config/apply", {"text": plane.file.read_text() + "log: {level: warning}\n"})
    assert await plane.get("/v1/log") == {"level": "warning"}


async def test_the_audit_log_is_in_the_folder_of_the_history(plane: Plane) -> None:
    for level in ("warning", "error"):
        await plane.http.put("/v1/log", json={"level": level})
    items = (await plane.get("/v1/audit"))["items"]
    assert [item["after"] for item in items] == ["error", "warning"]
    assert (await plane.get("/v1/audit", limit=1))["items"] == items[:1]
    file = plane.file.parent / "data/history/audit.jsonl"
    assert len(file.read_text().splitlines()) == 2
    assert file.stat().st_mode & 0o777 == 0o600


async def test_reloads_that_came_another_way_are_in_the_audit_log_too(plane: Plane) -> None:
    plane.file.write_text(plane.file.read_text().replace("chat", "talk"))
    await plane.reloads.attempt(trigger="signal", actor="signal")
    plane.file.write_text("version: 2\n")
    await plane.reloads.attempt(trigger="watch", actor="watch")
    await until(lambda: len(plane.control.audit.recent()) == 2)
    refused, done = (await plane.get("/v1/audit"))["items"]
    assert (done["action"], done["actor"], done["status"], done["after"]["generation"]) == ("reload", "signal", 200, 2)
    assert (refused["actor"], refused["status"], refused["after"]["result"]) == ("watch", 422, "rejected")
    assert "write 1" in refused["problem"]


async def test_metrics_are_what_prometheus_reads(plane: Plane) -> None:
    async with plane.connect():
        response = await plane.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    names = {family.name for family in text_string_to_metric_families(response.text)}
    assert any(name.startswith("icws_") for name in names)


async def test_limits_and_stories_name_the_canister_beside_its_principal() -> None:
    limit = "    rate_limits: {messages_per_client: {rate: 5/s, burst: 5}}\n"
    async with running(edit=lambda text: text.replace("    name: chat\n", f"    name: chat\n{limit}")) as plane:
        named = [each for each in (await plane.get("/v1/limits"))["items"] if each["canister"] is not None]
        assert {(each["canister"], each["canister_name"]) for each in named} == {(str(plane.canister_id), "chat")}
        async with plane.connect():
            [session] = (await plane.get("/v1/sessions"))["items"]
            story = await plane.get(f"/v1/sessions/{session['id']}/story")
    assert any(f"chat ({plane.canister_id})" in sentence for sentence in story["summary"])
