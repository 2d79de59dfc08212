import math
import threading

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from appliance import _native
from appliance.errors import CandidError, TooLarge
from appliance.ic.principal import Principal
from tests import vectors

TEXTS = st.text('aZ_ \0\n"é€😀', max_size=20)
PRINCIPALS = st.binary(max_size=29).map(Principal)
SCALARS = {
    "null": st.none(),
    "bool": st.booleans(),
    "nat": st.integers(min_value=0, max_value=1 << 200),
    "int": st.integers(min_value=-(1 << 200), max_value=1 << 200),
    **{f"nat{bits}": st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64)},
    **{f"int{bits}": st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1) for bits in (8, 16, 32, 64)},
    "float32": st.floats(width=32, allow_nan=False),
    "float64": st.floats(allow_nan=False),
    "text": TEXTS,
    "blob": st.binary(),
    "reserved": st.none(),
    "principal": PRINCIPALS,
    "service {}": PRINCIPALS,
    "func () -> ()": st.tuples(PRINCIPALS, TEXTS),
}
TypeAndValues = tuple[str, st.SearchStrategy[object]]


def optional(item: TypeAndValues) -> TypeAndValues:
    text, values = item
    if text.split()[0] in {"opt", "null", "reserved"}:
        return f"opt {text}", st.lists(values, max_size=1)
    return f"opt {text}", st.none() | values


def vector(item: TypeAndValues) -> TypeAndValues:
    text, values = item
    return f"vec {text}", st.binary() if text == "nat8" else st.lists(values, max_size=4)


def record(fields: dict[str, TypeAndValues]) -> TypeAndValues:
    text = "; ".join(f'"{name}": {item[0]}' for name, item in fields.items())
    return f"record {{{text}}}", st.fixed_dictionaries({name: item[1] for name, item in fields.items()})


def tuple_record(items: list[TypeAndValues]) -> TypeAndValues:
    return f"record {{{'; '.join(text for text, _ in items)}}}", st.tuples(*(values for _, values in items))


def variant(fields: dict[str, TypeAndValues]) -> TypeAndValues:
    text = "; ".join(f'"{name}": {item[0]}' for name, item in fields.items())
    return f"variant {{{text}}}", st.one_of([st.fixed_dictionaries({n: item[1]}) for n, item in fields.items()])


NAMES = st.sampled_from(["Ok", "a field", "_", "a,b", "client_key", "é"])
TYPES: st.SearchStrategy[TypeAndValues] = st.recursive(
    st.sampled_from(list(SCALARS.items())),
    lambda inner: (
        inner.map(optional)
        | inner.map(vector)
        | st.dictionaries(NAMES, inner, max_size=4).map(record)
        | st.lists(inner, min_size=1, max_size=3).map(tuple_record)
        | st.dictionaries(NAMES, inner, min_size=1, max_size=4).map(variant)
    ),
    max_leaves=6,
)


@given(st.data(), st.lists(TYPES, max_size=3))
def test_what_is_encoded_is_decoded(data: st.DataObject, items: list[TypeAndValues]) -> None:
    types = _native.CandidTypes(f"({', '.join(text for text, _ in items)})")
    values = tuple(data.draw(values) for _, values in items)
    assert types.decode(types.encode(*values)) == values
    assert types.encode(*values) == types.encode(*values)


@given(st.binary(max_size=200), TYPES)
def test_what_is_not_candid_is_refused(junk: bytes, item: TypeAndValues) -> None:
    types = _native.CandidTypes(f"({item[0]})")
    for data in (junk, b"DIDL" + junk, b"DIDL\0" + junk):
        for decode in (types.decode, _native.decode_candid):
            try:
                assert isinstance(decode(data), tuple)
            except CandidError as error:
                assert error.problem  # noqa: PT017 - any other exception fails the test


def from_vector(value: object) -> object:
    if isinstance(value, dict):
        if value.keys() == {"__principal__"}:
            return Principal.from_text(value["__principal__"])
        if value.keys() == {"hex"}:
            return bytes.fromhex(value["hex"])
        return {name: from_vector(item) for name, item in value.items()}
    if isinstance(value, list):
        return [from_vector(item) for item in value]
    return int(value) if isinstance(value, str) and value.isdigit() else value


def test_messages_of_all_generations() -> None:
    entries = vectors.load_json("websocket/candid_messages.json")["messages"]
    assert len(entries) == 27
    for entry in entries:
        types = _native.CandidTypes(f"({', '.join(entry['types'])})")
        values = tuple(from_vector(value) for value in entry["value"])
        data = bytes.fromhex(entry["candid_hex"])
        assert types.decode(data) == values, entry["name"]
        assert types.decode(types.encode(*values)) == values, entry["name"]
        assert len(_native.decode_candid(data)) == len(values)


