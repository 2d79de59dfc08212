from dataclasses import replace
from pathlib import Path

import pytest

from tests.control.plane import SECRETS, Plane


async def test_the_status_says_what_runs(plane: Plane) -> None:
    before = await plane.get("/v1/status")
    assert before["generation"] == 1
    assert before["config_hash"] == plane.reloads.hash
    assert before["config_file"] == str(plane.file)
    assert before["gateway_principal"] == str(plane.gateway.principal)
    assert before["urls"] == plane.control.listener.urls == [before["url"]]
    assert (before["sessions"], before["connections"], before["canisters"]) == (0, 0, 1)
    assert (before["draining"], before["stopping"], before["differs_from_file"]) == (False, False, False)
    assert before["last_reload"]["result"] == "started"
    async with plane.connect():
        during = await plane.get("/v1/status")
    assert (during["sessions"], during["connections"]) == (1, 1)
    assert during["uptime_s"] > before["uptime_s"] >= 0


async def test_the_file_is_told_for_those_in_other_folders(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(plane.file.parent)
    plane.reloads.source = replace(plane.reloads.source, file=Path(plane.file.name))
    assert (await plane.get("/v1/status"))["config_file"] == str(plane.file)
    assert (await plane.get("/v1/config"))["file"] == str(plane.file)


async def test_the_status_tells_of_a_trial_and_of_a_file_that_does_not_run(plane: Plane) -> None:
    plane.file.write_text(plane.file.read_text().replace("name: chat", "name: talk"))
    assert (await plane.get("/v1/status"))["differs_from_file"] is True
    await plane.post("/v1/config/apply", {"confirm_within_s": 600})
    status = await plane.get("/v1/status")
    assert status["differs_from_file"] is False
    assert status["confirm_by"] == status["last_reload"]["confirm_by"] is not None
    last = status["last_reload"]
    assert (status["generation"], last["result"], last["changes"]) == (2, "applied", 1)


async def test_a_refused_reload_is_the_last_one(plane: Plane) -> None:
    plane.file.write_text("version: 2\n")
    await plane.reloads.attempt(trigger="signal", actor="signal")
    last = (await plane.get("/v1/status"))["last_reload"]
    assert (last["result"], last["trigger"], last["generation"]) == ("rejected", "signal", 1)
    assert f"{plane.file}:1:10: version:" in last["problem"]


async def test_the_identity_is_the_gateways(plane: Plane) -> None:
    assert await plane.get("/v1/identity") == {
        "principal": str(plane.gateway.principal),
        "key_file": str(plane.file.parent / "data/identity.pem"),
    }


async def test_whoever_asks_is_told_who_he_is(tcp: Plane) -> None:
    for role, token in SECRETS.items():
        async with tcp.client(token) as http:
            assert tcp.read(await http.get("/v1/whoami")) == {"name": f"token:{role}", "role": role}


async def test_the_counters_count(plane: Plane) -> None:
    before = await plane.get("/v1/stats")
    assert {hop["count"] for hop in before["hops"]} == {0}
    assert {hop["p50_s"] for hop in before["hops"]} == {None}
    async with plane.connect():
        pass
    after = await plane.get("/v1/stats")
    assert after["at"] > before["at"]
    for name in ("connections", "joined", "opened", "frames", "polls", "delivered"):
        assert after["counters"][name] > before["counters"][name], name
    hops = {hop["name"]: hop for hop in after["hops"]}
    assert hops["gateway_to_ic"]["count"] > 0
    assert 0 < hops["gateway_to_ic"]["p50_s"] <= hops["gateway_to_ic"]["p99_s"]
    assert after["loop_lag_s"] >= 0
