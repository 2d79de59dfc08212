import asyncio
import errno
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.control.plane import OTHER, SECRETS, Plane
from tests.gateway.bench import until

PLUGIN = """\
from appliance.plugins import Section, hook


class Plugin:
    class Settings(Section):
        password: str

    def __init__(self, settings): ...

    @hook
    def close(self, who, ending): ...
"""


def edited(plane: Plane, old: str, new: str) -> str:
    text = plane.reloads.loaded.text
    assert old in text
    return text.replace(old, new)


async def apply(plane: Plane, text: str, **more: Any) -> Any:
    return await plane.post("/v1/config/apply", {"text": text, **more})


async def test_what_runs_is_shown_with_where_it_is_from(plane: Plane) -> None:
    response = await plane.http.get("/v1/config")
    shown = response.json()
    assert response.headers["etag"] == f'"{shown["etag"]}"' == f'"{plane.reloads.etag}"'
    assert shown["text"] == plane.file.read_text()
    assert shown["values"]["polling"]["max_interval"] == "20ms"
    assert shown["values"]["canisters"][0]["id"] == str(plane.canister_id)
    assert shown["origins"]["polling.max_interval"].startswith(f"{plane.file}:4:")
    assert shown["origins"]["polling.timeout"] == "default"
    assert (shown["generation"], shown["file"], shown["differs_from_file"]) == (1, str(plane.file), False)
    assert (shown["pending_restart"], shown["confirm_by"]) == ([], None)


async def test_the_schema_takes_what_runs_and_not_everything(plane: Plane) -> None:
    schema = (await plane.http.get("/v1/config/schema")).json()
    validator = jsonschema_rs.validator_for(schema)
    assert validator.is_valid(yaml.safe_load(plane.file.read_text()))
    assert not validator.is_valid({"version": 1, "unheard_of": 1})


async def test_secrets_of_plugins_and_the_text_are_for_admins(tcp: Plane) -> None:
    (tcp.file.parent / "p.py").write_text(PLUGIN)
    text = f"{tcp.file.read_text()}plugins: [{{path: p.py, config: {{password: hunter2}}}}]\n"
    await apply(tcp, text)
    assert (await tcp.get("/v1/config"))["values"]["plugins"][0]["config"] == {"password": "hunter2"}
    for role in ("viewer", "operator"):
        async with tcp.client(SECRETS[role]) as http:
            for path in ("/v1/config", "/v1/audit", "/v1/config/history", "/v1/status", "/v1/plugins"):
                response = await http.get(path)
                assert response.is_success
                assert "hunter2" not in response.text, path
            shown = (await http.get("/v1/config")).json()
            assert shown["text"] is None
            assert list(shown["values"]["plugins"][0]["config"]) == ["password"]


async def test_a_plan_says_what_would_change_and_changes_nothing(plane: Plane) -> None:
    text = edited(plane, "max_interval: 20ms", "max_interval: 30ms")
    plan = await plane.post("/v1/config/plan", {"text": text})
    assert plan["refused"] is None
    assert [(c["key"], c["old"], c["new"], c["effect"]) for c in plan["changes"]] == [
        ("polling.max_interval", "20ms", "30ms", "live")
    ]
    assert plane.reloads.revision == 1
    assert (await plane.get("/v1/audit"))["items"] == []
    plane.file.write_text(text)
    assert await plane.post("/v1/config/plan", {}) == plan


async def test_a_plan_says_why_it_would_not_be_applied(plane: Plane) -> None:
    text = edited(plane, "tokens: tokens", "tokens: tokens\n  history: elsewhere")
    refused = (await plane.post("/v1/config/plan", {"text": text}))["refused"]
    assert (refused["type"], refused["status"]) == ("urn:icws:problem:restart-needed", 409)
    assert [fault["key"] for fault in refused["errors"]] == ["control.history"]
    response = await plane.http.post("/v1/config/apply", json={"text": text})
    assert response.status_code == 409
    assert response.json()["type"] == refused["type"]


async def test_a_configuration_that_cannot_be_used_is_told_by_place_and_key(plane: Plane) -> None:
    text = edited(plane, "max_interval: 20ms", "max_intervall: 20ms")
    for path in ("/v1/config/plan", "/v1/config/apply"):
        response = await plane.http.post(path, json={"text": text})
        assert response.status_code == 422
        assert response.json()["type"] == "urn:icws:problem:config-invalid"
        (fault,) = response.json()["errors"]
        assert (fault["place"], fault["key"]) == ("text:4:30", "polling.max_intervall")
        assert "did you mean 'max_interval'" in fault["problem"]
    assert plane.reloads.revision == 1


