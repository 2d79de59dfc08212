"""Sessions: found, looked at, explained and closed."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from appliance.control.models.base import WHOLE, Answer, GenerationName, Request

SessionState = Literal["new", "hello", "opening", "open"]
"""Accepted; waiting for the client's opening message; waiting for the canister's answer to it; messages flow."""


class SessionFilter(Request):
    """Which sessions; all that is given must hold."""

    id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    canister: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Principal or name."""
    client: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """As the session shows it, or its beginning."""
    address: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """An IP address or a network such as ``10.0.0.0/8``, or ``unix``."""
    generation: GenerationName | None = None
    state: SessionState | None = None
    min_age_s: Annotated[float, Field(ge=0, le=1e9)] | None = None


class SessionQuery(BaseModel):
    """Which sessions to list; all that is given must hold."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    canister: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Principal or name."""
    client: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """As the session shows it, or its beginning."""
    address: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """An IP address, a network such as `10.0.0.0/8`, or `unix`."""
    generation: GenerationName | None = None
    """Wire generation."""
    state: SessionState | None = None
    """How far it is."""
    min_age_s: Annotated[float, Field(ge=0, le=1e9)] | None = None
    """Connected for so long at least."""
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    """How many."""
    after: Annotated[str, Field(max_length=128)] | None = None
    """`next` of the page before."""

    @property
    def filter(self) -> SessionFilter:
        """What is to hold."""
        return SessionFilter(**self.model_dump(exclude={"limit", "after"}))


class Session(Answer):
    """A connection of a client, now."""

    id: str
    address: str
    path: str
    generation: GenerationName
    state: SessionState
    canister: str | None
    """None before the client joined."""
    canister_name: str | None
    client: str | None
    connected_at: datetime
    opened_at: datetime | None
    age_s: float
    frames_in: int
    bytes_in: int
    delivered: int
    """Messages of the canister."""
    bytes_out: int
    waiting_bytes: int
    """For the client to read."""
    waiting_calls: int
    """For the IC to answer."""


class Sessions(Answer):
    """A page of them, the longest connected first."""

    items: list[Session]
    next: str | None
    """What to give as ``after`` for those that follow; None at the end."""


class Moment(Answer):
    """One thing that happened in a session."""

    at: datetime
    kind: str
    facts: dict[str, Any]
    sentence: str
    """What it means, for people."""


class Story(Answer):
    """What happened in a session, of a long one the beginning and the end. Payloads are never recorded."""

    session: str
    address: str | None
    path: str | None
    generation: GenerationName | None
    canister: str | None
    client: str | None
    closed: bool
    close_code: int | None
    """1006 where the connection was lost without a close."""
    dropped: int
    """Moments in between that are forgotten."""
    summary: list[str]
    """What it comes to, for people."""
    moments: list[Moment]


class CloseRequest(Request):
    """Which sessions to close, and what to tell them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"filter": {"address": "203.0.113.0/24"}, "code": 4510, "reason": "abuse", "dry_run": True}]
        }
    )

    filter: SessionFilter
    code: Annotated[int, Field(ge=4000, le=4999), WHOLE] = 4109
    """Close code: up to 4499 clients come back, from 4500 on they do not."""
    reason: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    """What the clients are told; 123 bytes at most."""
    dry_run: bool = False
    """Only count."""


class Closed(Answer):
    """What came of it."""

    matched: int
    closed: int
    """0 where it was only counted."""
