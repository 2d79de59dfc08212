from collections.abc import Callable
from types import ModuleType
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import decode_cbor, encode_cbor, hash_of_value
from appliance.errors import Malformed
from appliance.ic.principal import Principal

TAG = b"\xd9\xd9\xf7"

SCALARS = st.none() | st.booleans() | st.integers(-(2**64), 2**80) | st.binary(max_size=40) | st.text(max_size=40)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)
HASHED = st.recursive(
    st.integers(-(2**64), 2**80) | st.binary(max_size=40) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_encoded_decodes_here_and_elsewhere(value: Any) -> None:
    encoded = encode_cbor(value)
    assert encoded[:3] == TAG
    assert encoded[3:] == encode_cbor(value, tagged=False) == cbor2.dumps(value)
    assert decode_cbor(encoded) == decode_cbor(encoded[3:]) == value


@given(st.binary(max_size=60))
def test_what_is_accepted_is_what_another_decoder_reads(data: bytes) -> None:
    try:
        value = decode_cbor(data)
    except Malformed:
        return
    assert cbor2.loads(data) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x01",
        b"\xa2\x61a\x01\x61a\x02",
        b"\xf9\x3c\x00",
        b"\xc0\x61a",
        b"\x5f\x41a\xff",
        b"\x81" * 600 + b"\x01",
        b"\x9b" + b"\xff" * 8,
    ],
)
def test_what_is_not_strict_is_refused_by_the_name_given(data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        decode_cbor(data, what="answer")
    assert caught.value.what == "answer"


def test_a_principal_travels_as_bytes_and_a_tuple_as_a_list() -> None:
    assert encode_cbor({"id": Principal(b"\x04"), "path": (b"a",)}) == encode_cbor({"id": b"\x04", "path": [b"a"]})


@pytest.mark.parametrize("value", [1.5, {1: 2}, {b"a": 1}, bytearray(b"a"), {1, 2}, object(), [object()]])
def test_other_types_have_no_encoding(value: Any) -> None:
    with pytest.raises(TypeError):
        encode_cbor(value)


def test_what_cannot_be_written_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested"):
        encode_cbor(endless)
    with pytest.raises(OverflowError):
        encode_cbor(-(2**64) - 1)
    assert decode_cbor(encode_cbor(-(2**64))) == -(2**64)


def test_keys_of_other_kinds_are_read() -> None:
    assert decode_cbor(cbor2.dumps({1: "a", -2: "b", b"c": None})) == {1: "a", -2: "b", b"c": None}


# --- hashes of values -----------------------------------------------------------------------------------------------


def test_every_request_id_of_the_vectors(vectors: ModuleType) -> None:
    read: dict[str, Callable[[Any], Any]] = {
        "text": str,
        "nat": int,
        "blob": bytes.fromhex,
        "array": lambda items: [value(item) for item in items],
        "map": lambda fields: {key: value(field) for key, field in fields.items()},
    }

    def value(tagged: dict[str, Any]) -> Any:
        ((kind, inner),) = tagged.items()
        return read[kind](inner)

    cases = vectors.load_json("request_ids.json")["cases"]
    # A number that is signed by its type is no CBOR: the core hashes that one, with all others, in its own test.
    plain = [case for case in cases if "int" not in str(case["value"].get("map", {}).get("foo"))]
    assert len(plain) == 16
    for case in plain:
        assert hash_of_value(value(case["value"])).hex() == case["hash"], case


@given(st.dictionaries(st.text(max_size=8), HASHED, max_size=5), st.randoms())
def test_the_order_of_fields_and_null_fields_do_not_count(fields: dict[str, Any], random: Any) -> None:
    shuffled = list(fields.items())
    random.shuffle(shuffled)
    absent = {f"{key} absent": None for key in fields}
    assert hash_of_value(dict(shuffled) | absent) == hash_of_value(fields)


@given(HASHED, HASHED)
def test_different_values_hash_differently_unless_they_are_the_same_bytes(one: Any, other: Any) -> None:
    assert (hash_of_value({"a": one}) == hash_of_value({"a": other})) == (flat(one) == flat(other))


def flat(value: Any) -> Any:
    """What a representation-independent hash keeps of a value: text and its bytes are one."""
    match value:
        case str():
            return ("bytes", value.encode())
        case bytes():
            return ("bytes", value)
        case int():
            return ("bytes", leb128(value) if value >= 0 else sleb128(value))
        case list():
            return ("bytes", b"".join(hash_of_value(item) for item in value))
        case _:
            pairs = sorted(hash_of_value(key) + hash_of_value(item) for key, item in value.items())
            return ("bytes", b"".join(pairs))


def leb128(number: int) -> bytes:
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def sleb128(number: int) -> bytes:
    groups = []
    while number < -0x40:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number & 0x7F])


@pytest.mark.parametrize("value", [None, True, [None], {"a": [False]}, 1.5, object()])
def test_what_has_no_hash_is_a_wrong_type(value: Any) -> None:
    with pytest.raises(TypeError):
        hash_of_value(value)
