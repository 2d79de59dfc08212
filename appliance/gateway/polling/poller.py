"""Asks one canister for messages, for all of its members, as long as there are any."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import structlog

from appliance.config.schema import Polling
from appliance.crypto import CandidTypes, PollReply
from appliance.errors import CanisterForgot, GatewayError, IcUnreachable
from appliance.gateway.hub import Member
from appliance.gateway.ic import Source
from appliance.gateway.polling.queue_position import Cursor
from appliance.gateway.polling.replies import Replies
from appliance.gateway.polling.schedule import Pace, WakeUp
from appliance.gateway.recording.event_bus import EventBus
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.recording.recorder import Recorder
from appliance.gateway.recording.timeline import NOTHING, Polled
from appliance.ic.principal import Principal
from appliance.protocol.session import Generation

_log = structlog.get_logger(__name__)
_ARG = CandidTypes("(record {nonce: nat64})")

FIRST_PROBE = 2
LAST_PROBE = 256
"""After how many empty replies, while an accepted client gets nothing, what may be its first is asked for again; twice
as many each time."""


@dataclass(frozen=True, slots=True)
class PollerFacts:
    """What is known of a poller. ``last_good_ns`` is when the last poll went well (ns since 1970), ``wait_s`` the time
    between two polls at the moment, ``polls`` and ``delivered`` count since it began.
    """

    state: Literal["ok", "degraded", "paused"]
    next_nonce: int
    last_good_ns: int | None
    wait_s: float
    failures: int
    polls: int
    delivered: int
    last_error: str | None


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
        cursor: Cursor,
        polling: Polling,
        counters: Counters,
        wake_up: WakeUp,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], int] = time.time_ns,
        recorder: Recorder | None = None,
        event_bus: EventBus | None = None,
        answers_with_end: bool = False,
    ) -> None:
        """``clock`` is nanoseconds since 1970. ``answers_with_end``: the canister answers nonce 0 with the end of its
        queue, as those of v1 do.
        """
        self.canister_id = canister_id
        self.pace = Pace(polling)
        self.state: Literal["ok", "degraded"] = "ok"
        self.last_error: Exception | None = None
        self._generation = generation
        self._source = source
        self._replies = replies
        self._members = members
        self._cursor = cursor
        self._counters = counters
        self._wake_up = wake_up
        self._jitter = jitter
        self._clock = clock
        self._recorder = recorder or Recorder()
        self._event_bus = event_bus or EventBus(clock)
        self._number = self._asked_ns = self._came_ns = 0
        self._last_good_ns: int | None = None
        self._polls = 0
        self._delivered = 0
        self._expecting: dict[bytes, int] = {}
        self._empty = 0
        self._probe_at = FIRST_PROBE
        self._waiters: list[asyncio.Future[None]] = []
        self._has_ended = False
        self._may_poll = asyncio.Event()
        self._may_poll.set()
        self._answers_with_end = answers_with_end
        self._first_message = asyncio.Lock()
        cursor.joining = True

    def nudge(self) -> None:
        """Something was sent to the canister: poll at once, unless polls fail at the moment."""
        if not self.pace.failures:
            self._wake_up.set()

    @asynccontextmanager
    async def opening(self) -> AsyncIterator[None]:
        """Make the opening call of a client in here, so that its first message cannot be missed.

        Where nonce 0 is answered with the end of the queue, the queue is looked at before; and while it is still empty
        calls are made one by one, each until its messages were polled, since message 0 cannot be asked for later.
        """
        cursor = self._cursor
        if not self._answers_with_end or cursor.next_nonce:
            yield
            return
        if not cursor.was_empty:
            await self._polled()
        async with self._first_message:
            is_first = not cursor.next_nonce
            if is_first:
                yield
                await self._polled()
        if not is_first:
            yield

    @property
    def facts(self) -> PollerFacts:
        """What is known of it now."""
        return PollerFacts(
            state="paused" if self.is_paused else self.state,
            next_nonce=self._cursor.next_nonce,
            last_good_ns=self._last_good_ns,
            wait_s=self.pace.wait_s,
            failures=self.pace.failures,
            polls=self._polls,
            delivered=self._delivered,
            last_error=None if self.last_error is None else str(self.last_error),
        )

    @property
    def is_paused(self) -> bool:
        """Whether it does not ask at the moment, because it was told so."""
        return not self._may_poll.is_set()

    def follow(self, polling: Polling) -> None:
        """Keep another pace from now on."""
        if polling != self.pace.polling:
            self.pace = Pace(polling, min(self.pace.wait_s, polling.max_interval), self.pace.failures)
            self._wake_up.set()

    def pause(self) -> None:
        """Ask no more until `resume`. A poll that is under way goes on."""
        self._may_poll.clear()
        self._event_bus.publish("canister.state", canister=str(self.canister_id), state="paused", cause=None)
        _release(self._waiters)

    def resume(self) -> None:
        """Ask again, at once."""
        self._may_poll.set()
        self._event_bus.publish("canister.state", canister=str(self.canister_id), state=self.state, cause=None)
        self._wake_up.set()

    async def _polled(self) -> None:
        self.nudge()
        await self.drained()

    def expect(self, client_key: bytes, nonce: int) -> None:
        """The canister accepted this client, and a first message with this nonce or a later one is due."""
        self._expecting[client_key] = nonce

    def expect_no_more(self, client_key: bytes) -> None:
        """The client got something, or left."""
        self._expecting.pop(client_key, None)
        if not self._expecting:
            self._empty, self._probe_at = 0, FIRST_PROBE

    async def drained(self) -> None:
        """Wait until a poll that begins from now on came to the end of the queue, or failed, or polling ended or was
        paused.
        """
        if self._has_ended or self.is_paused:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def end(self) -> None:
        """Nobody polls any more: who waits for a poll need not."""
        self._has_ended = True
        _release(self._waiters)

    async def run(self) -> None:
        """Poll until cancelled. Nothing that goes wrong ends it."""
        try:
            while True:
                if await self._wake_up.wait(self.pace.wait_s):
                    self.pace = self.pace.nudged()
                if self.is_paused:
                    await self._may_poll.wait()
                    continue
                await self.poll()
        finally:
            self.end()

    async def poll(self) -> None:
        """Ask once, deliver what came, and set the pace."""
        waiters, self._waiters = self._waiters, []
        drained = True
        try:
            drained = await self._poll()
        except Exception as error:  # members must not lose their poller to whatever it is
            self._failed(error)
        finally:
            if drained:
                _release(waiters)
            else:
                self._waiters = waiters + self._waiters

    async def _poll(self) -> bool:
        reply = await self._ask_whole(self._cursor.next_nonce)
        fresh = self._deliver(reply)
        if not fresh and self._expecting:
            await self._suspect()
        self._recovered()
        drained = reply.is_end_of_queue or not fresh
        self.pace = self.pace.after(polled=fresh, drained=drained)
        return drained

    async def _ask(self, nonce: int) -> PollReply:
        self._counters.polls += 1
        self._polls += 1
        self._number, self._asked_ns = self._counters.polls, self._clock()
        reply = await self._source.query(
            self.canister_id,
            "ws_get_messages",
            _ARG.encode({"nonce": nonce}),
            timeout_s=self.pace.polling.timeout,
            avoid_last_endpoint=self.pace.failures > 0,
        )
        self._came_ns = self._clock()
        return await self._replies.open(reply, self.canister_id, self._generation)

    async def _ask_whole(self, nonce: int) -> PollReply:
        """Ask so that the beginning of a new queue is not left out."""
        reply = await self._ask(nonce)
        return await self._ask(1) if self._cursor.skipped(reply) else reply

    def _deliver(self, reply: PollReply) -> int:
        """Pass the messages on that are new; returns how many they were."""
        counters, take, expecting = self._counters, self._cursor.take, self._expecting
        members = self._members()
        fresh = gaps = delivered = 0
        polled = self._record(reply) if reply.messages else NOTHING
        for message in reply.messages:
            nonce = message.nonce
            verdict = take(message)
            if verdict == "repeated":
                counters.repeated += 1
                continue
            gaps += verdict == "gap"
            fresh += 1
            key = message.client_key
            member = members.get(key)
            if member is None:
                counters.undeliverable += 1
                continue
            if expecting and nonce >= expecting.get(key, nonce):
                self.expect_no_more(key)
            member.deliver(message.frame, nonce, polled)
            delivered += 1
        counters.delivered += delivered
        self._delivered += delivered
        if delivered:
            self._recorder.latency.polled_to_written.observe(self._clock() - self._came_ns, delivered)
        if fresh:
            self._cursor.time_ns = max(self._cursor.time_ns, reply.time_ns or 0)
        if gaps:
            counters.gaps += gaps
            _log.warning("messages are missing", canister=str(self.canister_id), gaps=gaps)
        return fresh

    def _record(self, reply: PollReply) -> Polled:
        return self._recorder.polled(
            self.canister_id, self._number, reply, asked_ns=self._asked_ns, came_ns=self._came_ns, now_ns=self._clock()
        )

    async def _suspect(self) -> None:
        """An accepted client gets nothing: see whether the canister forgot its queue, and us behind its end."""
        self._empty += 1
        nonce = min(self._expecting.values())
        if self._empty < self._probe_at or nonce >= self._cursor.next_nonce:
            return
        self._empty, self._probe_at = 0, min(2 * self._probe_at, LAST_PROBE)
        self._counters.probes += 1
        if self._cursor.begins_anew(await self._ask(nonce), self._expecting):
            await self._restart(nonce)

    async def _restart(self, nonce: int) -> None:
        self._counters.resets += 1
        _log.warning("canister restarted its queue", canister=str(self.canister_id))
        members = self._members().items()
        for member in [member for key, member in members if member.is_open and key not in self._expecting]:
            member.fail(CanisterForgot(str(self.canister_id)))
        self._cursor.restart(nonce)
        self._deliver(await self._ask_whole(nonce))
        self._wake_up.set()

    def _recovered(self) -> None:
        if self.state == "degraded":
            _log.info("polling works again", canister=str(self.canister_id))
            self._event_bus.publish("canister.state", canister=str(self.canister_id), state="ok", cause=None)
        self.state, self.last_error = "ok", None
        self._last_good_ns = self._clock()

    def _failed(self, error: Exception) -> None:
        retry_after_s = error.retry_after_s if isinstance(error, IcUnreachable) else None
        self.pace = self.pace.failed(jitter=self._jitter(), retry_after_s=retry_after_s)
        self._counters.failed_polls[error.reason if isinstance(error, GatewayError) else "internal"] += 1
        if not isinstance(error, GatewayError):
            _log.error("polling failed", canister=str(self.canister_id), exc_info=error)
        elif self.state == "ok":
            _log.warning("polling is degraded", canister=str(self.canister_id), cause=str(error))
        if self.state == "ok":
            self._event_bus.publish(
                "canister.state", canister=str(self.canister_id), state="degraded", cause=str(error)
            )
        self.state, self.last_error = "degraded", error


def _release(waiters: "list[asyncio.Future[None]]") -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
