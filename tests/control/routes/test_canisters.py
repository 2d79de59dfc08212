from typing import Any

import pytest

from appliance.config.plan import Plan
from appliance.config.source import Source
from appliance.errors import CanisterPaused
from tests.control.plane import OTHER, Plane, running
from tests.gateway.bench import until


async def shown(plane: Plane, name: str = "chat") -> Any:
    return await plane.get(f"/v1/canisters/{name}")


async def test_a_canister_is_shown_with_who_is_there_and_how_it_is_polled(plane: Plane) -> None:
    idle = await shown(plane)
    assert idle == (await plane.get("/v1/canisters"))["items"][0]
    assert (idle["id"], idle["name"], idle["listed"]) == (str(plane.canister_id), "chat", True)
    assert (idle["state"], idle["clients"], idle["sessions"], idle["polling"]) == ("idle", 0, 0, None)
    async with plane.connect():
        busy = await shown(plane, str(plane.canister_id))
    assert (busy["state"], busy["clients"], busy["sessions"]) == ("ok", 1, 1)
    polling = busy["polling"]
    assert polling["polls"] >= 1
    assert polling["next_nonce"] >= polling["delivered"] >= 1
    assert polling["polls_per_message"] == polling["polls"] / polling["delivered"]
    assert polling["lag_s"] >= 0
    assert (polling["failures"], polling["last_error"]) == (0, None)
    assert (await plane.http.get("/v1/canisters/nobody")).status_code == 404


async def test_one_that_is_not_listed_is_shown_while_it_has_clients() -> None:
    async with running() as plane:
        text = plane.file.read_text()
        listed = text[text.index("canisters:") : text.index("control:")]
        await plane.post(
            "/v1/config/apply", {"text": text.replace(listed, "unlisted_canisters: allow\n"), "allow_restart": False}
        )
        assert (await plane.get("/v1/canisters"))["items"] == []
        async with plane.connect():
            (found,) = (await plane.get("/v1/canisters"))["items"]
            assert (found["listed"], found["name"], found["clients"]) == (False, None, 1)
            assert (await shown(plane, found["id"]))["id"] == str(plane.canister_id)
            response = await plane.http.post(f"/v1/canisters/{found['id']}/pause")
            assert response.status_code == 404


async def test_a_paused_canister_lets_nobody_in_and_keeps_who_is_there(plane: Plane) -> None:
    async with plane.connect() as connection:
        paused = await plane.post("/v1/canisters/chat/pause")
        assert paused["canister"] == str(plane.canister_id)
        assert [change["key"] for change in paused["applied"]["changes"]] == [f"canisters[{plane.canister_id}].paused"]
        found = await shown(plane)
        assert (found["state"], found["sessions"], found["polling"]["state"]) == ("paused", 1, "paused")
        with pytest.raises(Exception, match="is paused at this gateway"):
            async with plane.connect():
                pass
        await plane.post("/v1/canisters/chat/resume")
        assert (await shown(plane))["state"] == "ok"
        await connection.send({"text": "hello", "timestamp": 0})
        while "hello" not in (await connection.receive()).value["text"]:
            pass
    assert str(CanisterPaused(str(plane.canister_id))).startswith("canister")


async def test_pausing_twice_is_pausing_once(plane: Plane) -> None:
    await plane.post("/v1/canisters/chat/pause")
    again = await plane.post("/v1/canisters/chat/pause")
    assert (again["applied"]["result"], again["applied"]["generation"]) == ("unchanged", 2)
    await plane.post("/v1/canisters/chat/resume")
    assert (await plane.post("/v1/canisters/chat/resume"))["applied"]["generation"] == 3


