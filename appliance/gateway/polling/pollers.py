"""The pollers that run: one for each canister that has members, started by the first and stopped after the last."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

from appliance.config.schema import Canister, Polling
from appliance.gateway.hub import Hub
from appliance.gateway.ic import Source
from appliance.gateway.polling.cursor import Cursor
from appliance.gateway.polling.poller import Poller
from appliance.gateway.polling.replies import Replies
from appliance.gateway.polling.wake_up import WakeUp
from appliance.gateway.recording.counters import Counters
from appliance.gateway.recording.event_bus import EventBus
from appliance.gateway.recording.recorder import Recorder
from appliance.gateway.tasks import Tasks
from appliance.ic.principal import Principal
from appliance.protocol.generations import SESSIONS

MAX_CURSORS = 10_000
"""Canisters whose cursor is remembered while they have no members; beyond, the longest unused is forgotten."""


class Pollers(Mapping[Principal, Poller]):
    """The running pollers by canister."""

    def __init__(
        self,
        *,
        source: Source,
        replies: Replies,
        hub: Hub,
        tasks: Tasks,
        counters: Counters,
        recorder: Recorder,
        event_bus: EventBus,
        clock: Callable[[], int],
        alarm: Callable[[], WakeUp],
    ) -> None:
        """``clock`` is nanoseconds since 1970; ``alarm`` makes the wake-up of a poller."""
        self._source = source
        self._replies = replies
        self._hub = hub
        self._tasks = tasks
        self._counters = counters
        self._recorder = recorder
        self._event_bus = event_bus
        self._clock = clock
        self._alarm = alarm
        self._running: dict[Principal, tuple[Poller, asyncio.Task[None]]] = {}
        self._cursors: dict[Principal, Cursor] = {}

    def __getitem__(self, canister_id: Principal) -> Poller:
        return self._running[canister_id][0]

    def __iter__(self) -> Iterator[Principal]:
        return iter(self._running)

    def __len__(self) -> int:
        return len(self._running)

    def start(self, canister: Canister, polling: Polling, nonce: int | None) -> None:
        """Poll a canister that is not polled, from ``nonce`` on; from where polling ended last if that is None."""
        canister_id = canister.id
        cursor = self._cursor(canister_id)
        if nonce is not None:
            cursor.follow(nonce)
        poller = Poller(
            canister_id,
            SESSIONS[canister.generation[-1]].generation,
            source=self._source,
            replies=self._replies,
            members=lambda: self._hub.members(canister_id),
            cursor=cursor,
            polling=polling,
            counters=self._counters,
            alarm=self._alarm(),
            clock=self._clock,
            recorder=self._recorder,
            event_bus=self._event_bus,
            answers_with_end="v1" in canister.generation,
        )
        self._running[canister_id] = poller, self._tasks.start(poller.run())

    def stop(self, canister_id: Principal) -> None:
        """Poll a canister no more; does nothing if it is not polled."""
        if canister_id in self._running:
            poller, task = self._running.pop(canister_id)
            poller.end()  # not left to the cancelled task: whoever waits for a poll goes on at once
            task.cancel()

    def stop_all(self) -> None:
        """Poll no canister any more."""
        for canister_id in list(self._running):
            self.stop(canister_id)

    def _cursor(self, canister_id: Principal) -> Cursor:
        """The cursor of a canister. It outlives the poller: the next one must not deliver old messages again."""
        cursor = self._cursors.pop(canister_id, None) or Cursor()
        while len(self._cursors) >= MAX_CURSORS:
            del self._cursors[next(iter(self._cursors))]
        self._cursors[canister_id] = cursor
        return cursor
