"""Sessions: found, looked at, explained and closed."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, TypeVar, cast

from fastapi import Path as InPath
from fastapi import Query

from appliance.config.schema import Config
from appliance.control.control import Control
from appliance.control.http.encoding import timestamp
from appliance.control.http.problems import Invalid, NotFound
from appliance.control.models import (
    Closed,
    CloseRequest,
    Fault,
    GenerationName,
    Moment,
    Session,
    SessionFilter,
    SessionQuery,
    Sessions,
    Story,
)
from appliance.control.routes.depends import Noted, Plane
from appliance.control.routes.routing import Operations
from appliance.control.routes.selection import Selection, page
from appliance.errors import ClosedByOperator
from appliance.gateway.connections import ConnectionInfo, info_of
from appliance.gateway.peer import Peer
from appliance.gateway.recording.explain import sentence, summary

router = Operations("sessions")

T = TypeVar("T")

BREATH = 512
"""Sessions that are looked at, or closed, in one go."""
NAMED = 100
"""Sessions that the audit log names."""

SessionId = Annotated[str, InPath(min_length=1, max_length=64, description="Of a session.", examples=["9f86d081"])]


@router.view("/v1/sessions", "listSessions", Invalid)
async def listed(control: Plane, query: Annotated[SessionQuery, Query()]) -> Sessions:
    """Who is connected, the longest first, joined or not."""
    found = await _selected(control, query.filter, "query")
    items, following = page((facts for _, facts in found), after=query.after, limit=query.limit)
    return Sessions(items=[_session(facts, control) for facts in items], next=following)


@router.view("/v1/sessions/{session}", "getSession", NotFound, Invalid)
async def shown(control: Plane, session: SessionId) -> Session:
    """One that is connected."""
    peer = control.gateway.connections.get(session)
    if peer is None:
        raise NotFound(f"no session {session} is connected; its story may still be there")
    return _session(info_of(peer), control)


@router.view("/v1/sessions/{session}/story", "getStory", NotFound, Invalid)
async def story(control: Plane, session: SessionId) -> Story:
    """What happened in a session that is connected, or was lately."""
    told = control.gateway.timelines.find(session)
    if told is None:
        raise NotFound(f"no session {session} is known, or not any more")
    moments = [
        Moment(at=timestamp(each.at_ns), kind=each.kind, facts=dict(each.facts), sentence=sentence(each))
        for each in told.moments
    ]
    return Story(
        session=told.id,
        address=told.address or None,
        path=told.path or None,
        generation=cast("GenerationName", told.generation) if told.generation else None,
        canister=told.canister,
        client=told.client,
        closed=told.ending is not None,
        close_code=None if told.ending is None else told.ending.code,
        dropped=told.dropped,
        summary=summary(told, now_ns=control.gateway.clock()),
        moments=moments,
    )


@router.change("POST", "/v1/sessions/close", "closeSessions")
async def close(control: Plane, note: Noted, body: CloseRequest) -> Closed:
    """Close those that a filter finds, or only count them. A filter that says nothing is refused."""
    if not body.filter.model_dump(exclude_none=True):
        problem = "says nothing, and would mean everybody; a drain is for that"
        raise Invalid(f"filter: {problem}", errors=[Fault(place="body", key="filter", problem=problem)])
    found = await _selected(control, body.filter, "body")
    note.changes = not body.dry_run
    if body.dry_run:
        return Closed(matched=len(found), closed=0)
    asked = body.model_dump(exclude_none=True, exclude={"dry_run"})
    note.before = {**asked, "sessions": [facts.id for _, facts in found[:NAMED]]}
    error = ClosedByOperator(code=body.code) if body.reason is None else ClosedByOperator(body.reason, body.code)
    async for peer, _ in _unhurried(found):
        peer.fail(error)
    note.after = {"closed": len(found)}
    return Closed(matched=len(found), closed=len(found))


async def _selected(control: Control, wanted: SessionFilter, place: str) -> list[tuple[Peer, ConnectionInfo]]:
    gateway = control.gateway
    selection = Selection(wanted, gateway.config, now_ns=gateway.clock(), place=place)
    found: list[tuple[Peer, ConnectionInfo]] = []
    async for peer in _unhurried(gateway.connections):
        if (facts := info_of(peer)) in selection:
            found.append((peer, facts))
    return found


async def _unhurried(many: Iterable[T]) -> AsyncIterator[T]:
    """Each of them; others have to be served too."""
    for number, each in enumerate(many):
        if number % BREATH == BREATH - 1:
            await asyncio.sleep(0)
        yield each


def _session(facts: ConnectionInfo, control: Control) -> Session:
    config: Config = control.gateway.config
    named = config.named(facts.canister) if facts.canister else None
    return Session(
        id=facts.id,
        address=facts.address,
        path=facts.path,
        generation=cast("GenerationName", facts.generation),
        state=facts.state.value,
        canister=facts.canister,
        canister_name=None if named is None else named.name,
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
