"""Running the gateway: drain, limits, plugins, log, tokens, events and the audit log."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from appliance.control.models.base import Answer, Name, Request, Role

LogLevel = Literal["debug", "info", "warning", "error"]
EventKind = Literal[
    "session.opened",
    "session.closed",
    "connection.refused",
    "reload",
    "drain",
    "canister.state",
    "limit",
    "node.given_up",
    "audit",
    "lost",
]


class DrainRequest(Request):
    """How to drain; absent fields use the values of the configuration."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"rate": 50, "deadline_s": 300, "reconnect_after_s": 10}]}
    )

    rate: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Closes per second."""
    grace_s: Annotated[float, Field(ge=0, le=3600)] | None = None
    """Time before the first close, for load balancers to notice that this gateway is not ready."""
    deadline_s: Annotated[float, Field(ge=0, le=86_400)] | None = None
    """Total time; the rate is increased if needed."""
    canister: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Drain only the clients of this canister (principal or name); the gateway stays ready."""
    reconnect_after_s: Annotated[float, Field(ge=0, le=86_400)] | None = None
    """The delay before reconnecting that is sent to clients."""


class DrainProgress(Answer):
    """Progress of a drain."""

    state: Literal["none", "waiting", "closing", "done", "cancelled"]
    """``waiting``: before the first close."""
    canister: str | None = None
    """The canister whose clients are drained, None for all clients."""
    canister_name: str | None = None
    total: int = 0
    closed: int = 0
    left: int = 0
    started_at: datetime | None = None
    eta_s: float | None = None
    rate: float | None = None
    deadline_s: float | None = None


class Drain(DrainProgress):
    """The requested drain, and the running drains of canisters."""

    canisters: Annotated[list[DrainProgress], Field(default_factory=list)]


class LimitedKey(Answer):
    """An address or client that is limited now."""

    key: str
    """The address or client."""
    retry_after_s: float
    times: int
    """How often it was refused."""


class Limit(Answer):
    """One rate limit."""

    scope: str
    """Its key in ``rate_limits`` of the configuration, such as ``messages_per_client``."""
    canister: str | None
    """The canister with this limit of its own, None for the general one."""
    canister_name: str | None
    counted_by: Literal["node", "cluster"]
    """Who counts it: each node for itself, or all nodes of the cluster together."""
    mode: Literal["off", "shadow", "enforce"]
    rate: float
    """Per second."""
    burst: int
    keys: int
    """How many addresses or clients are tracked."""
    allowed: int
    limited: int
    """Refusals since the start."""
    shadowed: int
    """Refusals that mode ``shadow`` only counted."""
    waiting: list[LimitedKey]
    """Keys that are limited now, the longest delay first."""


class Limits(Answer):
    """All rate limits."""

    items: list[Limit]
    problem: str | None
    """Why this node counts alone now what all nodes shall count together; None where it does not."""


class Plugin(Answer):
    """A loaded plugin."""

    name: str
    source: str
    state: str
    hooks: list[str]
    calls: int
    failures: int
    slow: int
    """Calls that exceeded the time-out."""
    last_error: str | None = None


class Plugins(Answer):
    """All loaded plugins, in the order of the configuration."""

    items: list[Plugin]


class Log(Request):
    """The log level."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"level": "debug"}]})

    level: LogLevel
    """Until the next change of the configuration's ``log`` section or a restart."""


class Token(Answer):
    """A token for the API over TCP; only its holder knows the token itself."""

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
    """A new token; this is the only time that it is shown."""

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
    """HTTP status of the response."""
    problem: str | None
    before: Any = None
    after: Any = None


class Audit(Answer):
    """The newest first."""

    items: list[AuditEntry]


class Event(Answer):
    """The ``data`` of an event in the stream."""

    id: int
    at: datetime
    kind: EventKind
    data: dict[str, Any]
