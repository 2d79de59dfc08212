"""The scenarios: each sets up a load, measures a window of it, and says what it cost and what got lost."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from appliance.bench.generator import LoadRun, Schedule
from appliance.bench.histogram import Histogram
from appliance.bench.stage import Stage, canister

_CANISTER = canister(0)
_CONNECT_RATE = 200.0
_SETTLE_S = 0.5


@dataclass(frozen=True)
class Load:
    """How much: ``clients``, ``rate`` (messages a second of all of them together), ``seconds``, ``size`` (bytes of the
    application's content), and ``patience_s`` for the answers that are still due at the end."""

    clients: int = 50
    rate: float = 500.0
    seconds: float = 10.0
    size: int = 1000
    patience_s: float = 10.0


@dataclass
class Result:
    """What one scenario measured. Times in seconds, CPU is of the gateway's process alone and None where that is not
    known; ``unit`` says what ``done`` counts."""

    scenario: str
    unit: str
    offered: int = 0
    done: int = 0
    wall_s: float = 0.0
    gateway_cpu_s: float | None = None
    stub_cpu_s: float | None = None
    rss: int | None = None
    rss_per_session: float | None = None
    bytes: int = 0
    frames: int = 0
    lost: int = 0
    repeated: int = 0
    misrouted: int = 0
    verified: int = 0
    polls: int = 0
    closes: dict[str, int] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)
    note: str = ""

    @property
    def cpu_us(self) -> float | None:
        """CPU of the gateway for each one done, in microseconds."""
        return None if self.gateway_cpu_s is None or not self.done else self.gateway_cpu_s * 1e6 / self.done

    @property
    def cores(self) -> float | None:
        """Of the gateway, while it was measured."""
        return None if self.gateway_cpu_s is None or not self.wall_s else self.gateway_cpu_s / self.wall_s

    @property
    def is_right(self) -> bool:
        """Whether everything offered was done and nothing came twice, late in order, or to somebody else."""
        return not (self.lost or self.repeated or self.misrouted or self.closes) and self.done >= self.offered


Scenario = Callable[[Stage, Load], Awaitable[Result]]


@asynccontextmanager
async def _clients(stage: Stage, load: Load) -> AsyncIterator[LoadRun]:
    """Open sessions at one canister, left in the end."""
    run = LoadRun(stage.target, stage.verifier, seed=secrets.token_bytes(16))
    try:
        await run.connect([_CANISTER] * load.clients, rate=_CONNECT_RATE)
        await asyncio.sleep(_SETTLE_S)
        yield run
    finally:
        run.leave()
        await asyncio.sleep(_SETTLE_S)


@asynccontextmanager
async def _measured(stage: Stage, run: LoadRun, result: Result) -> AsyncIterator[None]:
    """What the block costs the gateway, and what its clients see meanwhile."""
    before, stub, facts = stage.usage, stage.stub_usage, await stage.order("facts")
    received, size, begun = run.tally.received, run.tally.bytes, time.perf_counter()
    yield
    result.wall_s = time.perf_counter() - begun
    after, stub_after, tally = stage.usage, stage.stub_usage, run.tally
    if before is not None and after is not None:
        result.gateway_cpu_s, result.rss = after.cpu_s - before.cpu_s, after.rss
    if stub is not None and stub_after is not None:
        result.stub_cpu_s = stub_after.cpu_s - stub.cpu_s
    result.polls = (await stage.order("facts"))["polls"] - facts["polls"]
    result.frames, result.bytes = tally.received - received, tally.bytes - size
    result.lost, result.repeated, result.misrouted = tally.lost, tally.repeated, tally.misrouted
    result.verified, result.latency, result.closes = tally.verified, tally.latency, dict(tally.closes)


async def echo(stage: Stage, load: Load) -> Result:
    """Each message is answered by one: up through a call, down through a poll."""
    result = Result("echo", "round trips")
    await stage.order("answers", answers="echo")
    async with _clients(stage, load) as run:
        frames = run.sign(_CANISTER, round(load.rate * load.seconds), load.size)
        result.offered = len(frames)
        async with _measured(stage, run, result):
            schedule = Schedule.soon(load.rate, load.seconds)
            run.due_of = lambda tail: schedule.due_ns(tail.number)
            await run.send(frames, schedule)
            await run.received(result.offered, patience_s=load.patience_s)
        result.done = result.frames
    return result


async def up(stage: Stage, load: Load) -> Result:
    """Messages of clients that the canister does not answer."""
    result = Result("up", "messages")
    await stage.order("answers", answers="sink")
    async with _clients(stage, load) as run:
        frames = run.sign(_CANISTER, round(load.rate * load.seconds), load.size)
        result.offered = len(frames)
        before = (await stage.order("facts"))["calls"]
        async with _measured(stage, run, result):
            await run.send(frames, Schedule.soon(load.rate, load.seconds))
            result.done = await _calls(stage, before + result.offered, load.patience_s) - before
    await stage.order("answers", answers="echo")
    return result


