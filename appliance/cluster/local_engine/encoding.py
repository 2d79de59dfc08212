"""Values on the way between a worker and its engine: JSON of plain values, read by the types of the methods.

The types are those that ``engine.Engine`` declares, so that a method is described once. Values are str, int, float,
bool, None, bytes, sequences of one type, tuples, named tuples, data classes, and unions of these. A data class in a
union is known by its place there.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, cast, get_args, get_origin, get_type_hints

from appliance.cluster.engine import Engine
from appliance.cluster.registry.engine import Registry
from appliance.errors import Malformed

METHODS = (
    *("beat", "leave", "nodes", "claim", "hold", "release", "released", "ring", "tell", "lease", "put", "entries"),
    "spend",
    *("registry.write", "registry.suspects", "registry.attest", "registry.give_up", "registry.clients"),
    "registry.drop",
    *("registry.tell", "registry.told", "registry.returned", "registry.holds"),
)
"""Of ``engine.Engine`` and its ``Registry`` that the supervisor's engine has: each is a method of ``board.Board`` or
of its registry."""

Write = Callable[[Any], Any]
Read = Callable[[Any], Any]


class Method(NamedTuple):
    """How a method travels. ``positional`` is the number of its arguments that have no name."""

    positional: int
    names: tuple[str, ...]
    arguments: tuple[tuple[Write, Read], ...]
    answer: tuple[Write, Read]

    def write(self, given: Sequence[Any]) -> list[Any]:
        """The arguments, in the order of the method, as plain values."""
        return [write(value) for (write, _), value in zip(self.arguments, given, strict=True)]

    def read(self, plain: object) -> tuple[list[Any], dict[str, Any]]:
        """Arguments, and those with names. Raises Malformed."""
        if not isinstance(plain, list) or len(plain) != len(self.arguments):
            raise Malformed("frame of the engine", f"it has other than {len(self.arguments)} arguments")
        found = [read_as(reads, value) for (_, reads), value in zip(self.arguments, plain, strict=True)]
        return found[: self.positional], dict(zip(self.names[self.positional :], found[self.positional :], strict=True))


@cache
def methods() -> dict[str, Method]:
    """The methods by name."""
    found = {}
    for name in METHODS:
        _, _, of_registry = name.partition(".")
        found[name] = _method(getattr(Registry, of_registry) if of_registry else getattr(Engine, name))
    return found


def read_as(read: Read, plain: Any) -> Any:
    """A value of the other end. Raises Malformed for one of another type, and what a value itself refuses."""
    try:
        return read(plain)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise Malformed("frame of the engine", str(error) or type(error).__name__) from None


def _method(declared: Callable[..., Any]) -> Method:
    hints = get_type_hints(declared)
    answer = hints.pop("return")
    given = [each for each in inspect.signature(declared).parameters.values() if each.name != "self"]
    positional = sum(each.kind is not inspect.Parameter.KEYWORD_ONLY for each in given)
    return Method(
        positional,
        tuple(each.name for each in given),
        tuple(_codec(hints[each.name]) for each in given),
        _codec(answer),
    )


def _codec(kind: Any) -> tuple[Write, Read]:
    """How a value of this type is written, and read."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _same, _one_of(inner)
    if origin in (Union, UnionType):
        return _union(inner)
    if origin in (list, Sequence) or (origin is tuple and inner[1:] == (...,)):
        write, read = _codec(inner[0])
        return (lambda many: [write(each) for each in many]), (lambda many: [read(each) for each in _list(many)])
    if origin in (Mapping, dict):
        return _mapping(inner)
    if isinstance(kind, type):
        return _class(kind)
    raise TypeError(f"{kind!r} does not travel to the engine")


def _mapping(inner: tuple[Any, ...]) -> tuple[Write, Read]:
    (write_key, read_key), (write, read) = map(_codec, inner)

    def write_all(many: Any) -> list[Any]:
        return [[write_key(key), write(value)] for key, value in many.items()]

    def read_all(plain: Any) -> Any:
        return {read_key(key): read(value) for key, value in map(_list, _list(plain))}

    return write_all, read_all


def _class(kind: type) -> tuple[Write, Read]:
    if issubclass(kind, bytes):
        return (lambda value: value.hex()), (lambda text: kind(bytes.fromhex(text)))
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _record(kind, kind._fields)
    if is_dataclass(kind):
        return _record(kind, tuple(each.name for each in fields(kind)))
    if kind in (str, int, float, bool, NoneType):
        return _same, _exactly(kind)
    raise TypeError(f"{kind!r} does not travel to the engine")


def _record(kind: type, names: tuple[str, ...]) -> tuple[Write, Read]:
    hints = get_type_hints(kind)
    codecs = [(name, *_codec(hints[name])) for name in names]

    def write(value: Any) -> list[Any]:
        return [write(getattr(value, name)) for name, write, _ in codecs]

    def read(plain: Any) -> Any:
        return kind(*[read(each) for (_, _, read), each in zip(codecs, _list(plain), strict=True)])

    return write, read


def _union(kinds: tuple[Any, ...]) -> tuple[Write, Read]:
    codecs = [(get_origin(kind) or kind, *_codec(kind)) for kind in kinds]

    def write(value: Any) -> list[Any]:
        number = next(number for number, (kind, _, _) in enumerate(codecs) if isinstance(value, cast("type", kind)))
        return [number, codecs[number][1](value)]

    def read(plain: Any) -> Any:
        number, inner = _list(plain)
        return codecs[number][2](inner)

    return write, read


def _same(value: Any) -> Any:
    return value


def _one_of(words: tuple[Any, ...]) -> Read:
    def read(plain: Any) -> Any:
        if plain not in words:
            raise ValueError(f"{plain!r:.40} is none of {words}")
        return plain

    return read


def _exactly(kind: Any) -> Read:
    def read(plain: Any) -> Any:
        if kind is float and type(plain) is int:
            return float(plain)
        if type(plain) is not kind:
            raise ValueError(f"{plain!r:.40} is no {kind.__name__}")
        return plain

    return read


def _list(plain: Any) -> list[Any]:
    if type(plain) is not list:
        raise ValueError(f"{plain!r:.40} is no list")
    return plain