async def test_an_apply_runs_and_leaves_the_file_as_it_is(plane: Plane) -> None:
    before = plane.file.read_text()
    applied = await apply(plane, edited(plane, "name: chat", "name: talk"))
    assert (applied["result"], applied["generation"], applied["differs_from_file"]) == ("applied", 2, True)
    assert applied["etag"] == plane.reloads.etag
    assert plane.gateway.config.canisters[0].name == "talk"
    assert plane.file.read_text() == before
    entry = (await plane.get("/v1/audit"))["items"][0]
    assert (entry["action"], entry["status"], entry["before"]["generation"]) == ("applyConfig", 200, 1)
    key = f"canisters[{plane.canister_id}].name"
    assert entry["after"] == {
        "generation": 2,
        "result": "applied",
        "changes": [{"key": key, "old": "chat", "new": "talk"}],
    }


async def test_an_apply_that_changes_nothing_is_no_generation(plane: Plane) -> None:
    applied = await plane.post("/v1/config/apply", {})
    assert (applied["result"], applied["generation"], applied["changes"]) == ("unchanged", 1, [])


async def test_an_apply_may_be_saved_and_overwrites_nobody(plane: Plane) -> None:
    text = edited(plane, "name: chat", "name: talk")
    applied = await apply(plane, text, save=True)
    assert applied["differs_from_file"] is False
    assert plane.file.read_text() == text
    plane.file.write_text(text + "# by hand\n")
    body = {"text": edited(plane, "name: talk", "name: chat"), "save": True}
    response = await plane.http.post("/v1/config/apply", json=body)
    assert (response.status_code, response.json()["type"]) == (409, "urn:icws:problem:force-needed")
    assert plane.file.read_text().endswith("# by hand\n")
    await plane.post("/v1/config/apply", {**body, "force": True})
    assert plane.file.read_text() == body["text"]
    response = await plane.http.post("/v1/config/apply", json={"save": True, "confirm_within_s": 60})
    assert response.status_code == 422


