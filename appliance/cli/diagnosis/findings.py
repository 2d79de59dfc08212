"""The results of checks."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from appliance.cli.output.terminal import styled, wrapped

Level = Literal["ok", "note", "warning", "fault"]

_MARKS = {"ok": ("✓", "green"), "note": ("·", "cyan"), "warning": ("!", "yellow"), "fault": ("✗", "red")}
_MARGIN = 4
_SUBJECT = 14


@dataclass(frozen=True)
class Finding:
    """The result of one check, with advice if something can be done."""

    level: Level
    subject: str
    text: str
    advice: str = ""

    def as_json(self) -> dict[str, Any]:
        """The finding as JSON."""
        return asdict(self)

    def lines(self, max_width: int | None) -> Iterator[str]:
        """The finding as lines for people."""
        mark, colour = _MARKS[self.level]
        width = None if max_width is None else max_width - _MARGIN - _SUBJECT - 2
        first, *rest = wrapped(self.text, width)
        yield f"  {styled(mark, fg=colour, bold=True)} {self.subject:<{_SUBJECT}}  {first}".rstrip()
        indent = " " * (_MARGIN + _SUBJECT + 2)
        yield from (f"{indent}{line}" for line in rest)
        if self.advice:
            first, *rest = wrapped(self.advice, None if width is None else width - 2)
            yield f"{indent}{styled('→', bold=True)} {first}"
            yield from (f"{indent}  {line}" for line in rest)


def ok(subject: str, text: str) -> Finding:
    """Everything is in order."""
    return Finding("ok", subject, text)


def note(subject: str, text: str, advice: str = "") -> Finding:
    """Nothing is wrong, but worth knowing."""
    return Finding("note", subject, text, advice)


def warning(subject: str, text: str, advice: str) -> Finding:
    """It works or may work, but should be changed."""
    return Finding("warning", subject, text, advice)


def fault(subject: str, text: str, advice: str) -> Finding:
    """It does not work."""
    return Finding("fault", subject, text, advice)
