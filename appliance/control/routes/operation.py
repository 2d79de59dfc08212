"""Running the gateway: drain, limits, plugins, log, metrics and the audit log."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from appliance.control.control import Control
from appliance.control.http.problems import Conflict, Invalid, NotFound
from appliance.control.models import (
    Audit,
    Drain,
    DrainRequest,
    Limit,
    LimitedKey,
    Limits,
    Log,
    Plugins,
)
from appliance.control.observe.metrics_server import METRICS_TYPE
from appliance.control.routes.depends import Noted, Plane
from appliance.control.routes.routing import Operations
from appliance.control.routes.selection import listed_canister
from appliance.errors import GatewayStopping
from appliance.gateway.drain import Pacing
from appliance.gateway.limits.rate_limits import Report

router = Operations("operation")

OfCanister = Annotated[str | None, Query(min_length=1, max_length=63, description="Principal or name; of all without.")]
_METRICS = {
    200: {
        "description": "Every metric of the catalogue",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": "icws_sessions 12\n"}},
    }
}


@router.view("/v1/drain", "getDrain", NotFound, Invalid, nodes="one")
async def drain_progress(control: Plane, canister: OfCanister = None) -> Drain:
    """Progress of the drain of all clients, or of one canister's; where none runs, how the last one ended."""
    return _drain(control, canister)


@router.change("POST", "/v1/drain", "startDrain", NotFound, Conflict, nodes="one")
async def start_drain(control: Plane, note: Noted, body: DrainRequest) -> Drain:
    """Close sessions at a steady rate. Without a canister the gateway becomes not ready and accepts no clients until
    the drain is cancelled. With a canister only its sessions are closed; pause it to keep new clients away.
    """
    gateway, policy = control.gateway, control.gateway.config.drain
    if gateway.stopping or gateway.winding_down:
        raise Conflict("the gateway is stopping")
    note.target, note.before = body.canister, _drain(control, body.canister).state
    pacing = Pacing(
        policy.rate if body.rate is None else body.rate,
        policy.grace if body.grace_s is None else body.grace_s,
        policy.deadline if body.deadline_s is None else body.deadline_s,
    )
    if body.canister is None:
        gateway.start_drain(pacing, retry_after_s=body.reconnect_after_s)
    else:
        canister_id = listed_canister(body.canister, gateway.config).id
        gateway.drain_canister(canister_id, lambda: GatewayStopping(body.reconnect_after_s), pacing)
    note.after = body.model_dump(exclude_none=True)
    control.drains.publish_changes()
    return _drain(control, body.canister)


@router.change("DELETE", "/v1/drain", "cancelDrain", NotFound, Conflict, nodes="one")
async def cancel_drain(control: Plane, note: Noted, canister: OfCanister = None) -> Drain:
    """Stop closing sessions and accept clients again. Sessions that were closed stay closed."""
    gateway = control.gateway
    note.target, note.before = canister, _drain(control, canister).model_dump(exclude_none=True)
    if gateway.stopping or gateway.winding_down:
        raise Conflict("the gateway is stopping")
    of = None if canister is None else listed_canister(canister, gateway.config).id
    drain = gateway.drain if of is None else gateway.canister_drains.get(of)
    if drain is None:
        raise Conflict("no drain is running")
    drain.cancel()
    cancelled = control.drains.progress(of)
    control.drains.publish_changes()
    if of is None:
        gateway.cancel_drain()
    else:
        del gateway.canister_drains[of]
    note.after = "cancelled"
    return Drain(**cancelled.model_dump(), canisters=control.drains.of_canisters())


@router.view("/v1/limits", "getLimits")
async def limits(control: Plane) -> Limits:
    """Every rate limit, and the clients limited by it now."""
    names = control.gateway.config.canister_names
    limits = control.gateway.limits
    items = [_limit(report, names) for report in limits.reports()]
    is_shared = any(item.counted_by == "cluster" for item in items)
    return Limits(items=items, problem=limits.cluster.problem if is_shared else None)


@router.view("/v1/plugins", "listPlugins")
async def plugins(control: Plane) -> Plugins:
    """The loaded plugins, in the order in which they are called."""
    return Plugins(items=list(control.plugins()))


@router.view("/v1/log", "getLog")
async def log(control: Plane) -> Log:
    """The lowest level that is logged."""
    return Log(level=control.log.level)


@router.change("PUT", "/v1/log", "setLog")
async def set_log(control: Plane, note: Noted, body: Log) -> Log:
    """Change the log level, until the `log` section of the configuration changes or a restart."""
    note.before = control.log.level
    control.log.set_level(body.level)
    note.after = control.log.level
    return Log(level=control.log.level)


@router.view("/v1/audit", "getAudit", Invalid)
async def audit(control: Plane, limit: Annotated[int, Query(ge=1, le=1000, description="How many.")] = 100) -> Audit:
    """The audit log, the newest entry first."""
    return Audit(items=control.audit.recent(limit))


@router.view("/metrics", "getMetrics", response_class=Response, responses=_METRICS)
async def metrics(control: Plane) -> Response:
    """Every metric, for Prometheus."""
    return Response(control.metrics(), media_type=METRICS_TYPE)


# --- what is shown --------------------------------------------------------------------------------------------------


def _drain(control: Control, canister: str | None) -> Drain:
    of = None if canister is None else listed_canister(canister, control.gateway.config).id
    return Drain(**control.drains.progress(of).model_dump(), canisters=control.drains.of_canisters())


def _limit(report: Report, names: Mapping[str, str]) -> Limit:
    count = report.decisions
    canister = None if report.canister is None else str(report.canister)
    return Limit(
        scope=report.scope,
        canister=canister,
        canister_name=names.get(canister or ""),
        counted_by="cluster" if report.is_shared else "node",
        mode=report.limit.mode,
        rate=report.limit.rate,
        burst=report.limit.burst,
        keys=report.remembered,
        allowed=sum(number for (decision, _), number in count.items() if decision == "allowed"),
        limited=count.get(("limited", "enforce"), 0),
        shadowed=count.get(("limited", "shadow"), 0),
        waiting=[
            LimitedKey(key=each.key, retry_after_s=each.delay_ns / 1e9, times=each.times) for each in report.waiting
        ],
    )
