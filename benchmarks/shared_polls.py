"""Calls of Python functions for each delivered message: of a node that takes what another one got, and of one that
polls for itself. Needs ``redis-server``.

``python -m benchmarks.shared_polls [never|always] [SCENARIO OPTIONS of icws bench …]``

The node runs in this process under cProfile; the stub IC, the node that asks, its client and the load have their own.
"""

import asyncio
import contextlib
import cProfile
import json
import logging
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import CodeType
from typing import Any

import structlog

from appliance.bench.testbed import canister, gateway_settings
from appliance.client import connect
from appliance.config.schema import Config
from appliance.service import serving

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:  # there are no wheels for every platform
    from asyncio import new_event_loop

LOAD = ["down-1", "--rate", "100", "--seconds", "4"]


@contextlib.asynccontextmanager
async def started(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that ends with this context."""
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def settings_of(folder: Path, stub: dict[str, Any], name: str, share_polls: str) -> dict[str, Any]:
    """The configuration of a node."""
    cluster = {"url": f"unix://{folder}/redis.sock", "node": name, "share_polls": share_polls, "timeout": "10s"}
    return gateway_settings(folder, stub, {"cluster": cluster})


async def asking(settings: str) -> None:
    """Run the node that asks, with a client of its own, until the input ends."""
    config = Config.model_validate(json.loads(settings))
    async with (
        serving(config) as service,
        connect(f"{service.listener.url}/v2", canister(0), network_url=config.network.url[0]),
    ):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def steady(number: Callable[[], int]) -> None:
    """Wait until a number is above 0 and the same for a second."""
    last = 0
    while not last or number() != last:
        last = number()
        await asyncio.sleep(1)


async def measure(mode: str, load: list[str]) -> None:
    """Print the calls for each message, and what became of the entries."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = ["redis-server", "--port", "0", "--unixsocket", f"{folder}/redis.sock", "--save", ""]
        await stack.enter_async_context(started(*redis))
        served = await stack.enter_async_context(started(sys.executable, "-m", "appliance.bench.stub", "0", "seed"))
        assert served.stdout is not None
        stub = json.loads(await served.stdout.readline())  # Redis listens by then
        command = [sys.executable, "-m", "benchmarks.shared_polls", "asking"]
        command.append(json.dumps(settings_of(folder, stub, "asking", mode)))
        other = await stack.enter_async_context(started(*command))
        assert other.stdout is not None
        while b"ready" not in (line := await other.stdout.readline()):
            assert line, "the node that asks did not start"
        config = Config.model_validate(settings_of(folder, stub, "following", mode))
        service = await stack.enter_async_context(serving(config))
        gateway = service.gateway
        target = ["--target", service.listener.url, "--principal", str(gateway.principal), "--stub", stub["url"]]
        profile = cProfile.Profile(builtins=False)
        bench = await stack.enter_async_context(started(sys.executable, "-m", "appliance.cli", "bench", *load, *target))
        assert bench.stdout is not None
        counters = gateway.counters
        await steady(lambda: counters.joined)  # the clients have connected
        before, polls = counters.delivered, counters.polls
        profile.enable()
        await steady(lambda: counters.delivered - before)
        profile.disable()
        done = gateway.counters.delivered - before
        calls = sum(each.callcount for each in profile.getstats() if isinstance(each.code, CodeType))
        node: Any = gateway.nodes
        print(f"{mode:7} {' '.join(load)}: {calls / done:.1f} calls a message, {done} messages, ", end="")
        print(f"{gateway.counters.polls - polls} polls, {dict(node.polls.roles)}, {dict(node.polls.counts)}")
        if "--where" in sys.argv:
            top = sorted(profile.getstats(), key=lambda each: -each.callcount)[:45]
            for each in top:
                print(f"{each.callcount / done:8.2f} {each.code}")


def main() -> None:
    """Run it."""
    what, *rest = [each for each in sys.argv[1:] if each != "--where"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(asking(rest[0]) if what == "asking" else measure(what, rest or LOAD))


if __name__ == "__main__":
    main()
