"""What all models share."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Role = Literal["viewer", "operator", "admin"]
"""The rights of a token: read; act on sessions and canisters; change the configuration and the tokens. Each role has
the rights of those before it."""
GenerationName = Literal["v0", "v1", "v2"]
"""A wire generation."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


def _whole(value: object) -> object:
    """Accept 7.0 as an integer: JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""For integers; to be put after their bounds."""


class Answer(BaseModel):
    """A response of the API."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Request(BaseModel):
    """A request body of the API: unknown keys are errors, and so are numbers written as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Fault(Answer):
    """One problem of a request."""

    place: str
    """Where: file, line and column of a configuration, else ``body``, ``query``, ``path`` or ``header``."""
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
