"""Parses one YAML document with the place of every value, and collects every mistake that is not a syntax error.

The dialect is YAML 1.2's core schema without what a configuration is better off without: anchors, aliases, tags and
keys that are not text. ``no`` and ``on`` are text, ``true`` and ``false`` are booleans, and a number with a leading
zero is refused because YAML 1.1 and 1.2 read it differently.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NoReturn

import yaml

from appliance.config.text.syntax import place_and_sentence
from appliance.errors import ConfigError, ConfigProblem

Path = tuple[str | int, ...]
"""Keys and list positions from the top, e.g. ``("canisters", 0, "id")``."""

MAX_BYTES = 1024**2
MAX_DEPTH = 16

_LOADER: type = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,30}|0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,30}|[0-9]{1,30}(?:\.[0-9]{0,30})?)(?:[eE][-+]?[0-9]{1,3})?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")


@dataclass(frozen=True)
class Document:
    """A parsed document. ``places`` has each value's place, ``key_places`` each key's, both as ``name:line:column``.

    ``broken`` are the paths left out of ``value`` because of a problem with them, ``empty`` those with nothing written
    behind their key, which YAML reads as null.
    """

    value: object
    places: dict[Path, str] = field(default_factory=dict)
    key_places: dict[Path, str] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)
    broken: set[Path] = field(default_factory=set)
    empty: set[Path] = field(default_factory=set)


def key_text(path: Path) -> str:
    """A path as text: ``canisters[0].id``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def decode(data: bytes, name: str) -> str:
    """The text of a file, ``name`` in problems. Raises ConfigError for data that is too long or not UTF-8."""
    if len(data) > MAX_BYTES:
        raise ConfigError([ConfigProblem(name, "", f"has {len(data)} bytes, the limit is {MAX_BYTES}")])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        place = _place_after(name, data[: error.start].decode("utf-8"))
        raise ConfigError([ConfigProblem(place, "", "this is not UTF-8 text")]) from None


def read_document(text: str, name: str) -> Document:
    """Parse the text of a file, ``name`` in problems, with or without a byte order mark.

    Raises ConfigError where there is nothing to go on with: too long, wrong syntax, empty, or cut off.
    """
    if (size := len(text.encode(errors="surrogatepass"))) > MAX_BYTES:
        raise ConfigError([ConfigProblem(name, "", f"has {size} bytes, the limit is {MAX_BYTES}")])
    text = text.removeprefix("\ufeff")
    if found := _UNPRINTABLE.search(text):
        place = _place_after(name, text[: found.start()])
        raise ConfigError([ConfigProblem(place, "", f"the control character {found[0]!r} is not allowed")])
    return _Reader(name).read(text, whole_file=True)


def read_value(text: str, name: str) -> Document:
    """Read a value that was given outside of a file, e.g. by the environment; every place is ``name``.

    Raises ConfigError for wrong syntax.
    """
    if len(text) > MAX_BYTES or _UNPRINTABLE.search(text):
        raise ConfigError([ConfigProblem(name, "", "is too long or has control characters")])
    return _Reader(name, lines=False).read(text, whole_file=False)


