"""What happens, for those who listen: the stream of events."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime

from appliance.control.answers import to_json
from appliance.control.models import Event, EventKind

REMEMBERED = 1000
"""Events that a listener who comes back can still have."""
WAITING = 1000
"""Events that may wait for one listener; those beyond are dropped, and it is told how many."""
LISTENERS = 64
HEARTBEAT_S = 15.0


class Listener:
    """One who listens. Iterating gives what is for it, None where nothing was for ``HEARTBEAT_S``; it ends with
    ``Events.close``.
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
        """Never waits."""
        if self._kinds is not None and event.kind not in self._kinds:
            return
        if self._last is not None or len(self._waiting) >= self._limit:
            self._lost += 1
            self._last = event
        else:
            self._waiting.append(event)
        self._something.set()

    def put_anyway(self, event: Event) -> None:
        """Whatever kinds it listens to."""
        self._waiting.append(event)

    def close(self) -> None:
        """End when all that waits was taken."""
        self._closed = True
        self._something.set()

    async def events(self, heartbeat_s: float = HEARTBEAT_S) -> AsyncIterator[Event | None]:
        """What comes, as long as it comes."""
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


def loss(last_id: int, lost: int) -> Event:
    """What is said in place of events that cannot be had any more, of which this was the last."""
    return Event(id=last_id, at=datetime.now(UTC), kind="lost", data={"events": lost})


class Events:
    """Passes on what is published to all who listen, and remembers the last of it."""

    def __init__(self, *, remembered: int = REMEMBERED, waiting: int = WAITING, listeners: int = LISTENERS) -> None:
        self._recent: deque[Event] = deque(maxlen=remembered)
        self._waiting = waiting
        self._most = listeners
        self._listeners: set[Listener] = set()
        self._next = 1
        self._closed = False

    def __len__(self) -> int:
        return len(self._listeners)

    @property
    def is_full(self) -> bool:
        """Whether nobody more may listen."""
        return len(self._listeners) >= self._most

    def publish(self, kind: EventKind, data: Mapping[str, object], *, at: datetime | None = None) -> None:
        """Something happened. Costs next to nothing where nobody listens, and never waits."""
        event = Event.model_construct(id=self._next, at=at or datetime.now(UTC), kind=kind, data=dict(data))
        self._next += 1
        self._recent.append(event)
        for listener in self._listeners:
            listener.put(event)

    def listen(self, kinds: Collection[str] | None = None, after: int | None = None) -> Listener:
        """Listen to these kinds, all if None; ``after`` an event begins with those that came since and are remembered.

        Whoever listens calls ``forget`` in the end.
        """
        listener = Listener(kinds, self._waiting)
        if after is not None:
            self._catch_up(listener, after if after < self._next else 0)
        if self._closed:
            listener.close()
        self._listeners.add(listener)
        return listener

    def _catch_up(self, listener: Listener, after: int) -> None:
        """Pass on what is remembered; an ``after`` that is not known here is of an earlier process."""
        if self._recent and self._recent[0].id > after + 1:
            gone = self._recent[0].id - 1
            listener.put_anyway(loss(gone, gone - after))
        for event in self._recent:
            if event.id > after:
                listener.put(event)

    def forget(self, listener: Listener) -> None:
        """It does not listen any more."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """Let everybody go."""
        self._closed = True
        for listener in self._listeners:
            listener.close()


def as_text(event: Event | None) -> bytes:
    """An event as the stream has it (HTML standard, "Server-sent events"); None is a comment that keeps it open."""
    if event is None:
        return b": still here\n\n"
    data = to_json(event.model_dump())
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.kind.encode(), data)
