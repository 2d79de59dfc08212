"""Writes what is made from the code: ``gateway.yaml``, ``docs/configuration.md`` and ``docs/close-codes.md``.

``python -m docs.generate`` from the top folder; the tests compare the files with what it would write.
"""

import inspect
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from appliance.config.describe import render_markdown, render_yaml
from appliance.errors import GatewayError, TooLarge

_INTRODUCTION = """\
# Close codes

Why the gateway closed a socket. The reason that comes with the code is a sentence with the facts of the case. Codes
from 4000 to 4499 mean "come back", codes from 4500 to 4999 "do not, the same thing will fail again". This page is made
from `appliance/errors.py` (`make docs`).

| code | come back | `reason` in logs | when |
| --- | --- | --- | --- |
| 1000, 1001 | as you like | | The client closed; the gateway answers with the same code. |
| 1002, 1007 | no | | What came is not the WebSocket protocol (RFC 6455). |
"""

_REGISTERED = {1003: "no", 1009: "no", 1011: "yes, later", 1012: "yes", 1013: "yes, later"}
_MEANINGS = {
    GatewayError: "The gateway itself failed; its log says why.",
    TooLarge: "A message exceeds the limit that the reason names.",
}


def render_close_codes() -> str:
    """The table of close codes, in order, one line for each error."""
    return _INTRODUCTION + "".join(f"{row}\n" for row in _rows())


def files() -> Mapping[Path, str]:
    """What is to be where."""
    top = Path(__file__).resolve().parent.parent
    return {
        top / "gateway.yaml": render_yaml(),
        top / "docs" / "configuration.md": render_markdown(),
        top / "docs" / "close-codes.md": render_close_codes(),
    }


def _rows() -> Iterator[str]:
    # the tree of errors.py alone: a client has errors of its own, which close nothing here
    errors_here = {error for error in _subclasses(GatewayError) if error.__module__ == GatewayError.__module__}
    closing = {error for error in errors_here if error.close_code != GatewayError.close_code} | {GatewayError}
    ordered = sorted(closing, key=lambda error: (error.close_code, error.reason, error.__name__))
    for (code, reason), errors in groupby(ordered, key=lambda error: (error.close_code, error.reason)):
        back = _REGISTERED.get(code) or ("yes" if code < 4500 else "no")
        meaning = " ".join(_MEANINGS.get(error) or _first_sentence(error) for error in errors)
        yield f"| {code} | {back} | `{reason}` | {meaning} |"


def _subclasses(error: type[GatewayError]) -> set[type[GatewayError]]:
    return {error}.union(*(_subclasses(inner) for inner in error.__subclasses__()))


def _first_sentence(error: type[GatewayError]) -> str:
    paragraph = (inspect.getdoc(error) or "").split("\n\n")[0]
    return " ".join(paragraph.split()).split(". ")[0].rstrip(".").replace("``", "`") + "."


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
