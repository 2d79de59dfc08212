"""Polls one canister for the messages of all its members, as long as it has any."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Literal

import structlog

from appliance.config.schema import CanisterPolling
from appliance.errors import GatewayError, IcUnreachable
from appliance.gateway.hub import Member
from appliance.gateway.ic import Source
from appliance.gateway.polling.budget import PollBudget
from appliance.gateway.polling.deliveries import Deliveries
from appliance.gateway.polling.following import Following
from appliance.gateway.polling.heartbeat import Heartbeat
from appliance.gateway.polling.poller_facts import PollerFacts
from appliance.gateway.polling.queue_position import Ask, QueuePosition, Restarted, Taken
from appliance.gateway.polling.reader import QueueReader
from appliance.gateway.polling.replies import Replies
from appliance.gateway.polling.schedule import NO_BACKOFF, Pace, WakeUp
from appliance.gateway.recording.event_bus import EventBus
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.recording.recorder import Recorder
from appliance.gateway.recording.timeline import NO_POLL, PollRecord
from appliance.gateway.sharing import Share, Unshared, unshared
from appliance.ic.principal import Principal
from appliance.protocol.session import Generation

_log = structlog.get_logger(__name__)
TOO_LARGE_SHOWN_NS = 300 * 10**9
"""How long a canister counts as degraded after a part of its queue had to be passed: what wrote so much is likely to
write again."""

HANGING_NS = 1500 * 10**6
"""A poll that takes so long keeps this node from polling for others: they would wait for it, too."""
OUTAGE_NS = 60 * 10**9
"""Without a good poll for so long, canisters may have deleted acknowledgements that nobody read."""


class Poller:
    """The poller of one canister. ``state`` is ``degraded`` while polls fail, for the reason in ``last_error``."""

    def __init__(
        self,
        canister_id: Principal,
        generation: Generation,
        *,
        source: Source,
        replies: Replies,
        members: Callable[[], Mapping[bytes, Member]],
        position: QueuePosition,
        polling: CanisterPolling,
        budget: PollBudget,
        heartbeat: Heartbeat,
        counters: Counters,
        wake_up: WakeUp,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], int] = time.time_ns,
        recorder: Recorder | None = None,
        event_bus: EventBus | None = None,
        zero_is_end: bool = False,
        share: Share = unshared,
    ) -> None:
        """``clock`` is nanoseconds since 1970. ``zero_is_end``: the canister answers nonce 0 with the end of its queue,
        as those of v1 do. ``share`` is how the polls are shared with other nodes.
        """
        self.canister_id = canister_id
        self.pace = Pace(polling)
        self.backoff = NO_BACKOFF
        self.state: Literal["ok", "degraded"] = "ok"
        self.last_error: Exception | None = None
        self._generation = generation
        self._position = position
        heartbeat.acknowledges = generation != 0
        self._deliveries = Deliveries(
            canister_id,
            members,
            position,
            counters=counters,
            heartbeat=heartbeat,
            max_silence_s=lambda: self.pace.polling.max_silence,
            clock=clock,
        )
        self._reader = QueueReader(
            canister_id,
            generation,
            source=source,
            replies=replies,
            position=position,
            budget=budget,
            counters=counters,
            clock=clock,
            timeout_s=lambda: self.pace.polling.timeout,
            missed=self._deliveries.missed,
        )
        self._budget = budget
        self._counters = counters
        self._wake_up = wake_up
        self._jitter = jitter
        self._clock = clock
        self._recorder = recorder or Recorder()
        self._event_bus = event_bus or EventBus(clock)
        self._begun_ns = self._failed_ns = self._active_ns = 0
        self._last_good_ns: int | None = None
        self._delivered = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._has_ended = self._has_more = False
        self.is_paused = False
        """Whether an operator paused it."""
        self._may_poll = asyncio.Event()
        self._opening = asyncio.Lock()
        position.begin(zero_is_end=zero_is_end, greets=generation != 0)
        self._shared = share(canister_id, self)
        self._reader.keeps_answers = not isinstance(self._shared, Unshared)
        self._following = Following(self._shared, self._reader, position, self._deliveries, self._deliver)

    def nudge(self) -> None:
        """Something was sent to the canister: poll at once, unless polls fail at the moment, or another node polls. It
        shortens a wait and changes nothing else.
        """
        self._active_ns = self._clock()
        if self.backoff.failures or self._follows:
            return
        if self._budget.hurry(self):
            self.pace = self.pace.nudged()
        else:
            self._wake_up.set()

    @asynccontextmanager
    async def opening(self) -> AsyncIterator[None]:
        """Make the opening call of a client inside this context, so that its first message cannot be missed: in the
        order that `QueuePosition` demands, and with polls that can distinguish a new queue from the old one.
        """
        position = self._position
        position.opening_began()
        try:
            if position.must_poll_first():
                await self._poll_to_end()
            if not position.opens_one_by_one():
                yield
                return
            async with self._opening:
                # Asked again: the opening before may have moved the queue past its beginning. Then this one needs no
                # turn of its own, and is made outside of the lock, beside others.
                if is_alone := position.opens_one_by_one():
                    yield
                    await self._poll_to_end()
            if not is_alone:
                yield
        finally:
            position.opening_ended()

    @property
    def facts(self) -> PollerFacts:
        """The state of the poller for metrics and the API."""
        return PollerFacts(
            state="paused" if self.is_paused else self.state,
            next_nonce=self._position.next_nonce,
            last_good_ns=self._last_good_ns,
            wait_s=self.backoff.wait_s or self.pace.wait_s,
            failures=self.backoff.failures,
            polls=self._reader.polls,
            delivered=self._delivered,
            last_error=None if self.last_error is None else str(self.last_error),
        )

    def follow(self, polling: CanisterPolling) -> None:
        """Apply another configuration of polling."""
        if polling != self.pace.polling:
            self.pace = Pace(polling, min(self.pace.wait_s, polling.max_interval))
            self.backoff = replace(self.backoff, wait_s=min(self.backoff.wait_s, polling.max_backoff))
            self._wake_up.set()

    def pause(self) -> None:
        """Do not poll until `resume`. A poll that is under way is finished."""
        self.is_paused = True
        self._may_poll.clear()
        self._event_bus.publish("canister.state", canister=str(self.canister_id), state="paused", cause=None)
        _release(self._waiters)

    def resume(self) -> None:
        """Poll again, at once."""
        self.is_paused = False
        self._may_poll.set()
        self._deliveries.polls_resumed()
        self._event_bus.publish("canister.state", canister=str(self.canister_id), state=self.state, cause=None)
        self._wake_up.set()

    async def _poll_to_end(self) -> None:
        self.nudge()
        await self.drained()

    def expect(self, client_key: bytes, nonce: int) -> None:
        """The canister accepted this client: its first message is due, with this nonce or a higher one."""
        self._position.accepted(client_key, nonce)
        self._deliveries.accepted(client_key)

    def expect_no_more(self, client_key: bytes) -> None:
        """The client left."""
        self._position.left(client_key)
        self._deliveries.left(client_key)

    def forgotten(self, client_keys: Iterable[bytes]) -> None:
        """Close clients that the canister does not know any more, as it has certified."""
        self._deliveries.forgotten(client_keys)

    async def drained(self) -> None:
        """Wait until a poll that begins from now on reached the end of the queue. Returns too when one failed, and when
        polling is paused or ended.
        """
        if self._has_ended or self.is_paused:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        if self._shared.is_followed:
            self._wake_up.set()
        await waiter

    def end(self) -> None:
        """Polling ended: release everybody who waits for a poll."""
        self._has_ended = True
        self._shared.close()
        self._reader.end()
        self._budget.leave(self)
        _release(self._waiters)

    async def run(self) -> None:
        """Poll until cancelled. Nothing that goes wrong ends it."""
        try:
            while True:
                if await self._wake_up.wait(self._left_s()):
                    self.pace = self.pace.nudged()
                if self._follows and await self._follow():
                    continue
                await self._budget.turn(self, is_active=self.pace.is_active)
                if self.is_paused:  # here, since that may begin while this waits; `continue` takes a turn of its own
                    await self._may_poll.wait()
                    continue
                await self.poll()
        finally:
            self.end()

    @property
    def demand(self) -> float:
        """See SharingPoller. The time since something came or was sent is about what `Pace` waits."""
        polling, idle_s = self.pace.polling, (self._clock() - self._active_ns) / 1e9
        return 0.0 if self.is_paused else 1 / min(max(idle_s, polling.min_interval), polling.max_interval)

    @property
    def can_hold(self) -> bool:
        """See SharingPoller."""
        if self._last_good_ns is None or self.backoff.failures or self.is_paused:
            return False
        is_polling = self._begun_ns > self._last_good_ns
        return not is_polling or self._clock() - self._begun_ns < HANGING_NS

    def shared_changed(self) -> None:
        """See SharingPoller."""
        # What cannot be taken shortens no wait, and nothing shortens a back-off.
        if self._follows or not (self.backoff.failures or self._shared.is_followed):
            self._wake_up.set()

    @property
    def _follows(self) -> bool:
        """Whether what another node gets is enough here."""
        # Where nothing is shared it ends here: this is asked a few times for each poll.
        return self._shared.is_followed and self._following.is_enough and not self._waiters and not self.is_paused

    @property
    def _asks_at_ns(self) -> int:
        """When the canister is asked although another node polls it."""
        if self.backoff.failures:
            return self._failed_ns + round(self.backoff.wait_s * 1e9)
        wait_s = self._following.wait_s(self.pace.polling.min_interval)
        return self._begun_ns + round((min(wait_s, self.pace.wait_s) if self._has_more else wait_s) * 1e9)

    async def _follow(self) -> bool:
        """Take what another node got. Returns whether that is all for now."""
        await self._following.take(is_alone=self.backoff.failures > 0)
        return self._follows and self._clock() < self._asks_at_ns

    def _left_s(self) -> float:
        """Seconds until the next poll."""
        if self._follows:
            return max(0.0, (self._asks_at_ns - self._clock()) / 1e9)
        if self.backoff.failures:
            return self.backoff.wait_s
        return max(0.0, self.pace.wait_s - max(0.0, (self._clock() - self._begun_ns) / 1e9))

    async def poll(self) -> None:
        """Poll once, deliver the new messages, and set the pace."""
        waiters, self._waiters = self._waiters, []
        self._begun_ns = self._clock()
        self._shared.asks()
        drained = True
        try:
            drained = await self._poll()
        except Exception as error:  # members must not lose their poller to whatever it is
            self._failed(error)
        finally:
            # Whoever pauses or ends polling meanwhile finds no waiter in the list; no further poll would release them.
            if drained or self.is_paused or self._has_ended:
                _release(waiters)
            else:
                self._waiters = waiters + self._waiters

    async def _poll(self) -> bool:
        position = self._position
        ask = position.next_ask()
        decision, page = await self._reader.read(ask)
        while not isinstance(decision, Taken):
            self._budget.charge()
            if isinstance(decision, Restarted):
                self._deliveries.restarted(decision)
                self._shared.restarted()
                self._wake_up.set()  # the new queue may be long
                ask = position.next_ask()
            elif isinstance(decision, Ask):
                ask = decision
            # What is missing is asked for again: the next endpoint may have it.
            decision, page = await self._reader.read(ask)
        self._deliver(decision, page.time_ns)
        drained = page.is_end_of_queue or not decision.messages
        # Before v2 a page does not say that there is more.
        self._has_more = bool(decision.messages) and not (drained and self._generation == 2)
        poll = self._reader.latest
        answer, poll.answer = poll.answer, None
        answer = answer if decision.messages else None
        self._shared.asked(position.next_nonce, answer, is_plain=page.is_whole, has_more=self._has_more)
        if not self._has_more:
            self._deliveries.reached_end()
        self._recovered()
        if drained:
            self._deliveries.close_silent()
        self.pace = self.pace.after(polled=len(decision.messages), drained=drained)
        return drained

    def _deliver(self, taken: Taken, certified_ns: int | None) -> None:
        """Pass the new messages on to their clients."""
        delivered = self._deliveries.deliver(taken, self._record(taken) if taken.messages else NO_POLL, certified_ns)
        self._delivered += delivered
        if delivered:
            self._active_ns = self._clock()
            self._recorder.written(self.canister_id, delivered, self._clock() - self._reader.latest.received_ns)

    def _record(self, taken: Taken) -> PollRecord:
        poll = self._reader.latest
        return self._recorder.polled(
            self.canister_id,
            poll.number,
            taken.messages,
            asked_ns=poll.asked_ns,
            came_ns=poll.received_ns,
            now_ns=self._clock(),
        )

    def _recovered(self) -> None:
        last_good_ns, now_ns = self._last_good_ns, self._clock()
        if last_good_ns is None or now_ns - last_good_ns > OUTAGE_NS:
            self._deliveries.polls_resumed()
        self.backoff = NO_BACKOFF
        self._last_good_ns = now_ns
        if (passed := self._reader.too_large) is not None and now_ns - passed[1] < TOO_LARGE_SHOWN_NS:
            self._degrade(passed[0])
            return
        if self.state == "degraded":
            _log.info("polling works again", canister=str(self.canister_id))
            self._event_bus.publish("canister.state", canister=str(self.canister_id), state="ok", cause=None)
        self.state, self.last_error = "ok", None

    def _failed(self, error: Exception) -> None:
        retry_after_s = error.retry_after_s if isinstance(error, IcUnreachable) else None
        self._failed_ns = self._clock()
        self.backoff = self.backoff.failed(self.pace.polling, jitter=self._jitter(), retry_after_s=retry_after_s)
        self._counters.failed_polls[error.reason if isinstance(error, GatewayError) else "internal"] += 1
        self._recorder.poll_failed(self.canister_id)
        if not isinstance(error, GatewayError):
            _log.error("polling failed", canister=str(self.canister_id), exc_info=error)
        self._degrade(error)

    def _degrade(self, error: Exception) -> None:
        if self.state == "ok":
            _log.warning("polling is degraded", canister=str(self.canister_id), cause=str(error))
            self._event_bus.publish(
                "canister.state", canister=str(self.canister_id), state="degraded", cause=str(error)
            )
        self.state, self.last_error = "degraded", error


def _release(waiters: "list[asyncio.Future[None]]") -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
