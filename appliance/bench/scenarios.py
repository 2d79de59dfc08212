"""The scenarios: each makes a load, measures one window of it, and returns what was done and what it cost."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from functools import partial
from typing import Any

from appliance.bench.load.generator import LoadRun
from appliance.bench.load.schedule import Schedule
from appliance.bench.result import Load, Result
from appliance.bench.testbed import Testbed, canister
from appliance.ic.principal import Principal

_CANISTER = canister(0)
_CONNECT_RATE = 200.0
_SETTLE_S = 0.5
_WARM_UP_CLIENTS = 20

Scenario = Callable[[Testbed, Load], Awaitable[Result]]


@asynccontextmanager
async def _sessions(
    testbed: Testbed, load: Load, canisters: Sequence[Principal], *, rate: float = _CONNECT_RATE
) -> AsyncIterator[LoadRun]:
    """Open a session at each of these canisters, and leave in the end."""
    run = LoadRun(testbed.target, testbed.verifier, seed=testbed.client_seed())
    try:
        await run.connect(canisters, rate=rate, patience_s=load.patience_s)
        await asyncio.sleep(_SETTLE_S)
        yield run
    finally:
        run.leave()
        await asyncio.sleep(_SETTLE_S)


@asynccontextmanager
async def _measured(testbed: Testbed, run: LoadRun, result: Result) -> AsyncIterator[None]:
    """Add to the result what the block costs the gateway, and what its clients receive meanwhile."""
    gateway, stub, polls = testbed.usage, testbed.stub_usage, await _served(testbed, "polls")
    messages, size, begun = run.received.messages, run.received.bytes, time.perf_counter()
    yield
    result.wall_s = time.perf_counter() - begun
    gateway_after, stub_after, received = testbed.usage, testbed.stub_usage, run.received
    if gateway is not None and gateway_after is not None:
        result.cpu_s = gateway_after.cpu_s - gateway.cpu_s
        result.loop_cpu_s = gateway_after.loop_cpu_s - gateway.loop_cpu_s
        result.rss, result.threads = gateway_after.rss, gateway_after.threads
    if stub is not None and stub_after is not None:
        result.stub_cpu_s = stub_after.cpu_s - stub.cpu_s
    result.polls = await _served(testbed, "polls") - polls
    result.frames, result.bytes = received.messages - messages, received.bytes - size
    result.lost, result.repeated, result.misrouted = received.lost, received.repeated, received.misrouted
    result.verified, result.closes = received.verified, dict(received.closes)
    result.latency = deepcopy(received.latency)  # messages that arrive after the window are not part of it


async def _served(testbed: Testbed, name: str) -> int:
    return int((await testbed.command("served"))[name])


async def echo(testbed: Testbed, load: Load) -> Result:
    """Each message is sent back: up as a call, down as a message of a poll."""
    result = Result("", "round trips", load)
    await testbed.configure(load.block_s, "echo")
    async with _sessions(testbed, load, [_CANISTER] * load.clients) as run:
        frames = run.sign(_CANISTER, round(load.rate * load.seconds), load.size)
        result.offered = len(frames)
        async with _measured(testbed, run, result):
            schedule = Schedule.even(load.rate, load.seconds)
            run.due_of = lambda tail: schedule.due_ns[tail.number]
            await run.send(frames, schedule)
            await run.wait_for(result.offered, patience_s=load.patience_s)
        result.done = result.frames
    return result


async def up(testbed: Testbed, load: Load) -> Result:
    """Messages that the canister does not answer. Done is what the canister executed."""
    result = Result("", "messages", load)
    await testbed.configure(load.block_s, "none")
    async with _sessions(testbed, load, [_CANISTER] * load.clients) as run:
        frames = run.sign(_CANISTER, round(load.rate * load.seconds), load.size)
        result.offered = len(frames)
        before = await _served(testbed, "calls")
        async with _measured(testbed, run, result):
            await run.send(frames, Schedule.even(load.rate, load.seconds))
            result.done = await _executed(testbed, before + result.offered, load.patience_s) - before
            await asyncio.sleep(load.block_s + _SETTLE_S)  # the last replies are verified after the calls are executed
        result.wall_s -= load.block_s + _SETTLE_S
    return result


async def _executed(testbed: Testbed, wanted: int, patience_s: float) -> int:
    """Wait until the canisters have executed so many calls; returns how many they have."""
    until = time.monotonic() + patience_s
    while (calls := await _served(testbed, "calls")) < wanted:
        if time.monotonic() > until:
            return calls
        await asyncio.sleep(0.02)
    return calls


async def _down(testbed: Testbed, load: Load, *, per_poll: int, shared: bool) -> Result:
    """A backlog of messages, ``per_poll`` in each reply, delivered as fast as the gateway can.

    With ``shared`` all replies have one certificate, which the gateway verifies once; otherwise each has its own.
    """
    result = Result("", "messages", load)
    await testbed.configure(load.block_s, "none")
    async with _sessions(testbed, load, [_CANISTER] * load.clients) as run:
        order: dict[str, Any] = {"page_size": per_poll, "size": load.size, "shared": shared}
        order["pages"] = max(1, round(load.rate * load.seconds) // per_poll)
        result.offered = (await testbed.command("prepare", canister=str(_CANISTER), **order))["messages"]
        async with _measured(testbed, run, result):
            released_ns = time.monotonic_ns()
            run.due_of = lambda _: released_ns
            await testbed.command("release", canister=str(_CANISTER))
            await run.wait_for(result.offered, patience_s=load.patience_s)
        result.done = result.frames
        result.wall_s = (run.received.last_ns - run.received.first_ns) / 1e9  # without the wait for the next poll
    return result


async def unsolicited(testbed: Testbed, load: Load) -> Result:
    """The canister seldom sends a message by itself, and nothing else flows: how long it takes to arrive."""
    result = Result("", "messages", load, is_quiet=True)
    await testbed.configure(load.block_s, "none")
    async with _sessions(testbed, load, [_CANISTER] * load.clients) as run:
        run.due_of = lambda tail: tail.due_ns
        async with _measured(testbed, run, result):
            result.offered = await _sent_by_canister(testbed, load, run)
        result.done = result.frames
    return result


async def _sent_by_canister(testbed: Testbed, load: Load, run: LoadRun, *, expected: float = 1.0) -> int:
    """Have the canister send on a schedule and wait until this share of it has arrived; returns how many it sent."""
    schedule = Schedule.jittered(load.rate, load.seconds, load.seed)
    await testbed.command("send", canister=str(_CANISTER), size=load.size, due_ns=schedule.due_ns)
    await asyncio.sleep(schedule.left_s(time.monotonic_ns()))
    await run.wait_for(round(len(schedule) * expected), patience_s=load.patience_s)
    return len(schedule)


async def idle_sessions(testbed: Testbed, load: Load) -> Result:
    """Sessions of one canister in which nothing happens: memory of each, CPU of all."""
    return await _idle(testbed, load, [_CANISTER] * load.clients, Result("", "sessions", load, is_quiet=True))


async def idle_canisters(testbed: Testbed, load: Load) -> Result:
    """A session at each of many canisters, in which nothing happens: what polling all of them costs."""
    canisters = [canister(1 + number) for number in range(load.clients)]
    return await _idle(testbed, load, canisters, Result("", "canisters", load, is_quiet=True))


async def _idle(testbed: Testbed, load: Load, canisters: Sequence[Principal], result: Result) -> Result:
    await testbed.configure(load.block_s, "none")
    async with _sessions(testbed, load, [_CANISTER] * _WARM_UP_CLIENTS):
        pass  # what the first sessions allocate for good is not memory of a session
    before = testbed.usage
    async with _sessions(testbed, load, canisters, rate=load.rate) as run:
        result.offered = result.done = len(run.clients)
        async with _measured(testbed, run, result):
            await asyncio.sleep(load.seconds)
        if before is not None and result.rss is not None:
            result.rss_per_session = (result.rss - before.rss) / len(run.clients)
            result.note = f"{result.rss_per_session / 1024:.1f} KiB of memory a session"
    return result


async def connect_storm(testbed: Testbed, load: Load) -> Result:
    """Clients connect at a rate: how long each takes from its due time to the open session. ``clients`` is unused."""
    result = Result("", "sessions", load)
    await testbed.configure(load.block_s, "none")
    run = LoadRun(testbed.target, testbed.verifier, seed=testbed.client_seed())
    result.offered = max(1, round(load.rate * load.seconds))
    try:
        async with _measured(testbed, run, result):
            opening = await run.connect([_CANISTER] * result.offered, rate=load.rate, patience_s=load.patience_s)
        result.done, result.latency = run.received.opened, opening
    finally:
        run.leave()
        await asyncio.sleep(_SETTLE_S)
    return result


async def slow_reader(testbed: Testbed, load: Load) -> Result:
    """One client stops reading: the others must not notice. It is expected to be closed, with a code that says why."""
    result = Result("", "messages to the others", load)
    await testbed.configure(load.block_s, "none")
    async with _sessions(testbed, load, [_CANISTER] * (load.clients - 1)) as run:
        slow = await run.connect_slow(load.clients - 1, _CANISTER)
        slow.transport.pause_reading()
        run.due_of = lambda tail: tail.due_ns
        async with _measured(testbed, run, result):
            sent = await _sent_by_canister(testbed, load, run, expected=1 - 1 / load.clients)
        to_slow = len(range(load.clients - 1, sent, load.clients))  # it joined last, so each n-th message is its own
        result.offered, result.done = sent - to_slow, result.frames
        slow.transport.resume_reading()
        await asyncio.sleep(_SETTLE_S)
        result.note = f"the client that does not read was closed: {slow.close_reason or 'no'}"
    return result


SCENARIOS: dict[str, tuple[Scenario, Load]] = {
    "echo": (echo, Load(clients=50, rate=200, seconds=10)),
    "up-20": (up, Load(clients=50, rate=200, seconds=10)),
    "up-50": (up, Load(clients=50, rate=500, seconds=10)),
    "down-1": (partial(_down, per_poll=1, shared=True), Load(clients=50, rate=200, seconds=10)),
    "down-10": (partial(_down, per_poll=10, shared=True), Load(clients=50, rate=1000, seconds=10)),
    "down-50": (partial(_down, per_poll=50, shared=True), Load(clients=50, rate=5000, seconds=10)),
    "down-50-new": (partial(_down, per_poll=50, shared=False), Load(clients=50, rate=2000, seconds=10)),
    "down-200": (partial(_down, per_poll=200, shared=True), Load(clients=50, rate=5000, seconds=10)),
    "unsolicited": (unsolicited, Load(clients=20, rate=0.5, seconds=40, block_s=0.0)),
    "idle-sessions": (idle_sessions, Load(clients=2000, rate=200, seconds=10, patience_s=120)),
    "idle-canisters": (idle_canisters, Load(clients=1000, rate=100, seconds=10, patience_s=120)),
    "connect-storm": (connect_storm, Load(clients=0, rate=100, seconds=5)),
    "slow-reader": (slow_reader, Load(clients=10, rate=500, seconds=15, size=8000)),
}
"""By name: the scenario and its load. The number in a name is how many messages share a block (up) or a poll (down)."""

GATEWAY_SETTINGS: dict[str, dict[str, Any]] = {"slow-reader": {"gateway": {"outbox": 256 * 1024}}}
"""Settings of a gateway of our own that differ from the defaults in a scenario. The slow reader's outbox is smaller, so
that it overflows within the run: the kernel buffers up to 4 MiB before it (``net.ipv4.tcp_wmem``)."""


def select(names: Sequence[str]) -> list[str]:
    """Return the scenarios with these names or in these families (``down`` is every ``down-…``); all without names.

    Raises ValueError if there is none with a name.
    """
    chosen: list[str] = []
    for wanted in names or SCENARIOS:
        found = [name for name in SCENARIOS if name == wanted] or [
            name for name in SCENARIOS if name.startswith(f"{wanted}-")
        ]
        if not found:
            raise ValueError(f"there is no scenario {wanted!r}; there are {', '.join(SCENARIOS)}")
        chosen += [name for name in found if name not in chosen]
    return chosen


async def measure(name: str, testbed: Testbed, load: Load) -> Result:
    """Run a scenario with this load. Raises BenchFailed if it cannot be made."""
    result = await SCENARIOS[name][0](testbed, load)
    result.scenario = name
    return result
