"""The stream of events: published by the gateway, read by any number of subscribers."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime

from appliance.control.http.encoding import to_json
from appliance.control.models import Event, EventKind

MAX_RECENT = 1000
"""Events kept for subscribers that reconnect."""
MAX_WAITING = 1000
"""Events that may wait for one subscriber; more are dropped, and replaced by one event ``lost`` with their number."""
MAX_SUBSCRIBERS = 64
HEARTBEAT_S = 15.0


class Subscription:
    """The events that wait for one subscriber. `events` yields them, and None after ``HEARTBEAT_S`` without one; it
    ends after ``Events.close``.
    """

    def __init__(self, kinds: Collection[str] | None, waiting: int) -> None:
        self._kinds = kinds
        self._limit = waiting
        self._waiting: deque[Event] = deque()
        self._lost = 0
        self._last: Event | None = None
        self._something = asyncio.Event()
        self._closed = False

    def put(self, event: Event) -> None:
        """Add an event if the subscriber wants its kind. Never waits."""
        if self._kinds is not None and event.kind not in self._kinds:
            return
        if self._last is not None or len(self._waiting) >= self._limit:
            self._lost += 1
            self._last = event
        else:
            self._waiting.append(event)
        self._something.set()

    def put_first(self, event: Event) -> None:
        """Add an event of any kind, before all others and beside as many as may wait."""
        self._waiting.appendleft(event)
        self._limit += 1

    def close(self) -> None:
        """End after the events that wait."""
        self._closed = True
        self._something.set()

    async def events(self, heartbeat_s: float = HEARTBEAT_S) -> AsyncIterator[Event | None]:
        """Each event, None after ``heartbeat_s`` without one. Ends after `close`."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._last is not None:
                lost, last, self._lost, self._last = self._lost, self._last, 0, None
                yield loss(last.id, lost)
            if self._closed:
                return
            self._something.clear()
            try:
                await asyncio.wait_for(self._something.wait(), heartbeat_s)
            except TimeoutError:
                yield None


def loss(last_id: int, lost: int, at: datetime | None = None) -> Event:
    """The event that stands for so many dropped ones; ``last_id`` is that of the last of them, ``at`` its time, now if
    absent."""
    return Event(id=last_id, at=at or datetime.now(UTC), kind="lost", data={"events": lost})


_FIELDS = set(Event.model_fields)
"""One for all events: a set of its own would take 216 bytes of each that is kept."""


class Events:
    """Delivers events to all subscribers, and keeps the latest for those that reconnect."""

    def __init__(
        self, *, recent: int = MAX_RECENT, waiting: int = MAX_WAITING, subscribers: int = MAX_SUBSCRIBERS
    ) -> None:
        self._recent: deque[Event] = deque(maxlen=recent)
        self._waiting = waiting
        self._max_subscribers = subscribers
        self._subscriptions: set[Subscription] = set()
        self._next = 1
        self._closed = False

    def __len__(self) -> int:
        return len(self._subscriptions)

    @property
    def is_full(self) -> bool:
        """Whether there are as many subscribers as allowed."""
        return len(self._subscriptions) >= self._max_subscribers

    def publish(self, kind: EventKind, data: Mapping[str, object], *, at: datetime | None = None) -> None:
        """Deliver an event. Never waits, and costs next to nothing without subscribers."""
        event = Event.model_construct(
            _fields_set=_FIELDS, id=self._next, at=at or datetime.now(UTC), kind=kind, data=dict(data)
        )
        self._next += 1
        self._recent.append(event)
        for subscription in self._subscriptions:
            subscription.put(event)

    def subscribe(self, kinds: Collection[str] | None = None, after: int | None = None) -> Subscription:
        """Subscribe to these kinds, all if None; with ``after``, the id of an event, the later events come first, as
        far as they are kept. The caller must call `unsubscribe` in the end.
        """
        subscription = Subscription(kinds, self._waiting)
        if after is not None:
            # an id that was not given out yet is of an earlier process: everything here is later
            self._catch_up(subscription, after if after < self._next else 0)
        if self._closed:
            subscription.close()
        self._subscriptions.add(subscription)
        return subscription

    def _catch_up(self, subscription: Subscription, after: int) -> None:
        """Deliver the kept events after an id."""
        if self._recent and (first := self._recent[0]).id > after + 1:
            # At the time of what follows, not now: whoever has just come has missed nothing that is new.
            subscription.put_first(loss(first.id - 1, first.id - 1 - after, first.at))
        for event in self._recent:
            if event.id > after:
                subscription.put(event)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Deliver nothing more to this subscription."""
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every subscription, also those that begin later."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()


def as_text(event: Event | None) -> bytes:
    """An event as the stream has it (HTML standard, "Server-sent events"); None is a comment that keeps it open."""
    if event is None:
        return b": still here\n\n"
    data = to_json(event.model_dump())
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.kind.encode(), data)
