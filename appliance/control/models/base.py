"""What all models share."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Role = Literal["viewer", "operator", "admin"]
"""What a token may do: look, act on sessions and canisters, change the configuration and the tokens. Each may do what
those before it may."""
GenerationName = Literal["v0", "v1", "v2"]
"""A wire generation."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


def _whole(value: object) -> object:
    """JSON knows one kind of number, and 7.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""For numbers without a fraction; behind their bounds."""


class Answer(BaseModel):
    """What the API says."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Request(BaseModel):
    """What the API takes: an unknown key is an error, and so is a number that is written as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Fault(Answer):
    """One thing that is wrong with what was sent."""

    place: str
    """Where: file, line and column of a configuration, else ``body``, ``query``, ``path`` or ``header``."""
    key: str
    """What, for example ``polling.min_interval``; empty for all of it."""
    problem: str


class ProblemDetails(Answer):
    """What went wrong (RFC 9457)."""

    type: str
    """``urn:icws:problem:…``: stands for the kind of problem and stays the same over versions."""
    title: str
    status: int
    detail: str
    """A sentence about this case."""
    instance: str | None = None
    """The path that was asked for."""
    errors: list[Fault] | None = None
