"""Values of the application and the bytes that travel."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.client.codec import codec_for
from appliance.client.sessions.session import Generation
from appliance.crypto import CandidTypes, encode_cbor
from appliance.errors import CandidError, ConfigError, Malformed, TooLarge

RECORD = "record {text: text; at: opt nat64}"
VALUE = {"text": "hi", "at": 7}
DID = f"""
// the interface of a chat
type AppMessage = {RECORD};
type Other = record {{ nat; AppMessage }};
service : {{
  ws_message : (record {{ msg : reserved }}, opt AppMessage) -> (variant {{ Ok; Err : text }});
  ws_close : (record {{}}) -> ();
}}
"""


def test_a_type_as_text() -> None:
    codec = codec_for("v2", RECORD, None)
    assert codec.encode(VALUE) == CandidTypes(f"({RECORD})").encode(VALUE)
    assert codec.decode(codec.encode(VALUE)) == VALUE
    with pytest.raises(CandidError, match="field text is missing"):
        codec.encode({"txet": ""})
    with pytest.raises(CandidError):
        codec.decode(b"no candid")


def test_a_type_may_end_with_a_comment() -> None:
    codec = codec_for("v2", f"{RECORD} // what a user wrote", None)
    assert codec.decode(codec.encode(VALUE)) == VALUE


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_an_interface_says_the_type_by_its_ws_message(generation: Generation, tmp_path: Path) -> None:
    file = tmp_path / "chat.did"
    file.write_text(DID)
    plain = codec_for(generation, RECORD, None).encode(VALUE)
    for source in (
        DID,
        file,
        DID.replace("service :", "service : (nat) ->"),
        DID.replace("service :", "service chat:"),
    ):
        codec = codec_for(generation, source, None)
        assert codec.decode(codec.encode(VALUE)) == VALUE
        assert CandidTypes(f"({RECORD})").decode(codec.encode(VALUE)) == CandidTypes(f"({RECORD})").decode(plain)


def test_an_interface_has_named_types(tmp_path: Path) -> None:
    value = (3, VALUE)
    for source in (DID, DID[: DID.index("service")]):
        codec = codec_for("v2", source, "Other")
        assert codec.decode(codec.encode(value)) == value
    with pytest.raises(CandidError, match="no type Nothing"):
        codec_for("v2", DID, "Nothing")


def test_a_type_that_speaks_of_services_is_no_interface() -> None:
    codec = codec_for("v2", 'record {"service" : text; to: service {}}', None)
    assert codec.encode({"service": "x", "to": b"\4"})


def test_motoko_says_the_same_without_opt() -> None:
    codec = codec_for("v2", DID.replace("opt AppMessage", "AppMessage"), None)
    assert codec.decode(codec.encode(VALUE)) == VALUE


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("service : {}", "no method ws_message"),
        ("service : { ws_message : (record {}) -> () }", "no second argument"),
        ("service : { ws_message : (record {}, opt Gone) -> () }", "line 1, column 42: .*Gone"),
        ("record {", "line 1"),
        ("chat.did", "pathlib.Path"),
        ("", "these are 0"),
        ("nat, text", "these are 2"),
    ],
)
def test_what_says_no_type_is_an_error_with_a_place(source: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CandidError, match=sentence):
        codec_for("v2", source, None)
    if "service" in source:
        file = tmp_path / "wrong.did"
        file.write_text(source)
        with pytest.raises(CandidError, match=sentence):
            codec_for("v2", file, None)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        codec_for("v2", tmp_path / "missing.did", None)
    (tmp_path / "binary.did").write_bytes(b"\xff\xfe")
    with pytest.raises(CandidError, match=r"binary\.did.*UTF-8"):
        codec_for("v2", tmp_path / "binary.did", None)
    (tmp_path / "wrong.did").write_text("type A = vec C; service : {}")
    with pytest.raises(CandidError, match=r"wrong\.did: line 1, column 14"):
        codec_for("v2", tmp_path / "wrong.did", None)
    (tmp_path / "long.did").write_text(" " * 2_000_000)
    with pytest.raises(TooLarge):
        codec_for("v2", tmp_path / "long.did", None)


@given(st.binary())
def test_without_a_type_values_are_bytes(content: bytes) -> None:
    codec = codec_for("v1", None, None)
    assert codec.encode(content) == codec.decode(content) == content


@pytest.mark.parametrize("value", ["text", None, {}, bytearray(b"x")])
def test_without_a_type_nothing_but_bytes_is_sent(value: Any) -> None:
    with pytest.raises(CandidError, match=type(value).__name__):
        codec_for("v2", None, None).encode(value)


CBOR = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=9) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(CBOR)
def test_values_of_v0_are_cbor(value: Any) -> None:
    codec = codec_for("v0", None, None)
    assert codec.decode(codec.encode(value)) == value
    assert codec.encode(value) == encode_cbor(value)  # with the tag, as JavaScript clients read it


@pytest.mark.parametrize("value", [object(), {1: 2}, -(2**64) - 1, {"a": {1, 2}}])
def test_what_is_no_cbor_is_refused(value: Any) -> None:
    with pytest.raises(Malformed):
        codec_for("v0", None, None).encode(value)
    with pytest.raises(Malformed):
        codec_for("v0", None, None).decode(b"\xff")


@pytest.mark.parametrize(
    ("generation", "message_type", "type_name", "argument"),
    [
        ("v0", RECORD, None, "message_type"),
        ("v0", DID, "Other", "message_type"),
        ("v0", None, "Other", "type_name"),
        ("v2", None, "Other", "type_name"),
    ],
)
def test_arguments_that_do_not_belong_together(
    generation: Generation, message_type: str | None, type_name: str | None, argument: str
) -> None:
    with pytest.raises(ConfigError, match=argument):
        codec_for(generation, message_type, type_name)


@pytest.mark.parametrize("text", ["/x.did", "./chat.did", "chat.DID", "types/chat", "chat.did ", "C:\\chat.did"])
@pytest.mark.parametrize("type_name", [None, "Message"])
def test_the_name_of_a_file_as_text_says_how_to_give_a_file(text: str, type_name: str | None) -> None:
    with pytest.raises(CandidError, match=r"looks like the name of a file; give pathlib\.Path\("):
        codec_for("v2", text, type_name)