def test_messages_decode_as_written_or_are_refused() -> None:
    cases = vectors.load_json("candid.json")["cases"]
    assert len(cases) == 126
    for case in cases:
        types, data = _native.CandidTypes(case["types"]), bytes.fromhex(case["data"])
        if case["value"] is None:
            with pytest.raises(CandidError):
                types.decode(data)
        else:
            assert types.decode(data) == types.decode(types.encode_text(case["value"])), case


def test_principals_are_of_our_class() -> None:
    types = _native.CandidTypes("(principal, service {}, func () -> ())")
    decoded = types.decode(types.encode(b"\4", b"\4", (b"\4", "name")))
    assert decoded == (Principal(b"\4"), Principal(b"\4"), (Principal(b"\4"), "name"))
    assert all(isinstance(value, Principal) for value in (decoded[0], decoded[1], decoded[2][0]))


@pytest.mark.parametrize(
    ("types", "values", "sentence"),
    [
        ("(nat8)", (256,), "argument 0: nat8 cannot hold 256"),
        ("(nat, nat)", (1, -1), "argument 1: nat cannot hold -1"),
        ("(nat64)", (True,), "argument 0: nat64 cannot be bool"),
        ("(nat64)", ("1",), "argument 0: nat64 cannot be str"),
        ("(bool)", (1,), "argument 0: bool cannot be int"),
        ("(float64)", ("1",), "argument 0: float64 cannot be str"),
        ("(float64)", (10**400,), "argument 0: float64 cannot hold so large a number"),
        ("(nat8)", (10**400,), "argument 0: nat8 cannot hold so large a number"),
        ("(text)", ("\ud800",), "argument 0: text cannot hold half of a surrogate pair"),
        ("(text)", (b"1",), "argument 0: text cannot be bytes"),
        ("(null)", (0,), "argument 0: null cannot be int"),
        ("(empty)", (None,), "argument 0: empty cannot be NoneType"),
        ("(blob)", ("1",), "argument 0: blob cannot be str"),
        ("(vec nat)", ({},), "argument 0: vec cannot be dict"),
        ("(vec text)", (["a", 1],), "argument 0, [1]: text cannot be int"),
        ("(principal)", ("aaaaa-aa",), "argument 0: principal cannot be str"),
        ("(principal)", (bytes(30),), "argument 0: a principal has at most 29 bytes, not 30"),
        ("(func () -> ())", (b"",), "argument 0: func is a tuple of principal and method name, not bytes"),
        ("(opt opt nat)", ([1, 2],), "argument 0: opt opt is None or a list of none or one, not list"),
        ("(record {a: nat})", ({},), "argument 0: field a is missing"),
        ("(record {a: nat})", ({"a": 1, "b": 2},), "argument 0: the record has no field b, only a"),
        ("(record {a: nat})", (1,), "argument 0: a record cannot be int"),
        ("(record {nat; text})", ((1,),), "argument 0: a record of 2 fields cannot be a tuple of 1"),
        ("(record {a: vec record {b: nat}})", ({"a": [{"b": ""}]},), "argument 0, a[0].b: nat cannot be str"),
        ("(variant {A; B})", ({"C": None},), "argument 0: the variant has no field C, only A, B"),
        ("(variant {A; B})", ({"A": None, "B": None},), "argument 0: a variant is a dict of one item, not dict"),
        ("(variant {A: nat})", ({"A": ""},), "argument 0, A: nat cannot be str"),
    ],
)
def test_a_value_that_does_not_fit_is_named(types: str, values: tuple[object, ...], sentence: str) -> None:
    with pytest.raises(CandidError) as caught:
        _native.CandidTypes(types).encode(*values)
    assert caught.value.problem == sentence


def test_the_number_of_values_counts() -> None:
    with pytest.raises(CandidError, match="2 values given, 1 wanted"):
        _native.CandidTypes("(nat)").encode(1, 2)
    with pytest.raises(CandidError, match="argument 1 is missing, which is nat"):
        _native.CandidTypes("(nat, nat)").decode(_native.CandidTypes("(nat)").encode(1))
    assert _native.CandidTypes("(nat)").decode(_native.CandidTypes("(nat, text)").encode(1, "more")) == (1,)


