"""Sentences for errors of YAML's syntax, in the words of an operator: what is wrong on the line, and what to write."""

import re
from typing import TypeAlias

import yaml

Mark: TypeAlias = "yaml.Mark | yaml._yaml.Mark"
Place: TypeAlias = "yaml.Mark | yaml._yaml.Mark | None"

_INDENT = re.compile(r"\s*")
_LEAD = re.compile(r"\s*(?:- +)*(?:[A-Za-z_][\w.-]*:(?: +|$))?")
"""What stands before a value on its line: indentation, dashes and a key."""
_IPV6 = re.compile(r"\[[0-9A-Fa-f:.%]*\](?::\d+)?")
_TOKEN = re.compile(r"[^\s,\]}#]*")
_MISINDENTED = "this line is indented differently from the others of its section; align them with spaces"
_SENTENCES = {
    "unknown escape": "a backslash has a meaning of its own within double quotes; use single quotes, or write it twice",
    "expected key": _MISINDENTED,
    "could not find expected ':'": "a key needs a colon and a space behind it: key: value",
}
"""By what the parser says."""
_SPECIAL = "*&!@`%"
"""Characters with a meaning of their own at the beginning of a value."""


def place_and_sentence(error: yaml.MarkedYAMLError, text: str) -> tuple[Place, str]:
    """Where the mistake is, and a sentence about it."""
    mark: Place = error.problem_mark or error.context_mark
    problem = error.problem or ""
    if "unexpected end of stream" in problem and "quoted" in (error.context or ""):
        return error.context_mark, "a quotation mark is opened here and never closed"
    if mark is None:
        return None, _in_parser_words(error)
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    return mark, _sentence(error, line, mark) or _in_parser_words(error)


def _sentence(error: yaml.MarkedYAMLError, line: str, mark: Mark) -> str | None:
    problem, at = error.problem or "", line[mark.column : mark.column + 1]
    indent = _INDENT.match(line)
    if at == "\t" or (indent is not None and "\t" in indent[0]):
        return "a tab stands here; YAML is indented with spaces only, replace it"
    if (value := _unquoted(line, mark)) is not None:
        return f'{value[0]} has a meaning of its own in YAML; put the value in quotes: "{value}"'
    if "mapping values are not allowed" in problem:
        return _second_colon(line, mark)
    if "expected ',' or" in problem and error.context_mark is not None:
        opened = f"{error.context_mark.line + 1}:{error.context_mark.column + 1}"
        return f"a comma or {problem[-2]} is missing before this; what it belongs to is opened at {opened}"
    if "expected key" in problem and at in ("]", "}"):
        return f"this {at} closes nothing"
    return next((sentence for part, sentence in _SENTENCES.items() if part in problem), None)


def _unquoted(line: str, mark: Mark) -> str | None:
    """The value at the mark, if it begins with a character that only quotes make plain."""
    lead = _LEAD.match(line)
    start = lead.end() if lead is not None else 0
    if (address := _IPV6.match(line, start)) is not None and mark.column <= address.end():
        return address[0]
    for column in (mark.column, mark.column - 1):  # of `*` and `&` the parser marks what follows
        if 0 <= column < len(line) and line[column] in _SPECIAL:
            token = _TOKEN.match(line, column)
            return token[0] if token is not None else None
    return None


def _second_colon(line: str, mark: Mark) -> str:
    lead = _LEAD.match(line)
    if lead is not None and lead[0].rstrip().endswith(":") and lead.end() < mark.column:
        value = line[lead.end() :].split(" #", maxsplit=1)[0].rstrip()
        return f'a colon with a space behind it makes a key; put the value in quotes: "{value}"'
    return _MISINDENTED


def _in_parser_words(error: yaml.MarkedYAMLError) -> str:
    parts = [part for part in (error.context, error.problem) if part]
    return "the syntax is wrong here: " + ", ".join(parts)
