from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.fields.units import parse_duration, parse_rate, parse_size
from appliance.config.load import load
from appliance.config.render.describe import keys, render_yaml
from appliance.config.render.json_schema import json_schema
from appliance.config.schema import Config, Section
from appliance.config.text.document import read_document
from appliance.config.text.written import written
from appliance.errors import ConfigError

SCHEMA = json_schema()
VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)
FULL = """\
gateway: {tls: {certificate: a, key: b}, listeners: [{address: "0.0.0.0:1", generation: v1}]}
network: {url: "https://icp-api.io"}
canisters: [{id: bkyz2-fmaaa-aaaaa-qaaaq-cai, name: chat, generation: v0, max_clients: 3, polling: {timeout: 1s},
  rate_limits: {messages_per_client: {rate: 1/s, burst: 2}}}]
control: {listen: null, hosts: [a.example], tokens: tokens}
plugins: [{path: a.py, config: {any: [1, {b: null}]}}]
"""


def value_of(text: str) -> Any:
    return read_document(f"{text}\n", "text").value


def loads(value: Any) -> bool:
    """Whether the loader takes this value of the top."""
    try:
        Config.model_validate(value, context={"written": True})
    except ValueError:
        return False
    return True


def described(section: type[Section] = Config, schema: Any = SCHEMA) -> Iterator[tuple[type[Section], Any]]:
    yield section, schema
    for key in keys(section):
        if key.section is not None:
            yield from described(key.section, SCHEMA["$defs"][key.section.__name__])


def test_it_is_a_schema_and_the_shipped_file_fits_it():
    jsonschema_rs.meta.validate(SCHEMA)
    assert VALIDATOR.is_valid(value_of(render_yaml()))


def test_every_section_of_a_file_that_has_them_all_fits_it(tmp_path: Path):
    value = value_of(FULL)
    VALIDATOR.validate(value)
    assert loads(value)
    file = tmp_path / "gateway.yaml"
    file.write_text(FULL)
    VALIDATOR.validate(written(load(file).config))


def test_every_key_is_there_with_its_meaning_default_and_change():
    for section, schema in described():
        assert list(schema["properties"]) == list(section.model_fields)
        assert schema["additionalProperties"] is False
        for key in keys(section):
            part = schema["properties"][key.path[-1]]
            assert part.get("x-change") == (key.effect.name if key.effect else None)
            if key.section is None:
                assert part["description"]
                assert part["description"].replace("`", "") == key.meaning.replace("`", "")


@pytest.mark.parametrize(
    "text",
    [
        "gatewy: {}",
        "gateway: {listn: a:1}",
        "gateway: null",
        "gateway: {max_connections: 0}",
        "gateway: {max_connections: '5'}",
        "gateway: {generation: v9}",
        "gateway: {tls: {certificate: a}}",
        "polling: {min_interval: 5}",
        "polling: {min_interval: 5 weeks}",
        "network: {url: []}",
        "network: {root_key: abc}",
        "canisters: [{name: a}]",
        "canisters: {id: a}",
        "canisters: [{id: bkyz2-fmaaa-aaaaa-qaaaq-cai, generation: []}]",
        "control: {hosts: ['A B']}",
        "version: 2",
        "watch: yes please",
    ],
)
def test_what_is_wrong_for_the_loader_is_wrong_here(text: str):
    value = value_of(text)
    assert not VALIDATOR.is_valid(value)
    assert not loads(value)


UNIT = r"(ms|s|min|m|h|d|s1ms|m 3s|KiB|MB|B|M|kB|/s|/min| / h|x)?"
QUANTITY = st.from_regex(rf"[0-9]{{1,3}}(\.[0-9]{{1,2}})? ?{UNIT}", fullmatch=True)


@given(text=QUANTITY)
def test_units_are_the_same_as_for_the_loader(text: str):
    """Whatever the bounds of a key."""
    for key, parse in (("duration", parse_duration), ("size", parse_size), ("rate", parse_rate)):
        part = {
            "duration": SCHEMA["$defs"]["Polling"]["properties"]["timeout"],
            "size": SCHEMA["$defs"]["Gateway"]["properties"]["outbox"],
            "rate": SCHEMA["$defs"]["Drain"]["properties"]["rate"],
        }[key]
        try:
            parse(text)
        except ValueError:
            assert not jsonschema_rs.is_valid(part, text), (key, text)
        else:
            assert jsonschema_rs.is_valid(part, text), (key, text)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**7)
    | st.sampled_from(["v1", "5s", "1KiB", "2/s", "a:1", "*", "off"]),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=4,
)


@given(data=st.data(), value=JSON)
def test_what_the_loader_takes_fits(data: st.DataObject, value: Any):
    """Any value for any key of a section that is always there."""
    section, key = data.draw(
        st.sampled_from([(".".join(each.path[:-1]), each.path[-1]) for each in _plain_keys()]), label="key"
    )
    whole: dict[str, Any] = {}
    target = whole
    for part in section.split(".") if section else ():
        target = target.setdefault(part, {})
    target[key] = value
    if loads(whole):
        VALIDATOR.validate(whole)


def _plain_keys(section: type[Section] = Config, above: tuple[str, ...] = ()) -> Iterator[Any]:
    for key in keys(section, above):
        if key.is_plain and key.section is not None:
            yield from _plain_keys(key.section, key.path)
        else:
            yield key


def test_the_loader_says_more_than_the_schema_can(tmp_path: Path):
    """Bounds of quantities, and what belongs together."""
    file = tmp_path / "gateway.yaml"
    file.write_text("polling: {min_interval: 5s, max_interval: 1s}\n")
    assert VALIDATOR.is_valid(value_of(file.read_text()))
    with pytest.raises(ConfigError, match="above max_interval"):
        load(file)