def test_fields_may_be_omitted_where_they_may_be_null() -> None:
    types = _native.CandidTypes("(record {a: opt nat; b: null; c: reserved; d: opt opt nat; e: nat})")
    assert types.decode(types.encode({"e": 1})) == ({"a": None, "b": None, "c": None, "d": [], "e": 1},)
    assert types.decode(_native.CandidTypes("(record {e: nat; more: text})").encode({"e": 1, "more": ""}))[0] == {
        "a": None, "b": None, "c": None, "d": [], "e": 1,
    }  # fmt: skip


def test_a_message_that_does_not_fit_is_explained() -> None:
    sent = _native.CandidTypes("(record {client_nonce: nat32})").encode({"client_nonce": 1})
    with pytest.raises(CandidError, match="argument 0, client_nonce: nat32 where nat64 belongs"):
        _native.CandidTypes("(record {client_nonce: nat64})").decode(sent)


def test_untyped_decoding_numbers_the_fields() -> None:
    types = _native.CandidTypes("(record {client_nonce: nat64}, record {nat; text}, variant {Ok; Err}, opt opt nat)")
    data = types.encode({"client_nonce": 7}, (1, "a"), {"Ok": None}, [3])
    assert _native.decode_candid(data) == ({3921324219: 7}, (1, "a"), {17724: None}, [3])


def test_floats_of_both_widths() -> None:
    types = _native.CandidTypes("(float32, float64, float64)")
    half, inf, nan = types.decode(types.encode(0.5, math.inf, math.nan))
    assert (half, inf) == (0.5, math.inf)
    assert nan != nan  # noqa: PLR0124 - so it is not a number
    assert types.decode(types.encode(1, 2, 3)) == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("text", ["", "nat", "(nat", "(nope)", "(record {a: nat; a: nat})", "(nat) -> ()"])
def test_texts_that_are_no_types(text: str) -> None:
    with pytest.raises(CandidError):
        _native.CandidTypes(text)


def test_a_text_and_a_value_are_bounded() -> None:
    with pytest.raises(CandidError, match="nest"):
        _native.CandidTypes(f"({'opt ' * 1000}nat)")
    with pytest.raises(TooLarge):
        _native.CandidTypes(" " * 2_000_000)
    chain = _native.CandidInterface("type Chain = record {next: opt Chain}").type("Chain")
    deep: object = {"next": None}
    for _ in range(1000):
        deep = {"next": deep}
    with pytest.raises(CandidError, match="nested deeper"):
        chain.encode(deep)


INTERFACE = """
// comments, named and cyclic types
type List = opt record {head: int; tail: List};
type Key = record {"client principal": principal; /* and */ 5: nat64};
service : (record {owner: opt principal}) -> {
  get: (List) -> (Key) query;
  both: () -> (List, List) composite_query;
  put: (Key, opt text) -> ();
}
"""


def test_an_interface() -> None:
    interface = _native.CandidInterface(INTERFACE)
    assert {name: method.is_query for name, method in interface.methods.items()} == {
        "get": True,
        "both": True,
        "put": False,
    }
    method = interface.methods["get"]
    assert method.name == "get"
    numbers = {"head": 1, "tail": {"head": -2, "tail": None}}
    assert method.arguments.decode(method.arguments.encode(numbers)) == (numbers,)
    key = {"client principal": Principal(b"\4"), 5: 9}
    assert method.results.decode(interface.type("Key").encode(key)) == (key,)
    assert interface.init.decode(interface.init.encode({})) == ({"owner": None},)
    with pytest.raises(CandidError, match="no type Nothing"):
        interface.type("Nothing")


def test_one_of_the_arguments_alone() -> None:
    put = _native.CandidInterface(INTERFACE).methods["put"].arguments
    assert len(put) == 2
    assert len(_native.CandidTypes("()")) == 0
    text = put[1].without_opt()
    assert text.encode("x") == _native.CandidTypes("(text)").encode("x")
    assert put[0].without_opt().encode({"client principal": b"", 5: 1}) == put[0].encode(
        {"client principal": b"", 5: 1}
    )
    with pytest.raises(IndexError, match="no type 2"):
        put[2]


@given(st.data(), st.lists(TYPES, min_size=1, max_size=3))
def test_a_tuple_is_its_types_one_by_one(data: st.DataObject, items: list[TypeAndValues]) -> None:
    types = _native.CandidTypes(f"({', '.join(text for text, _ in items)})")
    for index, (_, values) in enumerate(items):
        value = data.draw(values)
        assert types[index].decode(types[index].encode(value)) == (value,)


