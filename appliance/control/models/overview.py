"""The gateway as a whole."""

from datetime import datetime
from typing import Literal

from appliance.control.models.base import Answer, Role


class Reload(Answer):
    """The outcome of one reload."""

    at: datetime
    result: Literal["started", "applied", "unchanged", "rejected", "confirmed", "rolled back"]
    trigger: str
    """``start``, ``signal``, ``watch``, ``api`` …"""
    actor: str
    generation: int
    """The revision that runs since."""
    changes: int
    """Keys that changed."""
    confirm_by: datetime | None = None
    """Deadline of the trial: it is rolled back then unless confirmed."""
    problem: str | None = None
    """Why it was rejected."""


class Status(Answer):
    """The gateway at a glance."""

    version: str
    started_at: datetime
    uptime_s: float
    generation: int
    """The revision of the configuration; it grows with each change."""
    config_hash: str
    config_file: str | None
    differs_from_file: bool
    """Whether the file differs from the configuration that runs."""
    confirm_by: datetime | None
    """Deadline of the trial: the configuration is rolled back then unless confirmed."""
    draining: bool
    stopping: bool
    sessions: int
    """Those that are open."""
    connections: int
    """Sockets of clients."""
    departing: int
    """Clients that left and whose `ws_close` call is not done yet."""
    calls_under_way: int
    """Calls to the IC."""
    calls_waiting: int
    """Calls that wait for room among those under way."""
    calls_limit: int
    """The most that may be under way (`relay.calls`)."""
    canisters: int
    """Those that are listed."""
    cluster: str | None = None
    """Name of the cluster that this gateway is configured for."""
    node: str | None = None
    """Its name there."""
    engine: Literal["joined", "away", "refused"] | None = None
    """The contact with the engine of the cluster; while it is not ``joined``, the gateway goes on alone."""
    gateway_principal: str
    url: str
    urls: list[str]
    """Where clients connect."""
    last_reload: Reload
    problems: list[str]
    """What is wrong and does not keep the gateway from serving clients."""


class WhoAmI(Answer):
    """The sender of the request."""

    name: str
    """``unix:USER`` or ``token:NAME``."""
    role: Role


class Identity(Answer):
    """The principal of the gateway."""

    principal: str
    key_file: str


class Hop(Answer):
    """Latency of one hop of a message."""

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
    """How late the event loop was at the last measurement."""


class HopSum(Answer):
    """Number and total time of the measurements of one hop."""

    name: str
    count: int
    sum_s: float


class Sample(Answer):
    """The counters at one time."""

    at: datetime
    sessions: int
    """Those that were open."""
    connections: int
    """Sockets of clients; of one canister, the clients that joined it."""
    counters: dict[str, int]
    totals: dict[str, int]
    """Of the counters that are split in `Stats.by`."""
    hops: list[HopSum]


Span = Literal["10m", "1h", "6h", "24h"]
"""How far back samples reach. The longer, the further they are apart."""


class Samples(Answer):
    """Samples of the last minutes or hours, for charts."""

    every_s: float
    """Seconds between two of them."""
    items: list[Sample]
    """The oldest first. Of a canister that is not charted none: see `metrics.canisters`."""
    now: Sample
    """One that is not kept."""


class CheckResult(Answer):
    """One named check of readiness."""

    name: str
    ok: bool
    detail: str


class Health(Answer):
    """Health; the checks are listed only on request."""

    status: Literal["ok", "failing"]
    checks: list[CheckResult] | None = None
