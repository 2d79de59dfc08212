"""The Candid interfaces against what agents of the field encode for them."""

from typing import Any, cast

import pytest

from appliance.crypto import CandidInterface, CandidTypes
from appliance.ic.principal import Principal
from appliance.localnet.websocket.dialect import DIALECTS, Generation
from appliance.localnet.websocket.interface import interface
from tests import vectors

VECTORS = vectors.load_json("websocket/candid_messages.json")["messages"]


def _types(vector: dict[str, Any]) -> CandidTypes:
    generation: Generation = vector["generation"]
    method, side, *_ = vector["name"].split()
    if method == "service":
        acknowledgements = DIALECTS[generation].acknowledgements
        assert acknowledgements is not None
        return acknowledgements.message
    return cast("CandidTypes", getattr(CandidInterface(interface(generation, "text")).methods[method], side))


def _value(told: Any) -> Any:
    """Of what JSON cannot say: principals, bytes and big numbers."""
    match told:
        case {"__principal__": text}:
            return Principal.from_text(text)
        case {"hex": digits}:
            return bytes.fromhex(digits)
        case dict():
            return {name: _value(item) for name, item in told.items()}
        case list():
            return [_value(item) for item in told]
        case str() if told.isdecimal():
            return int(told)
        case _:
            return told


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['generation']}: {v['name']}")
def test_what_agents_encode_decodes_and_what_we_encode_says_the_same(vector: dict[str, Any]) -> None:
    types, data = _types(vector), bytes.fromhex(vector["candid_hex"])
    decoded = types.decode(data)
    assert list(decoded) == [None if value == [] else _value(value) for value in vector["value"]]
    theirs = CandidTypes(f"({', '.join(vector['types'])})")
    assert theirs.decode(types.encode(*decoded)) == theirs.decode(data)


def test_every_generation_is_tried_with_every_method() -> None:
    tried = {(v["generation"], v["name"].split()[0]) for v in VECTORS}
    methods = {"ws_open", "ws_close", "ws_message", "ws_get_messages"}
    assert {name for generation, name in tried if generation == "v0"} >= methods
    assert {name for generation, name in tried if generation == "v1"} >= {"ws_open", "ws_message"}
    assert {name for generation, name in tried if generation == "v2"} >= methods


@pytest.mark.parametrize("generation", DIALECTS)
def test_an_application_adds_its_message_and_methods(generation: Generation) -> None:
    text = interface(generation, "record { text : text }", "a : () -> ();\nb : (nat) -> (nat) query;")
    parsed = CandidInterface(text)
    assert {"a", "b", "ws_get_messages"} <= set(parsed.methods)
    assert parsed.methods["b"].is_query
    assert ("ws_register" in parsed.methods) == (generation == "v0")
    if generation != "v0":
        assert parsed.type("AppMessage").decode(CandidTypes("(record {text: text})").encode({"text": "x"}))