async def test_what_cannot_be_saved_runs_all_the_same_and_that_is_said(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("appliance.config.source.write_whole", read_only)
    body = {"text": edited(plane, "name: chat", "name: talk"), "save": True}
    response = await plane.http.post("/v1/config/apply", json=body)
    assert (response.status_code, response.json()["type"]) == (409, "urn:icws:problem:conflict")
    assert response.json()["detail"].startswith("revision 2 runs, but cannot be saved: ")
    assert plane.gateway.config.canisters[0].name == "talk"
    entry = (await plane.get("/v1/audit"))["items"][0]
    assert (entry["status"], entry["after"]["generation"]) == (409, 2)


async def test_what_was_applied_is_not_saved_where_another_change_came_in_between(plane: Plane) -> None:
    """It would write what the other one has put on trial."""
    before = plane.file.read_text()
    first = {"text": edited(plane, "name: chat", "name: talk"), "save": True}
    second = {"text": edited(plane, "name: chat", "name: shop"), "confirm_within_s": 600}
    async with plane.reloads._serial._lock:
        saving = asyncio.create_task(plane.http.post("/v1/config/apply", json=first))
        await until(lambda: len(plane.reloads._serial._lock._waiters or ()) == 1)
        trying = asyncio.create_task(plane.post("/v1/config/apply", second))
        await until(lambda: len(plane.reloads._serial._lock._waiters or ()) == 2)
    response = await saving
    assert (response.status_code, response.json()["type"]) == (409, "urn:icws:problem:conflict")
    assert response.json()["detail"].startswith("the file is as it was: revision 3 of the configuration has replaced")
    assert plane.file.read_text() == before
    applied = await trying
    assert (applied["generation"], applied["etag"]) == (3, plane.reloads.etag)


@pytest.mark.parametrize("quoted", ["{}", '"{}"', '"other", "{}"', "*"])
async def test_an_apply_for_what_runs_is_done(plane: Plane, quoted: str) -> None:
    text = edited(plane, "name: chat", "name: talk")
    etag = (await plane.get("/v1/config"))["etag"]
    await plane.post("/v1/config/apply", {"text": text}, **{"If-Match": quoted.format(etag)})


@pytest.mark.parametrize("quoted", ['"9-abc"', 'W/"{}"', '"other", "another"', ""])
async def test_an_apply_for_something_else_is_not(plane: Plane, quoted: str) -> None:
    text = edited(plane, "name: chat", "name: talk")
    etag = (await plane.get("/v1/config"))["etag"]
    headers = {"If-Match": quoted.format(etag)}
    response = await plane.http.post("/v1/config/apply", json={"text": text}, headers=headers)
    assert response.status_code == 412
    assert response.json()["type"] == "urn:icws:problem:etag-mismatch"
    assert plane.reloads.revision == 1


async def test_of_two_who_change_the_same_one_wins(plane: Plane) -> None:
    etag = (await plane.get("/v1/config"))["etag"]

    async def attempt(name: str) -> int:
        body = {"text": edited(plane, "name: chat", f"name: {name}")}
        return (await plane.http.post("/v1/config/apply", json=body, headers={"If-Match": etag})).status_code

    assert sorted(await asyncio.gather(*(attempt(f"name{number}") for number in range(5)))) == [200] + [412] * 4


async def test_a_trial_is_confirmed_or_taken_back(plane: Plane) -> None:
    applied = await apply(plane, edited(plane, "name: chat", "name: talk"), confirm_within_s=600)
    assert applied["confirm_by"] is not None
    response = await plane.http.post("/v1/config/apply", json={})
    assert (response.status_code, response.json()["type"]) == (409, "urn:icws:problem:conflict")
    confirmed = await plane.post("/v1/config/confirm", {"save": True})
    assert (confirmed["result"], confirmed["confirm_by"], confirmed["differs_from_file"]) == ("confirmed", None, False)
    assert "name: talk" in plane.file.read_text()
    assert (await plane.http.post("/v1/config/confirm")).status_code == 409
    await apply(plane, edited(plane, "name: talk", "name: chat"), confirm_within_s=1)
    await until(lambda: plane.control.audit.recent(1)[0].action == "reload")
    assert plane.gateway.config.canisters[0].name == "talk"
    entry = (await plane.get("/v1/audit"))["items"][0]
    assert (entry["action"], entry["actor"], entry["after"]["result"]) == ("reload", "trial", "rolled back")


async def test_a_trial_that_does_well_may_stay(plane: Plane) -> None:
    text = edited(plane, "name: chat", "name: talk")
    await apply(plane, text, confirm_within_s=1, keep_if_healthy=True)
    await until(lambda: plane.reloads.trial is None)
    assert plane.gateway.config.canisters[0].name == "talk"


async def test_it_goes_back_to_the_last_good_one_or_the_one_that_is_named(plane: Plane) -> None:
    assert (await plane.http.post("/v1/config/rollback")).status_code == 409
    for name in ("one", "two"):
        await apply(plane, edited(plane, f"name: {plane.gateway.config.canisters[0].name}", f"name: {name}"))
    back = await plane.post("/v1/config/rollback")
    assert (back["result"], back["generation"]) == ("rolled back", 4)
    assert plane.gateway.config.canisters[0].name == "one"
    await plane.post("/v1/config/rollback", {"generation": 1})
    assert plane.gateway.config.canisters[0].name == "chat"
    response = await plane.http.post("/v1/config/rollback", json={"generation": 99})
    assert response.status_code == 404


async def test_the_history_has_every_generation_and_what_became_of_it(plane: Plane) -> None:
    await apply(plane, edited(plane, "name: chat", "name: talk"))
    await plane.post("/v1/config/rollback")
    items = (await plane.get("/v1/config/history"))["items"]
    assert [(item["generation"], item["state"], item["is_running"]) for item in items] == [
        (3, "good", True),
        (2, "rolled back", False),
        (1, "good", False),
    ]
    assert items[1]["actor"].startswith("unix:")
    assert (await plane.get("/v1/config/history", limit=1))["items"] == items[:1]
    assert (await plane.get("/v1/config/history/2"))["text"] == plane.file.read_text().replace("chat", "talk")
    assert (await plane.http.get("/v1/config/history/9")).status_code == 404


async def test_two_generations_are_compared(plane: Plane) -> None:
    await apply(plane, edited(plane, "name: chat", "name: talk"))
    found = await plane.get("/v1/config/history/2/diff", **{"with": 1})
    assert (found["old"], found["new"]) == (1, 2)
    assert [(c["old"], c["new"]) for c in found["changes"]] == [("chat", "talk")]
    assert "-    name: chat\n+    name: talk\n" in found["text"]
    back = await plane.get("/v1/config/history/1/diff")
    assert (back["old"], back["new"], back["changes"][0]["new"]) == (2, 1, "chat")
    assert (await plane.http.get("/v1/config/history/1/diff", params={"with": 9})).status_code == 404


async def test_what_a_part_cannot_do_is_told_and_nothing_is_changed(plane: Plane) -> None:
    taken = plane.control.listener.port
    text = edited(plane, '"127.0.0.1:0"}', f'"127.0.0.1:0", listeners: [{{address: "127.0.0.1:{taken}"}}]}}')
    response = await plane.http.post("/v1/config/apply", json={"text": text})
    assert response.status_code == 422
    (fault,) = response.json()["errors"]
    assert fault["key"] == f"gateway.listeners[127.0.0.1:{taken}].address"
    assert "already in use" in fault["problem"]
    assert plane.reloads.revision == 1


async def test_every_canister_goes_only_by_force_while_there_are_sessions(plane: Plane) -> None:
    text = edited(plane, f"canisters:\n  - id: {plane.canister_id}  # the first\n    name: chat\n", "canisters: []\n")
    async with plane.connect():
        response = await plane.http.post("/v1/config/apply", json={"text": text})
        assert (response.status_code, response.json()["type"]) == (409, "urn:icws:problem:force-needed")
        assert (await apply(plane, text, force=True))["changes"][0]["sessions"] == 1
        await until(lambda: not len(plane.control.listener))


async def test_an_empty_text_is_no_empty_configuration(plane: Plane) -> None:
    for text in ("", "\n\n", "# nothing\n", "version: 1\ncanisters:\n  - id: " + OTHER[:9]):
        response = await plane.http.post("/v1/config/apply", json={"text": text})
        assert response.status_code == 422, text
    assert plane.reloads.revision == 1
