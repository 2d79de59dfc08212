"""Puts together what several nodes say of their sessions."""

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel

from appliance.control.auth.access import Actor
from appliance.control.control import Control
from appliance.control.http.problems import NodeFailed, NotFound
from appliance.control.models import Closed, ClosedAt, MissingNode, Refusals, Sessions, Stories
from appliance.control.routes.other_nodes import Answered, Asked, at_others
from appliance.control.routes.selection import cursor

T = TypeVar("T", bound=BaseModel)


def merged_sessions(
    own: Sessions, answered: Sequence[Answered], missing: Sequence[MissingNode], *, limit: int
) -> Sessions:
    """One page of the pages that each node has behind the same cursor."""
    pages, unread = _read(Sessions, answered)
    everywhere = [own, *(page for _, page in pages)]
    items = sorted(
        (session for each in everywhere for session in each.items), key=lambda each: (each.connected_at, each.id)
    )
    has_more = len(items) > limit or any(each.next is not None for each in everywhere)
    items = items[:limit]
    last = items[-1] if items else None
    following = cursor(last.connected_at, last.id) if last is not None and has_more else None
    return Sessions(items=items, next=following, missing=[*missing, *unread])


def merged_stories(
    own: Stories, answered: Sequence[Answered], missing: Sequence[MissingNode], *, limit: int
) -> Stories:
    """The latest of all, by when they ended."""
    found, unread = _read(Stories, answered)
    items = sorted(
        (story for each in (own, *(stories for _, stories in found)) for story in each.items),
        key=lambda story: story.moments[-1].at.timestamp() if story.moments else 0.0,
        reverse=True,
    )
    return Stories(items=items[:limit], missing=[*missing, *unread])


def merged_refusals(own: Refusals, answered: Sequence[Answered], missing: Sequence[MissingNode]) -> Refusals:
    """All of them, the newest first."""
    found, unread = _read(Refusals, answered)
    items = sorted(
        (each for some in (own, *(refusals for _, refusals in found)) for each in some.items),
        key=lambda each: each.at,
        reverse=True,
    )
    return Refusals(items=items, missing=[*missing, *unread])


def merged_closed(name: str, own: Closed, answered: Sequence[Answered], missing: Sequence[MissingNode]) -> Closed:
    """The sums, and each node by itself; ``name`` is that of this one."""
    found, unread = _read(Closed, answered)
    nodes = [(name, own), *found]
    return Closed(
        matched=sum(each.matched for _, each in nodes),
        closed=sum(each.closed for _, each in nodes),
        nodes=[ClosedAt(node=name, matched=each.matched, closed=each.closed) for name, each in nodes],
        missing=[*missing, *unread],
    )


async def found_elsewhere(control: Control, actor: Actor, model: type[T], asked: Asked, unknown: str) -> T:
    """What another node has. Raises NotFound with the sentence ``unknown``, and the nodes that said nothing."""
    answered, missing = await at_others(control, actor, asked)
    found, unread = _read(model, [each for each in answered if each.status != NotFound.status])
    if found:
        return found[0][1]
    silent = [f"node {each.node}: {each.problem}" if each.node else each.problem for each in (*missing, *unread)]
    raise NotFound("; ".join([unknown, *silent]))


def _read(model: type[T], answered: Sequence[Answered]) -> tuple[list[tuple[str, T]], list[MissingNode]]:
    """What each node has said, by its name."""
    found, unread = list[tuple[str, T]](), list[MissingNode]()
    for each in answered:
        try:
            found.append((each.node, each.read(model)))
        except NodeFailed as error:
            unread.append(MissingNode(node=each.node, problem=error.detail))
    return found, unread
