"""What all models share."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from appliance.described import Described

Role = Literal["viewer", "operator", "admin"]
"""The rights of a token: read; act on sessions and canisters; change the configuration and the tokens. Each role has
the rights of those before it."""
GenerationName = Literal["v0", "v1", "v2"]
"""A wire generation."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
PRINCIPAL = r"^[a-z0-9]{1,5}(-[a-z0-9]{1,5}){0,12}$"
Name = Annotated[str, Field(pattern=NAME)]
_PATTERN_WORDS = {
    NAME: "write letters, digits, '.', '_' and '-', at most 63, and a letter or digit first",
    PRINCIPAL: "write a principal, e.g. bkyz2-fmaaa-aaaaa-qaaaq-cai",
}


def _whole(value: object) -> object:
    """Accept 7.0 as an integer: JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""For integers; to be put after their bounds."""


def problem_of(error: Mapping[str, Any]) -> str:
    """What is wrong, from one of the ``errors()`` of a ValidationError: in words where it names a pattern."""
    message: str = _PATTERN_WORDS.get(error.get("ctx", {}).get("pattern"), error["msg"])
    return message[:1].lower() + message[1:]


class Answer(Described):
    """A response of the API."""

    model_config = ConfigDict(frozen=True)


class Request(Described):
    """A request body of the API: unknown keys are errors, and so are numbers written as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Fault(Answer):
    """One problem of a request."""

    place: str
    """Where: file, line and column of a configuration, else ``body``, ``query``, ``path``, ``header`` or
    ``configuration``."""
    key: str
    """The key, for example ``polling.min_interval``; empty if it concerns the whole request."""
    problem: str


class ProblemDetails(Answer):
    """Problem details (RFC 9457)."""

    type: str
    """``urn:icws:problem:…``: the kind of problem, stable over versions."""
    title: str
    status: int
    detail: str
    """A sentence about this case."""
    instance: str | None = None
    """The path of the request."""
    errors: list[Fault] | None = None
