"""The load: clients that connect at a rate, and messages that are sent at the times of a schedule fixed ahead.

The schedule is open: a message is due when it is due, however slow the answers are, and its latency counts from then.
A closed loop would send less while the gateway is slow, and so leave out the very moments that matter.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from appliance.bench.client import Latency, LoadClient, Tally
from appliance.bench.histogram import Histogram
from appliance.bench.stage import BenchFailed, Target
from appliance.bench.wire import LoadIdentity, Tail, message_frame, opening_frame
from appliance.crypto import Verifier
from appliance.ic.principal import Principal

_TICK_S = 0.001
_LEAD_NS = 50_000_000
"""Between deciding on a schedule and its first message."""


@dataclass(frozen=True)
class Schedule:
    """``count`` events, one each ``interval_ns``, from ``start_ns`` of the monotonic clock on."""

    start_ns: int
    interval_ns: int
    count: int

    @staticmethod
    def soon(rate: float, seconds: float) -> "Schedule":
        """At a rate (per second) for so long, from now on."""
        return Schedule(time.monotonic_ns() + _LEAD_NS, round(1e9 / rate), max(1, round(rate * seconds)))

    def due_ns(self, number: int) -> int:
        """When an event is due."""
        return self.start_ns + number * self.interval_ns

    def due_by(self, now_ns: int) -> int:
        """How many are due by now."""
        if now_ns < self.start_ns:
            return 0
        return min(self.count, (now_ns - self.start_ns) // self.interval_ns + 1)

    @property
    def seconds(self) -> float:
        """From the first to the last."""
        return self.count * self.interval_ns / 1e9


class LoadRun:
    """The clients of one run and what they see. ``due_of`` is set by the scenario."""

    def __init__(self, target: Target, verifier: Verifier, *, seed: bytes) -> None:
        self.tally = Tally()
        self.verifier = verifier
        self.due_of: Latency = lambda _: None
        self.sampled_at_ns = 0
        self.clients: list[LoadClient] = []
        self._target = target
        self._seed = seed

    def identity(self, number: int) -> LoadIdentity:
        """The client with this number."""
        return LoadIdentity(self._seed, number)

    def opening(self, client: LoadIdentity, canister_id: Principal) -> bytes:
        """As client.Run."""
        return opening_frame(client, canister_id, self._target.principal, time.time_ns())

    async def connect(self, canisters: Sequence[Principal], *, rate: float, patience_s: float = 60.0) -> Histogram:
        """A client for each of these canisters, so many a second; returns how long each took to open, from when it
        was due. Raises BenchFailed where one does not get in."""
        schedule = Schedule.soon(rate, len(canisters) / rate)
        opening, begun = Histogram(), len(self.clients)
        tasks = []
        for number, canister_id in enumerate(canisters):
            await _until(schedule.due_ns(number))
            tasks.append(asyncio.create_task(self._open(begun + number, canister_id, schedule.due_ns(number), opening)))
        done, waiting = await asyncio.wait(tasks, timeout=patience_s)
        for task in waiting:
            task.cancel()
        problems = [task.exception() for task in done if task.exception() is not None]
        if waiting or problems:
            reason = self.tally.closes or problems[:1] or f"no answer within {patience_s:g} s"
            raise BenchFailed(f"{len(waiting) + len(problems)} of {len(tasks)} clients did not get in: {reason}")
        return opening

    async def _open(self, number: int, canister_id: Principal, due_ns: int, opening: Histogram) -> None:
        parts = urlsplit(self._target.url)
        host, port = parts.hostname or "127.0.0.1", parts.port or 80
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(
            lambda: LoadClient(self, self.identity(number), canister_id, f"{host}:{port}", parts.path or "/"),
            host,
            port,
        )
        self.clients.append(client)
        await client.opened
        opening.record(time.monotonic_ns() - due_ns)

    def sign(self, canister_id: Principal, count: int, size: int) -> list[bytes]:
        """``count`` messages of the clients in turn, signed ahead, as frames."""
        clients, now_ns = len(self.clients), time.time_ns()
        return [
            message_frame(
                self.identity(number % clients),
                canister_id,
                number // clients + 1,
                Tail(number, 0).content(size),
                now_ns,
            )
            for number in range(count)
        ]

    async def send(self, frames: Sequence[bytes], schedule: Schedule) -> None:
        """Send each frame by its client when it is due."""
        senders = sorted(self.clients, key=lambda client: client.number)
        sent = 0
        while sent < len(frames):
            due = schedule.due_by(time.monotonic_ns())
            for number in range(sent, due):
                senders[number % len(senders)].send(frames[number])
            sent = max(sent, due)
            await asyncio.sleep(_TICK_S)

    async def received(self, count: int, *, patience_s: float) -> None:
        """Wait until so many messages arrived, or for so long after the last one."""
        seen, since = self.tally.received, time.monotonic()
        while self.tally.received < count and time.monotonic() - since < patience_s:
            await asyncio.sleep(0.005)
            if self.tally.received != seen:
                seen, since = self.tally.received, time.monotonic()

    def leave(self) -> None:
        """Close every client that is still there."""
        for client in self.clients:
            if not client.is_leaving:
                client.leave()


async def _until(due_ns: int) -> None:
    left_s = (due_ns - time.monotonic_ns()) / 1e9
    if left_s > _TICK_S:
        await asyncio.sleep(left_s)
