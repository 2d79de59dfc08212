"""The calls of one client on their way to the IC: in order, and as many under way as evidence allows.

``SendWindow`` decides what may be sent, with the ``Pace`` of the canister; this module sends it. When others wait
behind a call, it is sent once more to confirm its acceptance: with the same request id, that is free of side effects.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Protocol, cast

from appliance.config.schema import Config
from appliance.crypto import Request
from appliance.errors import CallExpired, CanisterRefused, OrderLost
from appliance.gateway.calls.pace import Pace, Paces
from appliance.gateway.calls.queued import QueuedCall, sequence_number, size_of
from appliance.gateway.calls.window import SendWindow
from appliance.gateway.outbox import Holder
from appliance.gateway.tasks import Tasks
from appliance.ic.route import Route
from appliance.protocol.events import Call

LARGE_MESSAGES = 8
"""Messages of the largest size that may wait for the IC; of small ones ``relay.queue`` may."""
ABOUT_ORDER = "sequence number"
"""In the text of every canister library that refuses a message for its sequence number."""
_NONE_UNDER_WAY = cast("dict[int, QueuedCall]", MappingProxyType({}))
"""Where no call is under way, as almost always: a dictionary that was used takes 160 bytes of each session."""


class RelayingPeer(Protocol):
    """The peer, as its relay queue uses it."""

    async def relay(self, queued: QueuedCall) -> None:
        """Make a call and act on its answer. Raises what the client is to be closed for."""

    async def confirm(self, queued: QueuedCall) -> bool:
        """Whether a replica is known to have a call that is under way. Raises nothing."""

    def fail(self, error: Exception) -> None:
        """Close the client for this reason; the first one counts."""

    def pause_reading(self) -> None:
        """Read no more messages of the client for now."""

    def resume_reading(self) -> None:
        """Read messages again."""


class RelayQueue:
    """The calls of one client that wait or are under way. Its tasks exist only while there are any.

    When a call fails, the client is closed and the calls behind it are dropped, since the canister would refuse them as
    out of order. While it ``is_full``, the client is not read, which ``is_paused`` shows.
    """

    __slots__ = (
        *(
            "_bytes",
            "_clock",
            "_config",
            "_error",
            "_holder",
            "_order",
            "_paces",
            "_peer",
            "_sequence",
            "_tasks",
        ),
        *("_timer", "_under_way", "_url", "_waiting", "is_paused", "window"),
    )

    def __init__(
        self,
        peer: RelayingPeer,
        config: Config,
        holder: Holder,
        *,
        paces: Paces,
        tasks: Tasks,
        clock: Callable[[], int],
    ) -> None:
        """``holder`` counts the bytes that wait and are under way; ``clock`` is ns since 1970."""
        self.window = config.relay.window if config.relay.order == "paced" else 1
        self._config = config
        self._peer = peer
        self._holder = holder
        self._paces = paces
        self._tasks = tasks
        self._clock = clock
        self._order = SendWindow(self.window)
        # Short lists, and none where they are empty: an empty deque or set takes up to 0.7 KiB of each session.
        self._waiting: list[QueuedCall] | tuple[()] = ()
        self._bytes = 0
        self._under_way = _NONE_UNDER_WAY
        self._timer: asyncio.TimerHandle | None = None
        self._url: str | None = None
        self._sequence: int | None = None
        self._error: Exception | None = None
        self.is_paused = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def limit(self) -> int:
        """How many calls may wait (``relay.queue``)."""
        return self._config.relay.queue

    @property
    def backlog_s(self) -> float:
        """How long the calls that wait may take (``relay.backlog``)."""
        return self._config.relay.backlog

    @property
    def is_full(self) -> bool:
        """Whether no further call should be put for now."""
        return bool(self._waiting) and self._is_full(self._now(), self._pace)

    def _is_full(self, now: float, pace: Pace) -> bool:
        if len(self._waiting) >= self.limit or self._bytes >= LARGE_MESSAGES * self._config.gateway.max_frame:
            return True
        return pace.wait_s(len(self._waiting), now, self.window) > self.backlog_s

    def put(self, call: Request | Call, now_ns: int, *, alone: bool = False) -> None:
        """Relay a call after all earlier ones; ``alone`` keeps others from being under way together with it."""
        if self._error is not None:
            return
        # The gateway signs its own calls, each time anew: their acceptance cannot be confirmed by sending them again.
        number = self._order.put(barrier=alone or isinstance(call, Call))
        route = Route(partial(self._order.troubled, number))
        size = size_of(call)
        queued = QueuedCall(number, call, now_ns, size, partial(self._begin, number), route)
        if self._waiting:
            self._waiting.append(queued)
        else:
            self._waiting = [queued]
        self._bytes += size
        self._advance(size)

    def drop(self) -> None:
        """Drop the waiting calls. Those under way go on."""
        self._order.clear()
        self._drop_waiting()
        self._advance()

    def _drop_waiting(self) -> None:
        self._waiting = ()
        self._holder.hold(-self._bytes)
        self._bytes = 0

    async def settled(self) -> None:
        """Wait until no call is under way."""
        # In a loop: the end of one call starts the next. By the tasks, which also end when they are cancelled.
        while tasks := [task for call in self._under_way.values() if (task := call.task) and not task.done()]:
            await asyncio.wait(tasks)

    # --- sending ----------------------------------------------------------------------------------------------------

    @property
    def _pace(self) -> Pace:
        queued = self._waiting[0] if self._waiting else next(iter(self._under_way.values()))
        return self._paces.of(queued.call.canister_id)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _advance(self, size: int = 0) -> None:
        """Send what may be sent, and see to it that the rest gets its turn. ``size`` is of a call that was put."""
        is_full = False
        if self._waiting:
            now, pace = asyncio.get_running_loop().time(), self._paces.of(self._waiting[0].call.canister_id)
            limit = pace.limit(now, self.window)
            while self._waiting and (sent := self._send_next(now, pace, limit)):
                size += sent  # once more: the body that is sent is a copy
            if size:
                self._holder.hold(size)
            if self._waiting:
                self._confirm(limit)
                is_full = self._is_full(now, pace)
                self._set_timer(now, pace, limit)
        if not self._waiting and self._timer is not None:
            self._stop_timer()
        if self.is_paused != is_full:
            self._throttle(is_full)

    def _send_next(self, now: float, pace: Pace, limit: int) -> int:
        """Send the next call if it may go. Returns its size, 0 if it waits."""
        # The gap is one to the call before: where none is under way, nobody has to compute it.
        number = self._order.send(now, gap_s=pace.gap_s if self._under_way else 0.0, limit=limit)
        if number is None:
            return 0
        waiting = list(self._waiting)
        queued = waiting.pop(0)
        self._waiting = waiting or ()
        self._bytes -= queued.size
        # Decoded only where calls may overlap: elsewhere nothing is learned from it, and costs time for each message.
        before, self._sequence = self._sequence, sequence_number(queued.call) if self.window > 1 else None
        queued.follows = before is None or self._sequence is None or self._sequence == before + 1
        # All that are under way together go to one endpoint: another may be further behind.
        queued.route.url = self._url if self._under_way else None
        queued.started_at = now
        if not self._under_way:
            self._under_way = {}
        self._under_way[number] = queued
        queued.task = self._tasks.start(self._relay(queued))
        return queued.size

    def _begin(self, number: int) -> None:
        self._under_way[number].is_sent = True
        if self._waiting:
            self._confirm(self._pace.limit(self._now(), self.window))

    def _confirm(self, limit: int) -> None:
        """Confirm the acceptance of the call that holds the others back, if it is sent; once."""
        if not self._waiting:
            return
        number = self._order.to_confirm(limit=limit)
        if number is None:
            return
        queued = self._under_way[number]
        if queued.is_sent and not queued.is_confirming:
            queued.is_confirming = True
            self._tasks.start(self._confirm_acceptance(queued))

    async def _confirm_acceptance(self, queued: QueuedCall) -> None:
        begun_at = self._now()
        if await self._peer.confirm(queued) and queued.number in self._under_way:
            self._url = queued.route.url
            self._pace.accepted(self._now() - begun_at)
            self._order.accepted(queued.number, self._now())
            self._advance()

    async def _relay(self, queued: QueuedCall) -> None:
        try:
            await self._peer.relay(queued)
        except Exception as error:  # whatever it is, it ends this client and no other
            self._failed(queued, error)
        else:
            took_s = asyncio.get_running_loop().time() - queued.started_at
            was_alone = self._order.settled(queued.number, was_executed=queued.is_executed)
            self._paces.of(queued.call.canister_id).settled(took_s, was_alone=was_alone)
            self._done(queued)

    def _failed(self, queued: QueuedCall, error: Exception) -> None:
        was_alone = self._order.was_alone(queued.number)  # before the window forgets the call
        self._order.failed(queued.number)
        self._drop_waiting()
        # Only an overlap of well numbered calls is the gateway's doing. A client that skips a number is refused in the
        # same words, and must not slow down the others of its canister.
        if (
            not was_alone
            and queued.follows
            and isinstance(error, CanisterRefused)
            and ABOUT_ORDER in error.text.lower()
        ):
            self._paces.lost_order(queued.call.canister_id, self._now())
            error = OrderLost(error.text)
        if self._error is None or isinstance(error, OrderLost):
            self._error = error
        self._done(queued)

    def _done(self, queued: QueuedCall) -> None:
        del self._under_way[queued.number]
        self._under_way = self._under_way or _NONE_UNDER_WAY
        self._holder.hold(-2 * queued.size)
        if self._error is not None and (self._is_final(self._error) or not self._under_way):
            self._peer.fail(self._error)
        self._advance()

    @staticmethod
    def _is_final(error: Exception) -> bool:
        # Where an order was lost, the canister refuses one call for its number, and the others of the client because it
        # is gone. Whichever of these answers comes first, the reason is in the one about the number.
        return not isinstance(error, CanisterRefused)

    # --- waiting ----------------------------------------------------------------------------------------------------

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, now: float, pace: Pace, limit: int) -> None:
        self._stop_timer()
        if not self._waiting:
            return
        until = now + (self._waiting[0].expires_ns - self._clock()) / 1e9
        due_at = self._order.due_at(gap_s=pace.gap_s, limit=limit)
        at = until if due_at is None else min(due_at, until)
        self._timer = asyncio.get_running_loop().call_at(at, self._tick)

    def _tick(self) -> None:
        head = next(iter(self._waiting))
        if head.expires_ns <= self._clock():
            # Behind a message that cannot be executed any more, the others are of no use.
            self._error = CallExpired(head.call.method_name, "it waited too long for the messages before it")
            self.drop()
            self._peer.fail(self._error)
        else:
            self._advance()

    def _throttle(self, is_full: bool) -> None:
        self.is_paused = is_full
        if is_full:
            self._peer.pause_reading()
        else:
            self._peer.resume_reading()
