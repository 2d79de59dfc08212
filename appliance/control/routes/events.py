"""The stream of events."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Annotated, get_args

from fastapi import Header, Query
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from appliance.control.auth.access import STILL_ADMITTED
from appliance.control.http.problems import Invalid, TooManyListeners
from appliance.control.models import EventKind
from appliance.control.observe.events import HEARTBEAT_S, Events, Subscription, as_text
from appliance.control.routes.depends import Plane
from appliance.control.routes.routing import Operations

router = Operations("events")

_LAST = 2**62
_STREAM = {
    200: {
        "description": "Events as they happen (HTML standard, server-sent events); `data` is an Event",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'id: 7\nevent: drain\ndata: {"id":7,"at":"2026-01-01T00:00:00Z","kind":"drain", …}\n\n',
            }
        },
    }
}


class Stream(StreamingResponse):
    """Subscribed for as long as the response is sent."""

    media_type = "text/event-stream"

    def __init__(self, events: Events, kinds: Collection[str] | None, after: int | None) -> None:
        super().__init__((), headers={"X-Accel-Buffering": "no"})
        self._events = events
        self._wanted = (kinds, after)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        subscription = self._events.subscribe(*self._wanted)
        self.body_iterator = self._text(subscription, scope[STILL_ADMITTED])
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._events.unsubscribe(subscription)

    async def _text(
        self, subscription: Subscription, is_still_admitted: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[bytes]:
        yield as_text(None)  # so that the client sees the headers at once, not with the first event
        loop = asyncio.get_running_loop()
        check_at = loop.time() + HEARTBEAT_S
        async for event in subscription.events(HEARTBEAT_S):
            # By the time, not at heartbeats: a stream that is never idle has none.
            if loop.time() >= check_at:
                if not await is_still_admitted():
                    return
                check_at = loop.time() + HEARTBEAT_S
            yield as_text(event)


@router.view("/v1/events", "listenToEvents", Invalid, TooManyListeners, response_class=Stream, responses=_STREAM)
async def listen(
    control: Plane,
    kinds: Annotated[
        list[EventKind] | None, Query(max_length=len(get_args(EventKind)), description="Only these; repeatable.")
    ] = None,
    last_event_id: Annotated[
        int | None, Header(ge=0, le=_LAST, description="Begin after the event with this id, as far as events are kept.")
    ] = None,
) -> Stream:
    """Events as they happen. A client that reads too slowly gets an event `lost` with the number of dropped events.

    The stream ends within 15 s after its token was removed or got another role.
    """
    if control.events.is_full:
        raise TooManyListeners(f"{len(control.events)} clients receive events already, which is the limit")
    return Stream(control.events, None if kinds is None else set(kinds), last_event_id)
