"""The timelines of all connections: live ones, and a bounded number of closed ones."""

from collections import OrderedDict, deque
from collections.abc import Iterator

from appliance.gateway.recording.timeline import Timeline

CLOSED = 2000
"""Timelines that are kept when their connection is over."""
CLOSED_ENTRIES = 100_000
"""Entries in all of them: long timelines leave room for fewer."""
TURNED_AWAY = 200
"""Timelines of connections that never became a WebSocket. They are kept apart, lest a flood of them wash the others
away."""


class Timelines:
    """The timelines by the id of their connection."""

    def __init__(self, *, closed: int = CLOSED, entries: int = CLOSED_ENTRIES, turned_away: int = TURNED_AWAY) -> None:
        self.turned_away: deque[Timeline] = deque(maxlen=turned_away)
        """The latest, the newest last."""
        self._live: dict[str, Timeline] = {}
        self._closed: OrderedDict[str, tuple[Timeline, int]] = OrderedDict()
        """With the number of entries that was added to the sum, which eviction subtracts again: calls that are settled
        later make the timeline longer."""
        self._limit = closed
        self._limit_entries = entries
        self._entries = 0

    def __len__(self) -> int:
        return len(self._live) + len(self._closed) + len(self.turned_away)

    def begin(self, timeline: Timeline) -> None:
        """The WebSocket of a connection is established."""
        self._live[timeline.id] = timeline

    def end(self, timeline: Timeline) -> None:
        """A connection ended. One that never sent a request is not kept."""
        if self._live.pop(timeline.id, None) is None:
            if len(timeline) > 1:
                self.turned_away.append(timeline)
            return
        self._closed[timeline.id] = timeline, len(timeline)
        self._entries += len(timeline)
        while len(self._closed) > self._limit or self._entries > self._limit_entries:
            _, (_, entries) = self._closed.popitem(last=False)
            self._entries -= entries

    def find(self, story_id: str) -> Timeline | None:
        """The timeline with this id, None if it is not known or forgotten."""
        if (found := self._live.get(story_id)) is not None:
            return found
        if (closed := self._closed.get(story_id)) is not None:
            return closed[0]
        return next((timeline for timeline in self.turned_away if timeline.id == story_id), None)

    def closed(self) -> Iterator[Timeline]:
        """Those of connections that are over, the newest first."""
        return (timeline for timeline, _ in reversed(self._closed.values()))
