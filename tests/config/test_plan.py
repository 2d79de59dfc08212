import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.fields.effect import Effect, Live, NewSessions, Restart
from appliance.config.keys import label_of
from appliance.config.load import Loaded, load
from appliance.config.plan import Plan, PlannedChange, compare, diff, patched, without
from appliance.config.problems import effect_of, field_at, keys_of
from appliance.config.schema import Config
from appliance.config.text.written import written
from tests.config.configs import CANISTERS, ITEMS, VALUES, config, configs

CHAT = CANISTERS[0]


def ordered(configuration: Config) -> Config:
    """Without the order of what is repeated and not asked in order."""
    listeners = sorted(configuration.gateway.listeners, key=label_of)
    gateway = configuration.gateway.model_copy(update={"listeners": listeners})
    canisters = sorted(configuration.canisters, key=label_of)
    return configuration.model_copy(update={"gateway": gateway, "canisters": canisters})


def plan(old: dict[str, object], new: dict[str, object]) -> list[tuple[str, object, object, str]]:
    return [(change.key, change.old, change.new, change.effect) for change in diff(config(old), config(new))]


@given(configs())
def test_equal_configurations_do_not_differ(one: Config) -> None:
    assert not list(diff(one, one.model_copy(deep=True)))


@given(configs(), configs())
def test_there_is_a_change_exactly_where_they_differ(one: Config, other: Config) -> None:
    assert bool(list(diff(one, other))) == (ordered(one) != ordered(other))


@given(configs(), configs())
def test_the_old_one_with_all_changes_is_the_new_one(old: Config, new: Config) -> None:
    changes = list(diff(old, new))
    assert ordered(patched(old, changes)) == ordered(new)
    assert patched(old, changes).plugins == new.plugins
    assert ordered(without(new, changes)) == ordered(old)


def together(change: PlannedChange) -> bool:
    return change.path[0] in ("polling", "plugins") or change.path[-1] == "name" or change.canister is not None


@given(configs(), configs(), st.sets(st.integers(0, 20)))
def test_what_is_left_after_some_changes_is_the_others(old: Config, new: Config, chosen: set[int]) -> None:
    # what belongs together: the ends of the interval of polling, the names of canisters, the order of plugins
    changes = [change for change in diff(old, new) if not together(change)]
    some = [change for position, change in enumerate(changes) if position in chosen]
    half = patched(old, some)
    left = [change for change in diff(half, new) if not together(change)]
    assert left == [change for change in changes if change not in some]


@given(configs(), configs())
def test_a_change_can_be_written_as_json_and_names_one_key(old: Config, new: Config) -> None:
    changes = list(diff(old, new))
    assert len({change.key for change in changes}) == len(changes)
    for change in changes:
        assert json.loads(json.dumps([change.old, change.new])) == [change.old, change.new]
        assert change.old != change.new


@given(configs(), configs())
def test_another_order_is_a_change_of_plugins_only(one: Config, other: Config) -> None:
    turned = one.model_copy(
        update={
            "canisters": one.canisters[::-1],
            "plugins": one.plugins[::-1],
            "gateway": one.gateway.model_copy(update={"listeners": one.gateway.listeners[::-1]}),
        }
    )
    assert [change.key for change in diff(one, turned)] == (["plugins"] if len(one.plugins) > 1 else [])


@pytest.mark.parametrize("path", [path for path in keys_of(Config) if path[0] not in ("canisters", "plugins")])
def test_a_change_has_the_class_of_its_key(path: tuple[str, ...]) -> None:
    key = ".".join(path)
    field = field_at(path)
    if (effect := effect_of(field)) is None or key == "version" or path[:2] == ("gateway", "listeners"):
        return  # nothing to change, or below
    base = {"gateway.tls": {"certificate": "/z.pem", "key": "/z.key"}} if path[:2] == ("gateway", "tls") else {}
    if path[0] == "cluster":
        base = {"cluster": {"url": "redis://z"}}
    (change,) = plan(base, base | {key: VALUES[key][0]})
    assert (change[0], change[3]) == (key, effect.name)


@pytest.mark.parametrize("key", ITEMS)
def test_a_change_within_a_list_has_the_class_of_its_key(key: str) -> None:
    identity, names, others = ITEMS[key]
    for name, values in others.items():
        field = field_at((*key.split("."), name))
        before, after = {identity: names[0]}, {identity: names[0], name: values[0]}
        changes = list(diff(config({key: [before]}), config({key: [after]})))
        assert {change.effect for change in changes} == {effect_of(field).name}
        assert all(f"].{name}" in change.key for change in changes)


