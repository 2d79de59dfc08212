"""The gateway as a whole."""

from collections import Counter
from dataclasses import fields
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query
from pydantic import AwareDatetime, BeforeValidator

from appliance.control.control import Control
from appliance.control.http.encoding import timestamp
from appliance.control.http.problems import Invalid, NotFound
from appliance.control.models import Hop, Identity, Reload, Samples, Span, Stats, Status, WhoAmI
from appliance.control.observe.metrics_history import canister_sample, sample_of, values_of
from appliance.control.reload.outcome import Outcome
from appliance.control.routes.config import confirm_by, file_of
from appliance.control.routes.depends import Plane, Sender
from appliance.control.routes.routing import Operations
from appliance.control.routes.selection import served_canister
from appliance.gateway.recording.measurements import Histogram

router = Operations("overview")


@router.view("/v1/status", "getStatus", nodes="one")
async def status(control: Plane) -> Status:
    """The gateway at a glance."""
    gateway, listener, reloads, node = control.gateway, control.listener, control.reloads, control.node
    return Status(
        version=control.version,
        started_at=timestamp(control.started_at_ns),
        uptime_s=(gateway.clock() - control.started_at_ns) / 1e9,
        generation=reloads.revision,
        config_hash=reloads.hash,
        config_file=file_of(control),
        differs_from_file=await reloads.differs_from_file(),
        confirm_by=confirm_by(control),
        draining=gateway.drain is not None,
        stopping=gateway.stopping,
        sessions=sum(1 for peer in gateway.connections if peer.is_open),
        connections=len(listener),
        departing=gateway.pending_close_calls,
        calls_under_way=gateway.budget.scheduler.under_way,
        calls_waiting=gateway.budget.scheduler.waiting,
        calls_limit=gateway.budget.scheduler.calls,
        canisters=len(gateway.config.canisters),
        cluster=None if node is None else node.cluster,
        node=None if node is None else node.name,
        engine=None if node is None else node.contact.state,
        gateway_principal=str(gateway.principal),
        url=listener.url,
        urls=listener.urls,
        last_reload=reload_shown(reloads.last),
        problems=[problem for check in control.problems if (problem := check()) is not None],
    )


@router.view("/v1/whoami", "getWhoAmI")
async def who_am_i(actor: Sender) -> WhoAmI:
    """The name and role of the sender."""
    return WhoAmI(name=actor.name, role=actor.role)


@router.view("/v1/identity", "getIdentity")
async def identity(control: Plane) -> Identity:
    """The principal of the gateway."""
    return Identity(principal=str(control.gateway.principal), key_file=str(control.gateway.config.gateway.identity))


@router.view("/v1/stats", "getStats")
async def stats(control: Plane) -> Stats:
    """Counters since the start, and the latency of each hop of a message."""
    counted = control.gateway.counters
    values = {each.name: getattr(counted, each.name) for each in fields(counted)}
    return Stats(
        at=datetime.now(UTC),
        counters={name: value for name, value in values.items() if isinstance(value, int)},
        by={
            name: {str(label): number for label, number in value.items()}
            for name, value in values.items()
            if isinstance(value, Counter)
        },
        hops=_hops(control),
        loop_lag_s=control.loop_lag.lag_s,
    )


def _written(value: object) -> object:
    """Refuse a number of seconds, which pydantic takes for a time. Raises ValueError."""
    if isinstance(value, str) and not value[4:5] == "-":
        raise ValueError("write a time such as 2026-01-31T12:00:00Z")
    return value


@router.view("/v1/stats/recent", "getRecentStats", NotFound, Invalid)
async def recent(
    control: Plane,
    span: Annotated[Span, Query(description="How far back.")] = "10m",
    canister: Annotated[
        str | None, Query(min_length=1, max_length=63, description="Principal or name; the whole gateway without.")
    ] = None,
    after: Annotated[
        Annotated[AwareDatetime, BeforeValidator(_written)] | None, Query(description="Only later samples.")
    ] = None,
) -> Samples:
    """Samples of the counters in the last minutes or hours, of the whole gateway or of one canister."""
    history, gateway = control.metrics_history, control.gateway
    if canister is None:
        items, now = history.samples(span), sample_of(gateway, control.listener)
    else:
        canister_id = served_canister(canister, gateway)
        items = history.samples_of(canister_id, span)
        now = canister_sample(datetime.now(UTC), values_of(gateway, canister_id))
    later = [sample for sample in items if after is None or sample.at > after]
    return Samples(every_s=history.interval_s(span), items=later, now=now)


def reload_shown(outcome: Outcome) -> Reload:
    """The outcome of a reload, as the API shows it."""
    return Reload(
        at=timestamp(outcome.at_ns),
        result=outcome.result,
        trigger=outcome.trigger,
        actor=outcome.actor,
        generation=outcome.revision,
        changes=len(outcome.plan),
        confirm_by=None if outcome.confirm_by_ns is None else timestamp(outcome.confirm_by_ns),
        problem=outcome.problem,
    )


def _hops(control: Control) -> list[Hop]:
    latencies = control.gateway.recorder.latency
    return [_hop(each.name, getattr(latencies, each.name)) for each in fields(latencies)]


def _hop(name: str, histogram: Histogram) -> Hop:
    count = histogram.count
    p50_s, p90_s, p99_s = (histogram.quantile_s(part) if count else None for part in (0.5, 0.9, 0.99))
    return Hop(name=name, count=count, sum_s=histogram.sum_ns / 1e9, p50_s=p50_s, p90_s=p90_s, p99_s=p99_s)
