import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.text.document import (
    MAX_BYTES,
    Document,
    decode,
    key_text,
    read_document,
    read_value,
    resolve_scalar,
)
from appliance.errors import ConfigError


def read(text: str) -> Document:
    return read_document(text, "g.yaml")


def read_file(data: bytes) -> Document:
    return read_document(decode(data, "g.yaml"), "g.yaml")


def fatal(data: bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_file(data)
    return [str(problem) for problem in caught.value.problems]


def test_values_come_with_their_places() -> None:
    document = read("a: 1\nb:\n  c: [x, {d: true}]\n")
    assert document.value == {"a": 1, "b": {"c": ["x", {"d": True}]}}
    assert document.places[("b", "c", 1, "d")] == "g.yaml:3:14"
    assert document.key_places[("b", "c")] == "g.yaml:3:3"
    assert document.problems == []


@pytest.mark.parametrize("text", ["no", "off", "on", "yes", "y", "1:30", "1_000", "0b1", ".inf", ".nan", "nUll", "<<"])
def test_what_only_yaml_1_1_reads_otherwise_stays_text(text: str) -> None:
    assert resolve_scalar(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("true", True),
        ("FALSE", False),
        ("-7", -7),
        ("0x1f", 31),
        ("0o17", 15),
        ("1e3", 1000.0),
    ],
)
def test_scalars_of_yaml_1_2(text: str, value: object) -> None:
    result = resolve_scalar(text)
    assert result == value
    assert type(result) is type(value)


def test_an_octal_looking_number_is_refused() -> None:
    document = read("mode: 010\nquoted: '010'\n")
    assert document.value == {"quoted": "010"}
    assert [(p.place, p.key) for p in document.problems] == [("g.yaml:1:7", "mode")]
    assert document.broken == {("mode",)}


def test_a_duplicate_key_names_both_places_and_the_first_wins() -> None:
    document = read("a:\n  b: 1\n  b: {c: [1, 2], d: 3}\n  e: 4\n")
    assert document.value == {"a": {"b": 1, "e": 4}}
    assert [str(p) for p in document.problems] == [
        "g.yaml:3:3: a.b: the key is there twice, first at g.yaml:2:3; remove one"
    ]


@pytest.mark.parametrize(
    ("text", "word"),
    [("a: &x 1\n", "anchor &x"), ("a: *x\n", "alias *x"), ("a: !!str 5\n", "tag"), ("a: !x {b: 1}\n", "tag !x")],
)
def test_ornaments_are_refused(text: str, word: str) -> None:
    (problem,) = read(text).problems
    assert word in problem.problem
    assert (problem.place, problem.key) == ("g.yaml:1:4", "a")


def test_aliases_cannot_grow() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{n}: &{n} [*{p}, *{p}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True))
    document = read(bomb)
    assert document.value == {}
    assert len(document.problems) == 9 + 16


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "g.yaml: the file is empty"),
        (b"# only a comment\n", "g.yaml: the file is empty"),
        (b"---\n...\n", "g.yaml: the file is empty"),
        (b"a: 1\n---\nb: 1\n", "g.yaml:2:1: a: a second document"),
        (b"a: 1\nb: \xff\n", "g.yaml:2:4: this is not UTF-8 text"),
        (b"a: 1\nb: \x00\n", "g.yaml:2:4: the control character"),
        (b"a:\n  b: 1\n c: 2\n", "g.yaml:3:2: a.b: this line is indented differently"),
        (b"a: {b: 1\n", "g.yaml:2:1: a.b: a comma or } is missing"),
        (b"? [a]\n: b\n", "g.yaml:1:3: a key must be plain text"),
        (b"a: " + b"[" * 17 + b"]" * 17 + b"\n", "g.yaml:1:20: a[0]"),
        (b"#" * (MAX_BYTES + 1), "g.yaml: has 1048577 bytes"),
    ],
)
def test_what_ends_the_reading(data: bytes, problem: str) -> None:
    assert fatal(data)[-1].startswith(problem)


@pytest.mark.parametrize(("text", "problem"), [("\ud800", "control"), ("#" * (MAX_BYTES + 1), "has 1048577 bytes")])
def test_text_that_was_never_a_file_is_held_to_the_same(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_document(text, "the request")


def test_a_syntax_error_comes_after_what_was_found_before() -> None:
    duplicate, syntax = fatal(b"a: 1\na: 2\nb: [\n")
    assert "twice" in duplicate
    assert "syntax" in syntax


@pytest.mark.parametrize("text", ["a: 200", "a: true", "a:\n  - tex", "a:", "a: ", "a: {b: 1}\nc:", "a:\n  -"])
def test_an_unquoted_value_at_the_very_end_may_be_cut_off(text: str) -> None:
    assert "is it cut off?" in fatal(text.encode())[-1]
    assert read(text + "\n").problems == []


@pytest.mark.parametrize("text", ["a: [1]", "a: 'x'", "a: {b: 1}", "a: 1 # done", "a: |\n  x"])
def test_a_closed_value_at_the_very_end_is_whole(text: str) -> None:
    assert read(text).problems == []


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert read_file(b"\xef\xbb\xbfa: 1\n").value == {"a": 1}


def test_values_from_outside_have_the_name_as_place() -> None:
    document = read_value("[a, {b: 5}]", "variable X")
    assert document.value == ["a", {"b": 5}]
    assert set(document.places.values()) == {"variable X"}
    assert read_value("", "variable X").value is None
    with pytest.raises(ConfigError, match="variable X: "):
        read_value("[a", "variable X")
    with pytest.raises(ConfigError, match="control characters"):
        read_value("\x00", "variable X")


def test_keys_are_written_as_people_do() -> None:
    assert key_text(("canisters", 0, "id")) == "canisters[0].id"
    assert key_text(()) == ""


def check_outcome(data: bytes) -> None:
    try:
        problems = read_file(data).problems
    except ConfigError as error:
        problems = error.problems or pytest.fail("an error without a problem")
    assert all(problem.place.startswith("g.yaml") for problem in problems)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_a_config_error(data: bytes) -> None:
    check_outcome(data)


@given(st.text("ab:{}[]-,#'\"&*!|> \n", max_size=60))
def test_any_yaml_like_text_is_a_document_or_a_config_error(text: str) -> None:
    check_outcome(text.encode())