def test_every_key_has_values_to_test_with() -> None:
    known = set(VALUES) | set(ITEMS) | {f"{key}.{inner}" for key, (_, _, others) in ITEMS.items() for inner in others}
    for path in keys_of(Config):
        key = ".".join(path)
        is_deeper = any(key.startswith(f"{item}.") and key.count(".") > item.count(".") + 1 for item in ITEMS)
        identities = {"canisters.id", "gateway.listeners.address", "plugins.path", "plugins.module", "plugins.name"}
        assert key in known | identities or is_deeper or effect_of(field_at(path)) is None, key


OWN_POLLING = {
    "min_interval": "10ms",
    "max_interval": "100ms",
    "max_backoff": "10s",
    "timeout": "5s",
    "max_silence": None,
}


def test_what_is_repeated_is_told_apart_by_what_it_is() -> None:
    old = {"canisters": [{"id": CHAT, "name": "chat"}, {"id": "aaaaa-aa"}]}
    new = {"canisters": [{"id": CANISTERS[2]}, {"id": CHAT, "name": "chat", "polling": {"min_interval": "10ms"}}]}
    assert plan(old, new) == [
        (f"canisters[{CHAT}].polling", None, OWN_POLLING, "live"),
        ("canisters[aaaaa-aa]", written(config(old).canisters[1]), None, "live"),
        (f"canisters[{CANISTERS[2]}]", None, written(config(new).canisters[0]), "live"),
    ]


def test_only_the_key_that_changed_is_named_however_deep() -> None:
    old = {"canisters": [{"id": CHAT, "polling": {}, "rate_limits": {"messages_per_client": {"burst": 9}}}]}
    new = {"canisters": [{"id": CHAT, "polling": {"timeout": "1s"}, "rate_limits": {}}]}
    assert plan(old, new) == [
        (f"canisters[{CHAT}].polling.timeout", "5s", "1s", "live"),
        (f"canisters[{CHAT}].rate_limits.messages_per_client.burst", 9, 200, "live"),
    ]


def test_a_canister_is_named_by_changes_that_are_about_it() -> None:
    old, new = (
        config({"canisters": [{"id": CHAT}, {"id": "aaaaa-aa"}]}),
        config({"canisters": [{"id": CHAT, "name": "c"}]}),
    )
    changes = list(diff(old, new.model_copy(update={"unlisted_canisters": "allow"})))
    assert [(change.canister, change.removes_canister) for change in changes] == [
        (None, False),
        (CHAT, False),
        ("aaaaa-aa", True),
    ]


def test_a_plan_counts_sessions_and_knows_what_waits() -> None:
    changes = Plan(tuple(diff(config({}), config({"gateway.journal": "/a", "log.level": "error"}))))
    counted = changes.counted({"log.level": 5, "something.else": 9})
    assert [(change.key, change.sessions) for change in counted] == [("log.level", 5), ("gateway.journal", 0)]
    assert [change.key for change in counted.restarts] == ["gateway.journal"]
    assert (len(counted), counted.sessions, Plan().sessions) == (2, 5, 0)


def test_files_that_change_are_changes(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("gateway: {tls: {certificate: a.pem, key: b.pem}}\nplugins: [{path: p.py}]\n")

    def loaded() -> Loaded:
        return load(file)

    (tmp_path / "a.pem").write_text("1")
    (tmp_path / "p.py").write_text("1")
    first = loaded()
    assert not compare(first, loaded())
    (tmp_path / "a.pem").write_text("2")
    (tmp_path / "b.pem").write_text("2")
    (tmp_path / "p.py").unlink()
    changes = compare(first, loaded())
    assert [(change.key, change.in_file, change.effect) for change in changes] == [
        ("gateway.tls.certificate", True, "live"),
        ("gateway.tls.key", True, "live"),
        ("plugins[p].path", True, "live"),
    ]
    certificate, key, plugin = changes
    assert certificate.old.startswith(f"{tmp_path}/a.pem (sha256 ")
    assert certificate.old != certificate.new
    assert key.old is None
    assert plugin.new is None
    assert patched(first.config, changes) == first.config


def test_a_file_of_another_name_is_the_change_of_the_key_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    file = tmp_path / "gateway.yaml"
    tls = "gateway: {{tls: {{certificate: {}, key: k}}}}\n"
    (change,) = compare(load(file, text=tls.format("a")), load(file, text=tls.format("b")))
    assert change == PlannedChange(("gateway", "tls", "certificate"), f"{tmp_path}/a", f"{tmp_path}/b", "live")


@pytest.mark.parametrize("effect", [Live(), NewSessions(), Restart()])
def test_classes_have_words(effect: Effect) -> None:
    assert effect.name in ("live", "new sessions", "restart")
    assert effect.meaning.startswith("a change ")
