"""Text of canisters, endpoints and clients, made safe for a terminal or a log.

A terminal acts on control characters: ESC moves the cursor and changes the title, BEL rings, CR overwrites the line,
and marks of direction (bidi) show text in another order than it has.
"""

import json
import unicodedata
from collections.abc import Callable

JOINERS = "\u200c\u200d"
"""Format characters that are part of words (Persian) and of emoji, and change nothing beside them."""


def printable(text: str) -> str:
    """The text with every character that a terminal acts on written out, but for ends of lines and tabs."""
    return text if text.isprintable() else text.translate(_Escapes("\n\t", _as_in_python))


def one_line(text: str) -> str:
    """The same in one line: no text can look like two."""
    return text if text.isprintable() else text.translate(_Escapes("", _as_in_python))


def printable_json(document: str) -> str:
    """A JSON document of the same meaning without these characters: JSON has an escape for each. ``document`` has none
    below a space in its strings.
    """
    return document if document.isprintable() else document.translate(_Escapes("\n\t\r", _as_in_json))


class _Escapes(dict[int, str]):
    """A table for ``str.translate`` that is made while it is used: a whole one would take a million look-ups."""

    def __init__(self, allowed: str, escape: Callable[[str], str]) -> None:
        self._allowed = allowed + JOINERS
        self._escape = escape

    def __missing__(self, code: int) -> str:
        character = chr(code)
        is_unsafe = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in self._allowed
        self[code] = shown = self._escape(character) if is_unsafe else character
        return shown


def _as_in_python(character: str) -> str:
    return repr(character)[1:-1]  # \x1b, \u202e


def _as_in_json(character: str) -> str:
    return json.dumps(character)[1:-1]
