"""Operations on sessions: list, show, explain and close."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Annotated, TypeVar, cast

from fastapi import Path as InPath
from fastapi import Query

from appliance.control.control import Control
from appliance.control.http.encoding import timestamp
from appliance.control.http.problems import Invalid, NotFound
from appliance.control.models import (
    Closed,
    CloseRequest,
    Fault,
    GenerationName,
    Moment,
    Refusal,
    Refusals,
    Session,
    SessionFilter,
    SessionQuery,
    Sessions,
    Stories,
    Story,
)
from appliance.control.routes.depends import Noted, Plane
from appliance.control.routes.routing import Operations
from appliance.control.routes.selection import Selection, check_address, name_of, page
from appliance.errors import ClosedByOperator
from appliance.gateway.connections import ConnectionInfo, info_of
from appliance.gateway.peer import Peer
from appliance.gateway.recording.explain import sentence, summary
from appliance.gateway.recording.timeline import Timeline
from appliance.gateway.sockets.refusals import Refusal as Refused

router = Operations("sessions")

T = TypeVar("T")

CHUNK = 512
"""Sessions that are examined or closed before the event loop gets a turn."""
MAX_AUDITED = 100
"""The most session ids in one audit entry."""

SessionId = Annotated[str, InPath(min_length=1, max_length=64, description="Of a session.", examples=["9f86d081"])]


@router.view("/v1/sessions", "listSessions", Invalid)
async def listed(control: Plane, query: Annotated[SessionQuery, Query()]) -> Sessions:
    """Connected sessions, the longest connected first, also those that have not joined a canister yet."""
    found = await _selected(control, query.filter, "query")
    items, following = page((facts for _, facts in found), after=query.after, limit=query.limit)
    return Sessions(items=[_session(facts, control) for facts in items], next=following)


@router.view("/v1/sessions/{session}", "getSession", NotFound, Invalid)
async def shown(control: Plane, session: SessionId) -> Session:
    """One connected session."""
    peer = control.gateway.connections.get(session)
    if peer is None:
        raise NotFound(f"no session {session} is connected; its timeline may still exist")
    return _session(info_of(peer), control)


@router.view("/v1/sessions/{session}/story", "getStory", NotFound, Invalid)
async def story(control: Plane, session: SessionId) -> Story:
    """The timeline of a session that is connected or ended lately."""
    timeline = control.gateway.timelines.find(session)
    if timeline is None:
        raise NotFound(f"no session {session} is known, or not any more")
    return _story(timeline, control)


@router.view("/v1/stories", "listStories", Invalid)
async def stories(
    control: Plane, limit: Annotated[int, Query(ge=1, le=200, description="The most that are listed.")] = 20
) -> Stories:
    """The timelines of sessions that have ended, the latest first."""
    return Stories(items=[_story(each, control) for each in islice(control.gateway.timelines.closed(), limit)])


@router.view("/v1/refusals", "listRefusals", Invalid)
async def refusals(
    control: Plane,
    address: Annotated[
        str | None,
        Query(min_length=1, max_length=64, description="An IP address, a network such as `10.0.0.0/8`, or `unix`."),
    ] = None,
) -> Refusals:
    """Connections that were refused before they had a session: the latest of each address, or of one."""
    if address is not None:
        check_address(address, "query")
    return Refusals(items=[_refusal(each, control) for each in control.listener.refusals.of(address)])


@router.change("POST", "/v1/sessions/close", "closeSessions")
async def close(control: Plane, note: Noted, body: CloseRequest) -> Closed:
    """Close the sessions that match a filter, or only count them. An empty filter is refused."""
    note.changes = not body.dry_run
    if not body.filter.model_dump(exclude_none=True):
        problem = "is empty and would match every session; use a drain for that"
        raise Invalid(f"filter: {problem}", errors=[Fault(place="body", key="filter", problem=problem)])
    found = await _selected(control, body.filter, "body")
    if body.dry_run:
        return Closed(matched=len(found), closed=0)
    asked = body.model_dump(exclude_none=True, exclude={"dry_run"})
    note.before = {**asked, "sessions": [facts.id for _, facts in found[:MAX_AUDITED]]}
    error = ClosedByOperator(code=body.code) if body.reason is None else ClosedByOperator(body.reason, body.code)
    async for peer, _ in _in_chunks(found):
        peer.fail(error)
    note.after = {"closed": len(found)}
    return Closed(matched=len(found), closed=len(found))


async def _selected(control: Control, wanted: SessionFilter, place: str) -> list[tuple[Peer, ConnectionInfo]]:
    gateway = control.gateway
    selection = Selection(wanted, gateway.config, now_ns=gateway.clock(), place=place)
    found: list[tuple[Peer, ConnectionInfo]] = []
    async for peer in _in_chunks(gateway.connections):
        if (facts := info_of(peer)) in selection:
            found.append((peer, facts))
    return found


async def _in_chunks(many: Iterable[T]) -> AsyncIterator[T]:
    """Each element, with a turn of the event loop now and then, so that clients are served meanwhile."""
    for number, each in enumerate(many):
        if number % CHUNK == CHUNK - 1:
            await asyncio.sleep(0)
        yield each


def _refusal(refusal: Refused, control: Control) -> Refusal:
    return Refusal(
        session=refusal.id,
        at=timestamp(refusal.at_ns),
        address=refusal.address,
        origin=refusal.origin,
        path=refusal.path,
        canister=refusal.canister,
        canister_name=name_of(refusal.canister, control.gateway.config),
        status=refusal.status,
        code=refusal.code,
        reason=refusal.reason,
        cause=refusal.cause,
    )


def _session(facts: ConnectionInfo, control: Control) -> Session:
    return Session(
        id=facts.id,
        address=facts.address,
        path=facts.path,
        generation=cast("GenerationName", facts.generation),
        state=facts.state.value,
        canister=facts.canister,
        canister_name=name_of(facts.canister, control.gateway.config),
        client=facts.client,
        connected_at=timestamp(facts.connected_at_ns),
        opened_at=None if facts.opened_at_ns is None else timestamp(facts.opened_at_ns),
        age_s=(control.gateway.clock() - facts.connected_at_ns) / 1e9,
        frames_in=facts.frames_in,
        bytes_in=facts.bytes_in,
        delivered=facts.delivered,
        bytes_out=facts.bytes_out,
        waiting_bytes=facts.waiting_bytes,
        waiting_calls=facts.waiting_calls,
    )


def _story(timeline: Timeline, control: Control) -> Story:
    moments = [
        Moment(at=timestamp(each.at_ns), kind=each.kind, facts=dict(each.facts), sentence=sentence(each))
        for each in timeline.entries
    ]
    return Story(
        session=timeline.id,
        address=timeline.address or None,
        path=timeline.path or None,
        generation=cast("GenerationName", timeline.generation) if timeline.generation else None,
        canister=timeline.canister,
        canister_name=name_of(timeline.canister, control.gateway.config),
        client=timeline.client,
        closed=timeline.end is not None,
        close_code=None if timeline.end is None else timeline.end.code,
        dropped=timeline.dropped,
        summary=summary(timeline, now_ns=control.gateway.clock(), label=control.gateway.config.canister_label),
        moments=moments,
    )
