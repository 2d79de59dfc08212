"""Running the gateway: drain, limits, plugins, log, tokens, events and the audit log."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from appliance.control.models.base import Answer, Name, Request, Role

LogLevel = Literal["debug", "info", "warning", "error"]
EventKind = Literal["session.opened", "session.closed", "reload", "drain", "canister.state", "limit", "audit", "lost"]


class DrainRequest(Request):
    """How to let clients go; what is absent is as the configuration has it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"rate": 50, "deadline_s": 300, "reconnect_after_s": 10}]}
    )

    rate: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Closes a second."""
    grace_s: Annotated[float, Field(ge=0, le=3600)] | None = None
    """Before the first close, for balancers to see that this gateway is not ready."""
    deadline_s: Annotated[float, Field(ge=0, le=86_400)] | None = None
    """For all of it: the rate is raised where it would take longer."""
    canister: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Only its clients; principal or name. The gateway stays ready then."""
    reconnect_after_s: Annotated[float, Field(ge=0, le=86_400)] | None = None
    """What clients are told."""


class DrainProgress(Answer):
    """How far a drain is."""

    state: Literal["none", "waiting", "closing", "done", "cancelled"]
    """``waiting`` is the grace."""
    canister: str | None = None
    """Whose clients, None for all."""
    total: int = 0
    closed: int = 0
    left: int = 0
    started_at: datetime | None = None
    eta_s: float | None = None
    rate: float | None = None
    deadline_s: float | None = None


class Drain(DrainProgress):
    """The drain that was asked about, and those of canisters that are on."""

    canisters: Annotated[list[DrainProgress], Field(default_factory=list)]


class LimitedKey(Answer):
    """Somebody who is being limited."""

    key: str
    """An address, or a client."""
    retry_after_s: float
    times: int
    """How often it was told so."""


class Limit(Answer):
    """One rate limit."""

    scope: str
    """``connections_per_ip`` or ``messages_per_client``."""
    canister: str | None
    """Whose limit of its own this is."""
    mode: Literal["off", "shadow", "enforce"]
    rate: float
    """A second."""
    burst: int
    keys: int
    """How many are remembered."""
    allowed: int
    limited: int
    """How often somebody was turned away, since the start."""
    shadowed: int
    """How often somebody would have been."""
    waiting: list[LimitedKey]
    """Who has to wait at the moment, the longest first."""


class Limits(Answer):
    """All rate limits."""

    items: list[Limit]


class Plugin(Answer):
    """A plugin that is loaded."""

    name: str
    source: str
    state: str
    hooks: list[str]
    calls: int
    failures: int
    slow: int
    """Calls that took longer than they may."""
    last_error: str | None = None


class Plugins(Answer):
    """All that are loaded, in the order of the configuration."""

    items: list[Plugin]


class Log(Request):
    """What is written to the log."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"level": "debug"}]})

    level: LogLevel
    """Until the next change of the configuration's ``log`` section or a restart."""


class Token(Answer):
    """Who may use the API over TCP; the token itself is known to its holder only."""

    name: str
    role: Role


class Tokens(Answer):
    """All of them."""

    items: list[Token]


class AddTokenRequest(Request):
    """A token to make."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "grafana", "role": "viewer"}]})

    name: Name
    role: Role


class NewToken(Token):
    """The only time that it is shown."""

    token: str


class AuditEntry(Answer):
    """One attempt to change something."""

    at: datetime
    actor: str
    """``unix:USER`` or ``token:NAME``."""
    role: Role
    address: str
    action: str
    """The operation, as the API names it."""
    target: str | None
    status: int
    """HTTP status it was answered with."""
    problem: str | None
    before: Any = None
    after: Any = None


class Audit(Answer):
    """The newest first."""

    items: list[AuditEntry]


class Event(Answer):
    """What the stream of events carries as ``data``."""

    id: int
    at: datetime
    kind: EventKind
    data: dict[str, Any]
