from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.text.document import read_value
from appliance.config.text.edit import append_item, remove_item, set_value
from appliance.errors import ConfigError

IDS = st.sampled_from(["aaaaa-aa", "bkyz2-fmaaa-aaaaa-qaaaq-cai", "rrkah-fqaaa-aaaaa-aaaaq-cai", "no", "1e3", "0x10"])
PLAIN = st.one_of(IDS, st.booleans(), st.integers(-5, 5), st.text(max_size=8), st.lists(IDS, max_size=2))
ITEMS = st.dictionaries(st.sampled_from(["name", "paused", "generation", "max_clients"]), PLAIN, max_size=3).flatmap(
    lambda rest: IDS.map(lambda text: {"id": text, **rest})
)
STYLES = st.sampled_from([True, False, None])


def value_of(text: str) -> Any:
    document = read_value(text, "text")
    assert not document.problems
    return document.value


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A file in the layout that a YAML writer chooses, with comments at the ends of lines and between them."""
    value = {
        "log": draw(st.sampled_from([{}, {"level": "info"}, {"format": "json"}])),
        "canisters": draw(st.lists(ITEMS, max_size=3)),
        "drain": {"rate": "5/s"},
    }
    for key in draw(st.sets(st.sampled_from(sorted(value)))):
        del value[key]
    text = yaml.dump(
        {"version": 1, **value},
        default_flow_style=draw(STYLES),
        sort_keys=False,
        indent=draw(st.integers(2, 4)),
        width=10**6,
        allow_unicode=draw(st.booleans()),
    )
    lines = []
    for line in text.splitlines():
        lines.append(line + draw(st.sampled_from(["", "  # a: note - of [mine]"])))
        lines += draw(st.sampled_from([[], ["# ünder: it"], [""]]))
    return "\n".join(lines) + draw(st.sampled_from(["", "\n"]))


def comments(text: str) -> int:
    """How many there are, without what looks like one inside a quoted value of several lines."""
    return sum(text.count(comment) - str(value_of(text)).count(comment) for comment in ("# a: note", "# ünder"))


@given(texts(), st.data())
def test_a_value_is_set_and_nothing_else_changes(text: str, data: st.DataObject) -> None:
    before = value_of(text)
    wanted = data.draw(PLAIN)
    path = data.draw(
        st.sampled_from(
            [("log", "level"), ("version",), ("drain", "rate"), ("new",), ("quite", "new", "key")]
            + [("canisters", at, key) for at in range(len(before.get("canisters", []))) for key in ("id", "paused")]
        )
    )
    edited = set_value(text, path, wanted)
    after, parent = value_of(edited), before
    for part in path[:-1]:
        parent = parent.setdefault(part, {}) if isinstance(part, str) else parent[part]
    replaced = parent.get(path[-1])
    parent[path[-1]] = wanted
    assert after == before
    kept, there = comments(edited), comments(text)
    # comments between the items of a list go with it
    assert kept <= there if isinstance(replaced, list) else kept == there


@given(texts(), ITEMS)
def test_an_item_is_appended_and_nothing_else_changes(text: str, item: dict[str, Any]) -> None:
    before = value_of(text)
    edited = append_item(text, ("canisters",), item)
    before.setdefault("canisters", []).append(item)
    assert value_of(edited) == before
    assert comments(edited) == comments(text)


@given(texts(), st.data())
def test_an_item_is_removed_and_nothing_else_changes(text: str, data: st.DataObject) -> None:
    before = value_of(text)
    if not before.get("canisters"):
        return
    position = data.draw(st.integers(0, len(before["canisters"]) - 1))
    edited = remove_item(text, ("canisters", position))
    del before["canisters"][position]
    assert value_of(edited) == before


def test_what_people_wrote_stays_as_they_wrote_it() -> None:
    text = """\
# ours
canisters:  # note: both
  # the chat - of all
  - id: aaaaa-aa   # management
    name: "chat"
  -
    id: rrkah-fqaaa-aaaaa-aaaaq-cai
    polling: {min_interval: 50ms}

# below
log: {level: info}
"""
    paused = set_value(text, ("canisters", 0, "paused"), True)
    assert paused == text.replace('    name: "chat"\n', '    name: "chat"\n    paused: true\n')
    assert set_value(paused, ("canisters", 0, "paused"), False) == paused.replace("true", "false")
    added = append_item(text, ("canisters",), {"id": "x-y", "generation": ["v1", "v2"]})
    assert added == text.replace("50ms}\n", "50ms}\n  - id: x-y\n    generation: [v1, v2]\n")
    one = remove_item(text, ("canisters", 1))
    assert one.splitlines()[:6] == [*text.splitlines()[:5], ""]
    assert remove_item(one, ("canisters", 0)).splitlines()[:3] == [
        "# ours",
        "canisters: []  # note: both",
        "  # the chat - of all",
    ]


def test_a_layout_in_which_something_else_would_be_said_is_left_alone() -> None:
    with pytest.raises(ConfigError, match="edit it by hand"):
        set_value("a:\n  - |\n    one\n  - two\n", ("a", 0), "x")


@pytest.mark.parametrize(("text", "path"), [("[]", ("a",)), ("a: 1", ("a", "b")), ("", ("a",)), ("a: []", ("a", 0))])
def test_what_cannot_be_edited_says_so(text: str, path: tuple[str | int, ...]) -> None:
    with pytest.raises(ConfigError, match="edit it by hand"):
        set_value(text, path, 1)
    with pytest.raises(ConfigError, match="edit it by hand"):
        remove_item(text, (*path, 0))