def resolve_scalar(text: str) -> object:
    """The value of an unquoted text: null, a boolean, a number or text. Raises ValueError for an ambiguous one."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _LEADING_ZERO.fullmatch(text):
        raise ValueError(f"{text} is octal in YAML 1.1 and decimal in 1.2; leave out the zero or put it in quotes")
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _place_after(name: str, text: str) -> str:
    return f"{name}:{text.count(chr(10)) + 1}:{len(text) - text.rfind(chr(10))}"


class _Reader:
    """Builds a Document from the parser's events."""

    def __init__(self, name: str, *, lines: bool = True) -> None:
        self._name, self._lines = name, lines
        self._document = Document(None, {(): name})
        self._at: Path = ()
        self._last: yaml.ScalarEvent | None = None

    def read(self, text: str, *, whole_file: bool) -> Document:
        try:
            events = self._document_events(text)
            first = next(events, None)
            if whole_file and (first is None or (isinstance(first, yaml.ScalarEvent) and not first.value)):
                self._fail(self._name, "the file is empty; the shipped gateway.yaml shows every key")
            value = None if first is None else self._node(first, events, ())
            if whole_file:
                self._check_end(text)
            for _ in events:  # read the rest too, which may have errors
                pass
        except yaml.MarkedYAMLError as error:
            mark, sentence = place_and_sentence(error, text)
            self._fail(self._place(mark), sentence)
        except yaml.YAMLError as error:
            self._fail(self._name, f"this is not YAML: {error}")
        document = self._document
        return replace(document, value=value)

    def _document_events(self, text: str) -> Iterator[yaml.Event]:
        documents = 0
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._fail(self._place(event.start_mark), "a second document starts here, one is allowed")
            elif isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
                yield event

    def _check_end(self, text: str) -> None:
        """Report a last value without an end of line: the file may be cut off within it."""
        last = self._last
        if last is None or last.style:
            return
        ends_within = text.endswith(last.value) if last.value else text.rstrip(" ").endswith((":", "-"))
        if ends_within:
            what = f"within {last.value!r}" if last.value else "before a value"
            problem = f"the file ends {what}; is it cut off? End the line if it is not"
            self._fail(self._place(last.start_mark), problem)

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> object:
        self._at = path
        self._document.places[path] = self._place(event.start_mark)
        if len(path) > MAX_DEPTH:
            self._fail(self._place(event.start_mark), f"deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            self._refuse_ornaments(event, path)
        match event:
            case yaml.MappingStartEvent():
                return self._mapping(events, path)
            case yaml.SequenceStartEvent():
                return self._sequence(events, path)
            case yaml.ScalarEvent():
                return self._scalar(event, path)
            case yaml.AliasEvent():
                self._broken(
                    event,
                    path,
                    f"the alias *{event.anchor} is not supported; write the value again, or put text in quotes",
                )
        return None

    def _refuse_ornaments(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, path: Path) -> None:
        if event.anchor:
            self._broken(
                event,
                path,
                f"the anchor &{event.anchor} is not supported; write values where they belong, or put text in quotes",
            )
        if event.tag:
            self._broken(event, path, f"the tag {event.tag} is not supported; quotes make text")

    def _mapping(self, events: Iterator[yaml.Event], path: Path) -> dict[str, object]:
        mapping: dict[str, object] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent) or event.anchor or event.tag:
                self._at = path
                self._fail(self._place(event.start_mark), "a key must be plain text")
            key_path = (*path, event.value)
            self._at = key_path
            if event.value in mapping or key_path in self._document.broken:
                self._duplicate(event, events, key_path)
                continue
            self._document.key_places[key_path] = self._place(event.start_mark)
            value = self._node(next(events), events, key_path)
            if key_path not in self._document.broken:
                mapping[event.value] = value
        return mapping

    def _sequence(self, events: Iterator[yaml.Event], path: Path) -> list[object]:
        sequence: list[object] = []
        for position, event in enumerate(events):
            if isinstance(event, yaml.SequenceEndEvent):
                break
            sequence.append(self._node(event, events, (*path, position)))
        return sequence

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> object:
        self._last = event
        if not event.implicit[0]:  # quoted or a block
            return event.value
        if not event.value:
            self._document.empty.add(path)
        try:
            return resolve_scalar(event.value)
        except ValueError as error:
            self._broken(event, path, str(error))
            return None

    def _duplicate(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> None:
        first = self._document.key_places.get(path, self._name)
        problem = f"the key is there twice, first at {first}; remove one"
        self._document.problems.append(ConfigProblem(self._place(event.start_mark), key_text(path), problem))
        depth = 0
        for skipped in events:  # its value, which belongs to no valid key
            depth += isinstance(skipped, yaml.CollectionStartEvent) - isinstance(skipped, yaml.CollectionEndEvent)
            if depth == 0:
                return

    def _broken(self, event: yaml.Event, path: Path, problem: str) -> None:
        self._document.broken.add(path)
        self._document.problems.append(ConfigProblem(self._place(event.start_mark), key_text(path), problem))

    def _place(self, mark: yaml.Mark | yaml._yaml.Mark | None) -> str:
        return f"{self._name}:{mark.line + 1}:{mark.column + 1}" if self._lines and mark else self._name

    def _fail(self, place: str, problem: str) -> NoReturn:
        raise ConfigError([*self._document.problems, ConfigProblem(place, key_text(self._at), problem)])