async def _calls(stage: Stage, wanted: int, patience_s: float) -> int:
    """Wait until the canister had so many calls; returns how many it had."""
    until = time.monotonic() + patience_s
    while (calls := int((await stage.order("facts"))["calls"])) < wanted and time.monotonic() < until:
        await asyncio.sleep(0.02)
    return calls


def down(per_poll: int, *, shared: bool) -> Scenario:
    """Messages of the canister that wait already, ``per_poll`` in each reply. With ``shared`` all replies have one
    certificate, which the gateway has verified before; otherwise each has its own."""

    async def scenario(stage: Stage, load: Load) -> Result:
        kind = "known certificate" if shared else "new certificates"
        result = Result(f"down {per_poll} a poll, {kind}", "messages")
        pages = max(1, round(load.rate * load.seconds) // per_poll)
        async with _clients(stage, load) as run:
            order: Mapping[str, Any] = {"pages": pages, "page_size": per_poll, "size": load.size, "shared": shared}
            answer = await stage.order("prepare", canister=str(_CANISTER), **order)
            result.offered = answer["messages"]
            async with _measured(stage, run, result):
                await stage.order("release", canister=str(_CANISTER), start_ns=0, interval_ns=0)
                await run.received(result.offered, patience_s=load.patience_s)
            result.done = result.frames
        return result

    return scenario


async def unsolicited(stage: Stage, load: Load) -> Result:
    """A canister that says something unasked, seldom: how long it takes to arrive while nothing else flows."""
    result = Result("unsolicited", "messages")
    async with _clients(stage, load) as run:
        schedule = Schedule.soon(load.rate, load.seconds)
        run.due_of = lambda tail: tail.due_ns
        result.offered = schedule.count
        async with _measured(stage, run, result):
            order = {"start_ns": schedule.start_ns, "interval_ns": schedule.interval_ns, "size": load.size}
            await stage.order("speak", canister=str(_CANISTER), count=schedule.count, **order)
            await asyncio.sleep(schedule.seconds)
            await run.received(result.offered, patience_s=load.patience_s)
        result.done = result.frames
    return result


async def idle_sessions(stage: Stage, load: Load) -> Result:
    """Sessions of one canister in which nothing happens: memory of each, and the CPU of all."""
    result = Result("idle sessions", "sessions")
    before = stage.usage
    async with _clients(stage, load) as run:
        result.offered = result.done = len(run.clients)
        async with _measured(stage, run, result):
            await asyncio.sleep(load.seconds)
        if before is not None and result.rss is not None:
            result.rss_per_session = (result.rss - before.rss) / len(run.clients)
    return result


async def idle_canisters(stage: Stage, load: Load) -> Result:
    """As many canisters as clients, with a session each, in which nothing happens: what polling all of them costs."""
    result = Result("idle canisters", "canisters")
    run = LoadRun(stage.target, stage.verifier, seed=secrets.token_bytes(16))
    try:
        await run.connect([canister(1 + number) for number in range(load.clients)], rate=_CONNECT_RATE)
        await asyncio.sleep(_SETTLE_S)
        result.offered = result.done = len(run.clients)
        async with _measured(stage, run, result):
            await asyncio.sleep(load.seconds)
    finally:
        run.leave()
    return result


async def connect_storm(stage: Stage, load: Load) -> Result:
    """Clients that come at a rate: how long each takes from its due time to the open session."""
    result = Result("connect storm", "sessions")
    run = LoadRun(stage.target, stage.verifier, seed=secrets.token_bytes(16))
    count = max(1, round(load.rate * load.seconds))
    result.offered = count
    try:
        async with _measured(stage, run, result):
            opening = await run.connect([_CANISTER] * count, rate=load.rate)
        result.done, result.latency = run.tally.opened, opening
    finally:
        run.leave()
    return result


async def slow_reader(stage: Stage, load: Load) -> Result:
    """One client of many stops reading: the others must not notice. It may be closed, with a code that says why."""
    result = Result("slow reader", "messages to the others")
    async with _clients(stage, load) as run:
        schedule = Schedule.soon(load.rate, load.seconds)
        slow = min(run.clients, key=lambda client: client.number)
        slow.transport.pause_reading()
        run.due_of = lambda tail: tail.due_ns
        listeners = len(run.clients)
        result.offered = sum(1 for number in range(schedule.count) if number % listeners)
        async with _measured(stage, run, result):
            order = {"start_ns": schedule.start_ns, "interval_ns": schedule.interval_ns, "size": load.size}
            await stage.order("speak", canister=str(_CANISTER), count=schedule.count, **order)
            await asyncio.sleep(schedule.seconds)
            await run.received(result.offered, patience_s=load.patience_s)
        result.done = result.frames
    return result
