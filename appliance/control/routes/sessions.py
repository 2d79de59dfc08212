"""Operations on sessions: list, show, explain and close."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Annotated, TypeVar, cast

from fastapi import Path as InPath
from fastapi import Query
from starlette.responses import Response

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
from appliance.control.routes.depends import Asked as Asking
from appliance.control.routes.depends import Plane, Sender
from appliance.control.routes.merging import (
    found_elsewhere,
    merged_closed,
    merged_refusals,
    merged_sessions,
    merged_stories,
)
from appliance.control.routes.other_nodes import EVERY, Asked, OfNode, at, at_others, named, pairs_of, path_to
from appliance.control.routes.routing import Note, Operations
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


@router.view("/v1/sessions", "listSessions", Invalid, nodes="all")
async def listed(
    control: Plane, actor: Sender, query: Annotated[SessionQuery, Query()], node: OfNode = None
) -> Sessions:
    """Connected sessions, the longest connected first, also those that have not joined a canister yet."""
    found = await _selected(control, query.filter, "query")
    items, following = page((facts for _, facts in found), after=query.after, limit=query.limit)
    own = Sessions(items=[_session(facts, control) for facts in items], next=following)
    if node != EVERY:
        return own
    asked = Asked("listSessions", path_to("sessions"), pairs_of(query.model_dump(exclude_none=True)))
    return merged_sessions(own, *await at_others(control, actor, asked), limit=query.limit)


@router.view("/v1/sessions/{session}", "getSession", NotFound, Invalid, nodes="all")
async def shown(control: Plane, actor: Sender, session: SessionId, node: OfNode = None) -> Session:
    """One connected session."""
    if (peer := control.gateway.connections.get(session)) is not None:
        return _session(info_of(peer), control)
    unknown = f"no session {session} is connected; its timeline may still exist"
    if node != EVERY:
        raise NotFound(unknown)
    return await found_elsewhere(control, actor, Session, Asked("getSession", path_to("sessions", session)), unknown)


@router.view("/v1/sessions/{session}/story", "getStory", NotFound, Invalid, nodes="all")
async def story(control: Plane, actor: Sender, session: SessionId, node: OfNode = None) -> Story:
    """The timeline of a session that is connected or ended lately."""
    if (timeline := control.gateway.timelines.find(session)) is not None:
        return _story(timeline, control)
    unknown = f"no session {session} is known, or not any more"
    if node != EVERY:
        raise NotFound(unknown)
    asked = Asked("getStory", path_to("sessions", session, "story"))
    return await found_elsewhere(control, actor, Story, asked, unknown)


@router.view("/v1/stories", "listStories", Invalid, nodes="all")
async def stories(
    control: Plane,
    actor: Sender,
    limit: Annotated[int, Query(ge=1, le=200, description="The most that are listed.")] = 20,
    node: OfNode = None,
) -> Stories:
    """The timelines of sessions that have ended, the latest first."""
    own = Stories(items=[_story(each, control) for each in islice(control.gateway.timelines.closed(), limit)])
    if node != EVERY:
        return own
    asked = Asked("listStories", path_to("stories"), pairs_of({"limit": limit}))
    return merged_stories(own, *await at_others(control, actor, asked), limit=limit)


@router.view("/v1/refusals", "listRefusals", Invalid, nodes="all")
async def refusals(
    control: Plane,
    actor: Sender,
    address: Annotated[
        str | None,
        Query(min_length=1, max_length=64, description="An IP address, a network such as `10.0.0.0/8`, or `unix`."),
    ] = None,
    node: OfNode = None,
) -> Refusals:
    """Connections that were refused before they had a session: the latest of each address, or of one."""
    if address is not None:
        check_address(address, "query")
    own = Refusals(items=[_refusal(each, control) for each in control.listener.refusals.of(address)])
    if node != EVERY:
        return own
    asked = Asked("listRefusals", path_to("refusals"), pairs_of({} if address is None else {"address": address}))
    return merged_refusals(own, *await at_others(control, actor, asked))


@router.change("POST", "/v1/sessions/close", "closeSessions", nodes="all", response_model=Closed)
async def close(wanted: Asking, body: CloseRequest, node: OfNode = None) -> Closed | Response:
    """Close the sessions that match a filter, or only count them. An empty filter is refused."""
    control, actor, note = wanted
    note.changes = not body.dry_run
    if not body.filter.model_dump(exclude_none=True):
        problem = "is empty and would match every session; use a drain for that"
        raise Invalid(f"filter: {problem}", errors=[Fault(place="body", key="filter", problem=problem)])
    asked = Asked("closeSessions", path_to("sessions", "close"), body=body.model_dump(exclude_none=True))
    if node not in (None, EVERY) and (other := named(control, [node], "all")) is not None:
        answered = await at(control, actor, other, asked)
        note.before, note.after = asked.body, {"node": other}
        note.changes &= not answered.is_invalid
        return answered.response()
    own = await _close(control, note, body)
    if node != EVERY or control.node is None:
        return own
    closed = merged_closed(control.node.name, own, *await at_others(control, actor, asked))
    note.after = None if body.dry_run else closed.model_dump(include={"closed", "nodes", "missing"})
    return closed


async def _close(control: Control, note: Note, body: CloseRequest) -> Closed:
    """Close sessions of this node."""
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


def _node(control: Control) -> str | None:
    return None if control.node is None else control.node.name


def _refusal(refusal: Refused, control: Control) -> Refusal:
    return Refusal(
        session=refusal.id,
        node=_node(control),
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
        node=_node(control),
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
        node=_node(control),
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
