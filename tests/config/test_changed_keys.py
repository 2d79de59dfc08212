from typing import Any

import pytest

from appliance.config import load as loading
from appliance.config.changed_keys import CHANGED, ChangedKey, rename
from appliance.config.load import load
from appliance.config.problems import keys_of
from appliance.config.schema import Config
from appliance.errors import ConfigError

MOVED = ChangedKey("a.old", "b.new", "9.0")
IN_LISTS = ChangedKey("canisters[].limit", "canisters[].limits.clients", "9.0")
RETYPED = ChangedKey("a.listen", "a.listen", "9.0", lambda one: [one], lambda value: isinstance(value, str), "a list")


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (MOVED, {"a": {"old": 1, "x": 2}}, {"a": {"x": 2}, "b": {"new": 1}}),
        (MOVED, {"a": {"old": 1}, "b": None}, {"a": {}, "b": {"new": 1}}),
        (MOVED, {"a": {"x": 2}}, {"a": {"x": 2}}),
        (MOVED, {"a": None}, {"a": None}),
        (MOVED, {"a": {"old": 1}, "b": 5}, {"a": {}, "b": 5}),
        (
            IN_LISTS,
            {"canisters": [{"limit": 1}, {}, {"limit": 3, "limits": {"x": 1}}]},
            {"canisters": [{"limits": {"clients": 1}}, {}, {"limits": {"x": 1, "clients": 3}}]},
        ),
        (IN_LISTS, {"canisters": 3}, {"canisters": 3}),
        (RETYPED, {"a": {"listen": "x"}}, {"a": {"listen": ["x"]}}),
        (RETYPED, {"a": {"listen": ["x"]}}, {"a": {"listen": ["x"]}}),
    ],
)
def test_what_is_written_under_an_old_key_is_read_as_the_new_one(
    change: ChangedKey, before: dict[str, Any], after: dict[str, Any]
) -> None:
    found = rename(before, [change])
    assert before == after
    assert not rename(before, [change]), found


def test_every_change_leads_to_a_key_of_now() -> None:
    keys = {".".join(key) for key in keys_of(Config)}
    for change in CHANGED:
        assert change.new.replace("[]", "") in keys
        assert change.old == change.new or change.old.replace("[]", "") not in keys


OLD = "ICWS_GATEWAY__RELAY_QUEUE"
QUEUE = "gateway.relay_queue: is now relay.queue; write that. Release 0.2.0 refuses the old form"


@pytest.mark.parametrize(
    ("text", "variables", "settings", "queue", "warning"),
    [
        ("gateway: {relay_queue: 7}\n", {}, [], 7, f"text:1:11: {QUEUE}"),
        (
            "relay: {queue: 3}\n",
            {OLD: "7"},
            [],
            7,
            f"variable {OLD}: {QUEUE}",
        ),
        ("relay: {queue: 3}\n", {}, ["gateway.relay_queue=7"], 7, f"setting gateway.relay_queue: {QUEUE}"),
        ("gateway: {relay_queue: 7}\n", {"ICWS_RELAY__QUEUE": "8"}, [], 8, f"text:1:11: {QUEUE}"),
        ("relay: {queue: 3}\n", {}, [], 3, None),
    ],
)
def test_an_old_key_is_taken_with_a_warning_wherever_it_is_written(
    text: str, variables: dict[str, str], settings: list[str], queue: int, warning: str | None
) -> None:
    loaded = load(None, text=text, environment=variables, settings=settings)
    assert loaded.config.relay.queue == queue
    assert [str(each) for each in loaded.warnings] == ([warning] if warning else [])
    if queue == 7:
        assert loaded.origins["relay.queue"] == (warning or "").split(": ")[0].replace(":1:11", ":1:24")


def test_a_wrong_value_of_an_old_key_has_its_place() -> None:
    with pytest.raises(ConfigError, match=r"^text:1:24: relay.queue: must be a whole number"):
        load(None, text="gateway: {relay_queue: x}\n")


def test_both_keys_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match=r"^text:1:11: gateway.relay_queue: is now relay.queue, which is there too"):
        load(None, text="gateway: {relay_queue: 7}\nrelay: {queue: 3}\n")


def test_a_key_that_keeps_its_name_may_have_another_type(monkeypatch: pytest.MonkeyPatch) -> None:
    change = ChangedKey("log.level", "log.level", "9.0", lambda _: "debug", lambda value: value is True, "a level")
    monkeypatch.setattr(loading, "rename", lambda value: rename(value, [change]))
    loaded = load(None, text="log: {level: true}\n")
    assert loaded.config.log.level == "debug"
    problem = "log.level: has another type now; write a level. Release 9.0 refuses the old form"
    assert [str(each) for each in loaded.warnings] == [f"text:1:7: {problem}"]
    assert not load(None, text="log: {level: debug}\n").warnings
