"""The gateway as a whole."""

from datetime import datetime
from typing import Literal

from appliance.control.models.base import Answer, Role


class Reload(Answer):
    """What came of one attempt to run another configuration."""

    at: datetime
    result: Literal["started", "applied", "unchanged", "rejected", "confirmed", "rolled back"]
    trigger: str
    """``start``, ``signal``, ``watch``, ``api`` …"""
    actor: str
    generation: int
    """The one that runs since."""
    changes: int
    """Keys that changed."""
    confirm_by: datetime | None = None
    """When it is rolled back unless it is confirmed."""
    problem: str | None = None
    """Why it was rejected."""


class Status(Answer):
    """The gateway at a glance."""

    version: str
    started_at: datetime
    uptime_s: float
    generation: int
    """Of the configuration; it grows with each apply."""
    config_hash: str
    config_file: str | None
    differs_from_file: bool
    """Whether the file on disk has another content than what runs."""
    confirm_by: datetime | None
    """When the configuration is rolled back unless it is confirmed."""
    draining: bool
    stopping: bool
    sessions: int
    """Those that are open."""
    connections: int
    """Sockets of clients."""
    departing: int
    """Clients that are gone and whose canister is not told yet."""
    canisters: int
    """Those that are listed."""
    gateway_principal: str
    url: str
    urls: list[str]
    """Where clients connect."""
    last_reload: Reload


class WhoAmI(Answer):
    """Who asks, as the API sees it."""

    name: str
    """``unix:USER`` or ``token:NAME``."""
    role: Role


class Identity(Answer):
    """Who the gateway is to canisters."""

    principal: str
    key_file: str


class Hop(Answer):
    """How long one part of a message's way takes."""

    name: str
    count: int
    sum_s: float
    p50_s: float | None
    p90_s: float | None
    p99_s: float | None
    """None where nothing was measured."""


class Stats(Answer):
    """Counters since the start, for charts; `/metrics` has all of it for Prometheus."""

    at: datetime
    counters: dict[str, int]
    """Only grow."""
    by: dict[str, dict[str, int]]
    """Counters that are split: ``closed`` by close code, ``refused`` and others by reason."""
    hops: list[Hop]
    loop_lag_s: float
    """How late the event loop was at the last look."""


class HopSum(Answer):
    """How often one part of a message's way was measured, and how long it took in all."""

    name: str
    count: int
    sum_s: float


class Sample(Answer):
    """What the counters said at one moment."""

    at: datetime
    sessions: int
    """Those that were open."""
    connections: int
    """Sockets of clients."""
    counters: dict[str, int]
    totals: dict[str, int]
    """Of the counters that are split in `Stats.by`."""
    hops: list[HopSum]


class Samples(Answer):
    """The last minutes, for charts that begin before they are looked at."""

    every_s: float
    items: list[Sample]
    """The oldest first."""


class CheckResult(Answer):
    """One named check of readiness."""

    name: str
    ok: bool
    detail: str


class Health(Answer):
    """Whether it is well; the checks only where they are asked for."""

    status: Literal["ok", "failing"]
    checks: list[CheckResult] | None = None
