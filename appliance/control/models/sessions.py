"""Sessions: listed, shown, explained and closed."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from appliance.control.models.base import WHOLE, Answer, GenerationName, Request
from appliance.control.models.nodes import MissingNode

SessionState = Literal["new", "hello", "opening", "open"]
"""Accepted; waiting for the client's opening message; waiting for the canister's answer to it; messages flow."""


class _Conditions(BaseModel):
    """Conditions on sessions; all that are given must match."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    canister: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Principal or name."""
    client: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The client key of a session, or its beginning."""
    address: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """An IP address, a network such as `10.0.0.0/8`, or `unix`."""
    generation: GenerationName | None = None
    """Wire generation."""
    state: SessionState | None = None
    """State of the session."""
    min_age_s: Annotated[float, Field(ge=0, le=1e9)] | None = None
    """Minimum time since the connection."""


class SessionFilter(_Conditions, Request):
    """A filter of sessions; all given conditions must match."""

    id: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class SessionQuery(_Conditions):
    """A filter of sessions to list; all given conditions must match."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    """How many."""
    after: Annotated[str, Field(max_length=128)] | None = None
    """`next` of the page before."""

    @property
    def filter(self) -> SessionFilter:
        """The filter without the page."""
        return SessionFilter(**self.model_dump(exclude={"limit", "after"}))


class Session(Answer):
    """A connection of a client, now."""

    id: str
    node: str | None = None
    """The node of the cluster that has it; None where there is no cluster."""
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
    """Bytes that the client has not read yet."""
    waiting_calls: int
    """Calls that the IC has not answered yet."""


class Sessions(Answer):
    """A page of them, the longest connected first."""

    items: list[Session]
    next: str | None
    """The value of ``after`` for the next page; None at the end."""
    missing: list[MissingNode] = Field(default_factory=list)
    """Nodes whose sessions are not among them."""


class Moment(Answer):
    """One event of a session."""

    at: datetime
    kind: str
    facts: dict[str, Any]
    sentence: str
    """An explanation, for people."""


class Story(Answer):
    """The timeline of a session; of a long one the beginning and the end. Payloads are never recorded."""

    session: str
    node: str | None = None
    """The node that had it; None where there is no cluster."""
    address: str | None
    path: str | None
    generation: GenerationName | None
    canister: str | None
    canister_name: str | None
    client: str | None
    closed: bool
    close_code: int | None
    """1006 where the connection was lost without a close."""
    dropped: int
    """The number of entries in between that were dropped."""
    summary: list[str]
    """A summary, for people."""
    moments: list[Moment]


class Stories(Answer):
    """Timelines of sessions that have ended, the latest first."""

    items: list[Story]
    missing: list[MissingNode] = Field(default_factory=list)
    """Nodes whose sessions are not among them."""


class Refusal(Answer):
    """A connection that the gateway refused before it had a session."""

    session: str
    """Its id; the timeline may still be known."""
    node: str | None = None
    """The node that refused it; None where there is no cluster."""
    at: datetime
    address: str
    origin: str | None
    """The web origin of a browser, None for other programs."""
    path: str | None
    """None where no whole request came."""
    canister: str | None
    """None before the client named one."""
    canister_name: str | None
    status: int | None
    """The HTTP status of the answer; None for a WebSocket that was closed, and for a socket that got no answer."""
    code: int | None
    """The close code of a WebSocket."""
    reason: str
    """The label that it counts by in `icws_refused_connections_total` or `icws_errors_total`."""
    cause: str
    """A sentence, for people."""


class Refusals(Answer):
    """Refused connections, the newest first."""

    items: list[Refusal]
    missing: list[MissingNode] = Field(default_factory=list)
    """Nodes whose refusals are not among them."""


class CloseRequest(Request):
    """Which sessions to close, with which code and reason."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"filter": {"address": "203.0.113.0/24"}, "code": 4510, "reason": "abuse", "dry_run": True}]
        }
    )

    filter: SessionFilter
    code: Annotated[int, Field(ge=4000, le=4999), WHOLE] = 4109
    """Close code: up to 4499 clients reconnect, from 4500 on they do not."""
    reason: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    """Sent to the clients; 123 bytes at most."""
    dry_run: bool = False
    """Only count."""


class ClosedAt(Answer):
    """The result at one node."""

    node: str
    matched: int
    closed: int


class Closed(Answer):
    """The result of closing sessions."""

    matched: int
    closed: int
    """0 for a dry run."""
    nodes: list[ClosedAt] = Field(default_factory=list)
    """The same by node, where several were asked."""
    missing: list[MissingNode] = Field(default_factory=list)
    """Nodes that did not say what they did."""