async def test_a_canister_comes_and_goes(plane: Plane) -> None:
    body = {"id": OTHER, "name": "other", "generation": ["v1", "v2"], "max_clients": 5}
    response = await plane.http.post("/v1/canisters", json=body)
    assert response.status_code == 201
    found = await shown(plane, "other")
    assert (found["id"], found["generation"], found["max_clients"]) == (OTHER, ["v1", "v2"], 5)
    assert (await plane.http.post("/v1/canisters", json=body)).status_code == 409
    assert (await plane.http.post("/v1/canisters", json={"id": OTHER})).status_code == 409
    gone = plane.read(await plane.http.delete("/v1/canisters/other"))
    assert gone["canister"] == OTHER
    assert [canister["name"] for canister in (await plane.get("/v1/canisters"))["items"]] == ["chat"]
    assert plane.reloads.loaded.text == plane.file.read_text()
    actions = [(entry["action"], entry["target"]) for entry in (await plane.get("/v1/audit"))["items"]]
    assert actions == [("removeCanister", OTHER), *[("addCanister", OTHER)] * 3]


async def test_faults_of_a_request_are_named_by_its_fields(plane: Plane) -> None:
    """The text that it edits was never seen by the sender."""
    for body, key, words in (
        ({"id": "aaaaa-aaaab"}, "id", "wrong check sum"),
        ({"id": OTHER, "generation": ["v0", "v1"]}, "generation", "serves clients of v0 alone"),
        ({"id": OTHER, "name": "two words"}, "name", "write letters, digits, '.', '_' and '-', at most 63"),
        ({"id": "no principal"}, "id", "write a principal, e.g. bkyz2-fmaaa-aaaaa-qaaaq-cai"),
    ):
        response = await plane.http.post("/v1/canisters", json=body)
        assert response.status_code == 422
        [fault] = response.json()["errors"]
        assert (fault["place"], fault["key"]) == ("body", key)
        assert words in fault["problem"]
        assert response.json()["detail"] == f"{key}: {fault['problem']}"


async def test_canisters_in_another_order_are_still_told_apart(plane: Plane) -> None:
    await plane.http.post("/v1/canisters", json={"id": OTHER})
    text = plane.reloads.loaded.text
    (chat, other) = (text[text.index("  - id") : text.index(f"  - id: {OTHER}")], f"  - id: {OTHER}\n")
    await plane.post("/v1/config/apply", {"text": text.replace(chat + other, other + chat)})
    paused = await plane.post("/v1/canisters/chat/pause")
    assert [change["key"] for change in paused["applied"]["changes"]] == [f"canisters[{plane.canister_id}].paused"]
    assert (await shown(plane))["state"] == "paused"