@given(st.data(), TYPES)
def test_an_opt_is_taken_off_once(data: st.DataObject, item: TypeAndValues) -> None:
    text, values = item
    value = data.draw(values)
    inner = _native.CandidTypes(f"(opt {text})").without_opt()
    assert inner.encode(value) == _native.CandidTypes(f"({text})").encode(value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("type A = nat;\ntype B = vec C", "line 2, column 14"),
        ("type A = nat;\ntype A = text", "line 2, column 6"),
        ("service : {\n  get: (nat) ->\n}", "line 3, column 1"),
        ("type A = record {\n\n  a = 1\n}", "line 3, column 5"),
        ("service : { f: (nat) -> (nat) oneway query }", "mode"),
        ('import "a.did"; type B = A', "import"),
    ],
)
def test_an_interface_that_is_wrong_says_where(text: str, place: str) -> None:
    with pytest.raises(CandidError, match=place):
        _native.CandidInterface(text)


def test_types_may_be_used_by_many_threads() -> None:
    types = _native.CandidInterface(INTERFACE).methods["get"].arguments
    results: list[object] = []

    def work(number: int) -> None:
        for _ in range(200):
            value = {"head": number, "tail": None}
            if types.decode(types.encode(value)) != (value,):
                return
        results.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(8))  # type: ignore[type-var]


@pytest.mark.parametrize(
    "bomb",
    [
        b"DIDL\x01\x6d\x7f\x01\x00\x80\x94\xeb\xdc\x03",
        b"DIDL\x01\x6d\x70\x01\x00\x80\x94\xeb\xdc\x03",
        b"DIDL\x02\x6d\x01\x6c\x00\x01\x00\x80\xad\xe2\x04",
        b"DIDL\x01\x6e\x00\x01\x00" + b"\x01" * 200_000,
    ],
)
def test_bombs_are_refused(bomb: bytes) -> None:
    for decode in (_native.decode_candid, _native.CandidTypes("(opt nat)").decode, _native.CandidTypes("()").decode):
        with pytest.raises(CandidError):
            decode(bomb)


# --- text ---


@given(st.data(), st.lists(TYPES, max_size=3))
def test_what_is_written_as_text_is_read_as_the_same(data: st.DataObject, items: list[TypeAndValues]) -> None:
    types = _native.CandidTypes(f"({', '.join(text for text, _ in items)})")
    encoded = types.encode(*(data.draw(values) for _, values in items))
    text = types.decode_text(encoded)
    assume("inf" not in text)  # the text format has no such number
    assert types.encode_text(text) == encoded


@given(st.lists(TYPES, max_size=3))
def test_a_sample_is_of_its_types(items: list[TypeAndValues]) -> None:
    types = _native.CandidTypes(f"({', '.join(text for text, _ in items)})")
    assert len(types.decode(types.encode_text(types.sample()))) == len(items)
    again = _native.CandidTypes(types.to_text())
    assert again.to_text() == types.to_text()


@given(st.text(max_size=50))
def test_text_that_is_none_of_values_is_refused(text: str) -> None:
    types = _native.CandidTypes("(nat, opt text)")
    for encode in (types.encode_text, _native.encode_candid_text):
        try:
            assert encode(text).startswith(b"DIDL")
        except CandidError as error:
            assert error.problem  # noqa: PT017 - any other exception fails the test


def test_values_without_types_are_what_they_seem() -> None:
    data = _native.encode_candid_text('(7 : nat64, "a", vec { 1; 2 })')
    assert _native.decode_candid(data) == (7, "a", [1, 2])
    assert _native.encode_candid_text(_native.decode_candid_text(data)) == data


def test_a_text_that_is_wrong_says_where() -> None:
    types = _native.CandidTypes("(nat)")
    with pytest.raises(CandidError, match="line 2, column 1: "):
        types.encode_text("(1\n}")
    with pytest.raises(CandidError, match="2 values given, 1 wanted"):
        types.encode_text("(1, 2)")
    with pytest.raises(TooLarge):
        types.encode_text(" " * ((1 << 20) + 1))


@given(st.binary(min_size=4, max_size=400).filter(lambda data: not data.startswith(b"DIDL")))
def test_an_error_quotes_nothing_of_what_was_decoded_and_no_source_file(data: bytes) -> None:
    with pytest.raises(CandidError) as caught:
        _native.CandidTypes("(record {a: nat64})").decode(data)
    assert data.hex() not in str(caught.value)
    assert ".rs" not in str(caught.value)


def test_an_error_of_subtyping_names_no_source_file() -> None:
    with pytest.raises(CandidError) as caught:
        _native.CandidTypes("(record {a: nat64})").decode(b"DIDL\x01\x6e\x71\x01\x00\x05abc")
    assert "Subtyping error: Type mismatch" in str(caught.value)
    assert ".rs" not in str(caught.value)
