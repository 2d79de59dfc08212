"""The pollers that run: one for each canister that has members, started by the first and stopped after the last."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeAlias

from appliance.config.schema import Canister, CanisterPolling
from appliance.gateway.hub import Member
from appliance.gateway.ic import Source
from appliance.gateway.polling.budget import PollBudget
from appliance.gateway.polling.heartbeat import Heartbeat
from appliance.gateway.polling.poller import Poller
from appliance.gateway.polling.queue_position import QueuePosition
from appliance.gateway.polling.replies import Replies
from appliance.gateway.polling.schedule import WakeUp
from appliance.gateway.recording.event_bus import EventBus
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.recording.recorder import Recorder
from appliance.gateway.sharing import Share
from appliance.gateway.tasks import Tasks
from appliance.ic.principal import Principal
from appliance.protocol.generations import SESSIONS

MAX_POSITIONS = 10_000
"""Queue positions that are kept of canisters without members; beyond, the longest unused is forgotten."""
_Remembered: TypeAlias = tuple[QueuePosition, Heartbeat]
"""What outlives a poller: the next one must not deliver old messages again."""


class Pollers(Mapping[Principal, Poller]):
    """The running pollers by canister. ``budget`` is what they share."""

    def __init__(
        self,
        *,
        source: Source,
        replies: Replies,
        members: Callable[[Principal], Mapping[bytes, Member]],
        tasks: Tasks,
        counters: Counters,
        recorder: Recorder,
        event_bus: EventBus,
        clock: Callable[[], int],
        wake_up: Callable[[], WakeUp],
        budget: PollBudget,
        share: Share,
    ) -> None:
        """``members`` finds those of a canister, ``clock`` is ns since 1970, ``wake_up`` makes one for a poller,
        ``share`` shares its polls with other nodes.
        """
        self._share = share
        self._source = source
        self._replies = replies
        self._members = members
        self._tasks = tasks
        self._counters = counters
        self._recorder = recorder
        self._event_bus = event_bus
        self._clock = clock
        self._wake_up = wake_up
        self.budget = budget
        self._running: dict[Principal, tuple[Poller, asyncio.Task[None], _Remembered]] = {}
        self._positions: dict[Principal, _Remembered] = {}
        """Of canisters that are not polled, the longest unused first."""

    def __getitem__(self, canister_id: Principal) -> Poller:
        return self._running[canister_id][0]

    def __iter__(self) -> Iterator[Principal]:
        return iter(self._running)

    def __len__(self) -> int:
        return len(self._running)

    def start(self, canister: Canister, polling: CanisterPolling, nonce: int | None) -> None:
        """Poll a canister that is not polled, from ``nonce`` on; from where polling ended last if that is None."""
        canister_id = canister.id
        remembered = self._positions.pop(canister_id, None) or (QueuePosition(), Heartbeat())
        position, heartbeat = remembered
        if nonce is not None:
            position.start_at(nonce)
        poller = Poller(
            canister_id,
            SESSIONS[canister.generation[-1]].generation,
            source=self._source,
            replies=self._replies,
            members=partial(self._members, canister_id),
            position=position,
            polling=polling,
            budget=self.budget,
            heartbeat=heartbeat,
            counters=self._counters,
            wake_up=self._wake_up(),
            clock=self._clock,
            recorder=self._recorder,
            event_bus=self._event_bus,
            zero_is_end="v1" in canister.generation,
            share=self._share,
        )
        if canister.paused:  # while the first of its clients was opening its session
            poller.pause()
        self._running[canister_id] = poller, self._tasks.start(poller.run()), remembered

    def stop(self, canister_id: Principal) -> None:
        """Poll a canister no more; does nothing if it is not polled."""
        if canister_id in self._running:
            poller, task, remembered = self._running.pop(canister_id)
            while len(self._positions) >= MAX_POSITIONS:
                del self._positions[next(iter(self._positions))]
            self._positions[canister_id] = remembered
            poller.end()  # not left to the cancelled task: whoever waits for a poll goes on at once
            task.cancel()

    def forget(self, canister_id: Principal) -> None:
        """Poll a canister no more, and forget its queue: it has another one from now on."""
        self.stop(canister_id)
        self._positions.pop(canister_id, None)

    def follow(self, canister_id: Principal, polling: CanisterPolling, *, is_paused: bool) -> None:
        """Apply another configuration of a canister; does nothing if it is not polled."""
        if (poller := self.get(canister_id)) is not None:
            poller.follow(polling)
            if is_paused != poller.is_paused:
                (poller.pause if is_paused else poller.resume)()

    def stop_all(self) -> None:
        """Poll no canister any more."""
        for canister_id in list(self._running):
            self.stop(canister_id)