@pytest.mark.parametrize(("changes", "status"), [(1, 200), (2, 409)])
async def test_a_change_in_between_is_followed_and_no_fault_of_the_caller(
    plane: Plane, changes: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plane.reloads.plan
    other = f"canisters:\n  - id: {OTHER}\n"  # before chat, so that positions change
    coming = [plane.file.read_text().replace("canisters:\n", other) + "# more\n" * number for number in range(changes)]

    async def plan_late(text: str | None = None) -> Plan:
        if coming:
            await plane.reloads.apply(coming.pop(0), trigger="api", actor="somebody else")
        return await plan(text)

    monkeypatch.setattr(plane.reloads, "plan", plan_late)
    response = await plane.http.post("/v1/canisters/chat/pause")
    assert response.status_code == status, response.text
    assert [each.paused for each in plane.reloads.config.canisters] == [False, status == 200]


async def test_what_would_change_besides_is_not_slipped_in(plane: Plane) -> None:
    plugin = plane.file.with_name("p.py")
    plugin.write_text("from appliance.plugins import hook\n\n\n@hook\ndef close(who, ending):\n    pass\n")
    text = f"{plane.reloads.loaded.text}\nplugins: [{{path: p.py, name: mine}}]\n"
    await plane.post("/v1/config/apply", {"text": text})
    with plugin.open("a") as written:
        written.write("# of somebody else\n")
    response = await plane.http.post("/v1/canisters/chat/pause")
    assert response.status_code == 409
    assert response.json()["detail"] == "plugins[mine].path would change too; reload first"


async def test_tokens_that_changed_are_in_effect_already_and_need_no_reload(plane: Plane) -> None:
    with (plane.file.parent / "tokens").open("a") as tokens:
        tokens.write("# of somebody else\n")
    paused = await plane.post("/v1/canisters/chat/pause")
    assert [change["key"] for change in paused["applied"]["changes"]] == [f"canisters[{plane.canister_id}].paused"]


async def test_what_is_saved_is_in_the_file_with_all_else_that_was(plane: Plane) -> None:
    before = plane.file.read_text()
    added = plane.read(await plane.http.post("/v1/canisters", json={"id": OTHER, "save": True}))
    assert added["applied"]["differs_from_file"] is False
    assert "# the first" in plane.file.read_text()
    assert [str(canister.id) for canister in Source(plane.file).load().config.canisters] == [
        str(plane.canister_id),
        OTHER,
    ]
    plane.read(await plane.http.delete(f"/v1/canisters/{OTHER}", params={"save": True}))
    assert plane.file.read_text() == before
    await plane.post("/v1/canisters/chat/pause", {"save": True})
    assert plane.file.read_text() == before.replace("    name: chat\n", "    name: chat\n    paused: true\n")


async def test_nothing_is_saved_over_what_somebody_has_written(plane: Plane) -> None:
    await plane.post("/v1/canisters/chat/pause")
    response = await plane.http.post("/v1/canisters/chat/resume", json={"save": True})
    assert response.status_code == 409
    assert "would be overwritten" in response.json()["detail"]
    assert (await shown(plane))["state"] == "paused"


async def test_sessions_of_a_removed_canister_are_closed(plane: Plane) -> None:
    await plane.http.post("/v1/canisters", json={"id": OTHER})
    async with plane.connect():
        removed = plane.read(await plane.http.delete("/v1/canisters/chat"))
        assert removed["applied"]["changes"][0]["sessions"] == 1
        await until(lambda: not len(plane.control.listener))


async def test_the_last_canister_with_sessions_goes_by_force_only(plane: Plane) -> None:
    async with plane.connect():
        response = await plane.http.delete("/v1/canisters/chat")
        assert (response.status_code, response.json()["type"]) == (409, "urn:icws:problem:force-needed")
        plane.read(await plane.http.delete("/v1/canisters/chat", params={"force": True}))
        await until(lambda: not len(plane.control.listener))


async def test_a_canister_that_cannot_be_is_refused(plane: Plane) -> None:
    for body, status in (
        ({"id": "aaaaa-ab"}, 422),
        ({"id": "AAAAA-AA"}, 422),
        ({"id": OTHER, "name": "a b"}, 422),
        ({"id": OTHER, "generation": ["v0", "v1"]}, 422),
        ({"id": OTHER, "generation": []}, 422),
        ({"id": OTHER, "name": "chat"}, 409),
        ({"id": OTHER, "polling": {}}, 422),
    ):
        response = await plane.http.post("/v1/canisters", json=body)
        assert response.status_code == status, response.text
    assert plane.reloads.revision == 1


async def test_a_file_that_cannot_be_edited_is_left_to_people(plane: Plane) -> None:
    text = plane.file.read_text()
    odd = text.replace(f"  - id: {plane.canister_id}  # the first\n", f"  -  # a - b\n    id: {plane.canister_id}\n")
    await plane.post("/v1/config/apply", {"text": f"{odd}# - more\n"})
    response = await plane.http.post("/v1/canisters", json={"id": OTHER})
    assert response.status_code == 409
    assert "edit it by hand" in response.json()["detail"]
    assert plane.reloads.revision == 2


async def test_canisters_that_are_set_elsewhere_are_changed_there(plane: Plane) -> None:
    source = plane.reloads.source
    plane.reloads.source = Source(source.file, {"ICWS_CANISTERS": f"[{{id: {OTHER}}}]"})
    await plane.post("/v1/config/apply", {"text": plane.file.read_text() + "#\n"})
    response = await plane.http.delete(f"/v1/canisters/{OTHER}")
    assert response.status_code == 409
    assert "variable ICWS_CANISTERS" in response.json()["detail"]
