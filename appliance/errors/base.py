"""The root of the tree, and the two errors that belong to no layer."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, dataclass_transform

__all__ = ["GatewayError", "Malformed", "TooLarge", "error_classes"]


@dataclass_transform(eq_default=False, field_specifiers=(field,))
class GatewayError(Exception):
    """Root of the tree. A subclass lists its facts as fields and has a ``sentence`` that shows them.

    Every subclass becomes a dataclass, compared by identity. ``sentence`` is a format string: it may name fields and
    properties, and ``{limit_s}`` shows a field ``limit_ns`` in seconds. A subclass without a sentence, close code or
    reason of its own has that of its parent.
    """

    close_code: ClassVar[int] = 1011
    reason: ClassVar[str] = "internal"
    sentence: ClassVar[str] = "the gateway failed"

    def __init_subclass__(cls, *, close_code: int | None = None, reason: str | None = None, **options: Any) -> None:
        """``close_code`` and ``reason`` replace those of the parent."""
        super().__init_subclass__(**options)
        cls.close_code = cls.close_code if close_code is None else close_code
        cls.reason = reason or cls.reason
        dataclass(eq=False)(cls)  # by identity, because an exception in a set or a traceback must stay itself

    def __str__(self) -> str:
        return self.sentence.format_map(_Facts(self))

    @property
    def close_reason(self) -> str:
        """The sentence for a close frame, of which only the first 123 bytes are sent."""
        return str(self)


class _Facts:
    """The facts of an error by the names that its sentence uses."""

    def __init__(self, error: GatewayError) -> None:
        self._error = error

    def __getitem__(self, name: str) -> Any:
        if name.endswith("_s") and hasattr(self._error, nanoseconds := f"{name[:-2]}_ns"):
            return getattr(self._error, nanoseconds) / 1e9
        return getattr(self._error, name)


def error_classes(root: type[GatewayError] = GatewayError) -> set[type[GatewayError]]:
    """Every class of this package. Those elsewhere (client, command line) close no socket of a gateway."""
    inner = (each for each in root.__subclasses__() if each.__module__.startswith("appliance.errors."))
    return {root}.union(*(error_classes(each) for each in inner))


class Malformed(GatewayError, close_code=4500, reason="malformed"):
    """Bytes that do not decode as ``what`` they should be."""

    what: str
    problem: str
    sentence = "malformed {what}: {problem}"


class TooLarge(GatewayError, close_code=1009, reason="too_large"):
    """Something exceeds its budget; ``size`` and ``limit`` are in ``unit``."""

    what: str
    size: int
    limit: int
    unit: str = "bytes"
    sentence = "{what} has {size} {unit}, the limit is {limit}"
