"""Echoes through a gateway by another load generator than our own: clients of the published ic-websocket-js in Node.

``python -m benchmarks.sdk`` measures ``icws bench echo`` and the same load by these clients in turn, each with a stub
IC and a gateway of its own, and prints the CPU of the gateway's process for each echo, and their ratio. The SDK
verifies the certificate of each message in JavaScript, which takes Node tens of milliseconds: the rate is low. At such
a rate a message seldom shares a certificate or a poll, so that an echo costs the gateway more than at 200 a second.
"""

import argparse
import asyncio
import json
from pathlib import Path
from statistics import median
from typing import Any

from appliance.bench.result import Load
from appliance.bench.scenarios import measure
from appliance.bench.testbed import Testbed, canister, own_testbed
from tests.interop import node

PROJECT = "ic-websocket-js-0.5.0"
SCRIPT = Path(__file__).with_name("sdk_load.cjs")
START_S = 120.0
"""For the sessions to open, and after the run for what is still on its way."""
LINE = 1 << 24
"""Bytes of a line that the driver may write."""
SETTLE_S = 0.5


class Failed(Exception):
    """The clients could not measure; the text says why."""


async def by_sdk(load: Load) -> tuple[float, float]:
    """CPU of the gateway for an echo in microseconds, and the median time of one in ms. Raises Failed."""
    async with own_testbed({}) as testbed:
        await testbed.configure(load.block_s, "echo")
        wanted = {"clients": load.clients, "rate": load.rate, "seconds": load.seconds, "size": load.size}
        where = {"url": testbed.target.url, "networkUrl": testbed.stub_url, "canisterId": str(canister(0))}
        process = await asyncio.create_subprocess_exec(
            *("node", str(SCRIPT), json.dumps(where | wanted)),
            cwd=node.project(PROJECT),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE,
        )
        try:
            return await _measured(testbed, process, load)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _measured(testbed: Testbed, process: asyncio.subprocess.Process, load: Load) -> tuple[float, float]:
    await _line(process, "ready", START_S)
    await asyncio.sleep(SETTLE_S)
    before = testbed.usage
    if process.stdin is None or before is None:
        raise Failed("the processes to measure are not there")
    process.stdin.write(b"go\n")
    done = await _line(process, "done", load.seconds + START_S)
    after = testbed.usage
    if after is None or done["received"] != done["sent"] or done["wrong"]:
        raise Failed(f"of {done['sent']} messages {done['received']} came back, and {done['wrong']} wrong ones")
    return (after.cpu_s - before.cpu_s) * 1e6 / done["received"], median(done["latencies_ms"])


async def _line(process: asyncio.subprocess.Process, event: str, patience_s: float) -> dict[str, Any]:
    """The driver's line of this event. Raises Failed."""
    output = process.stdout
    while output is not None:
        try:
            line = await asyncio.wait_for(output.readline(), patience_s)
        except TimeoutError:
            raise Failed(f"the clients were not {event} within {patience_s:g} s") from None
        if not line:
            break
        if line.startswith(b"{"):  # the SDK has a log of its own
            said: dict[str, Any] = json.loads(line)
            if said["event"] != event:
                raise Failed(said.get("message", f"{said['event']} came before {event}"))
            return said
    raise Failed("the clients have ended")


async def by_us(load: Load) -> tuple[float, float]:
    """The same by the clients of ``icws bench``. Raises Failed."""
    async with own_testbed({}) as testbed:
        result = await measure("echo", testbed, load)
    middle = result.latency.quantile(0.5)
    if result.faults or result.cpu_us is None or middle is None:
        raise Failed(f"icws bench: {result.faults}")
    return result.cpu_us, middle / 1e6


async def compare(load: Load, rounds: int) -> None:
    """Print both, one round after the other."""
    theirs, ours = [], []
    for number in range(rounds):
        own, other = await by_us(load), await by_sdk(load)
        ours.append(own[0])
        theirs.append(other[0])
        for name, (cpu_us, middle_ms) in (("icws bench echo", own), (PROJECT, other)):
            print(
                f"round {number + 1}, {name}: {cpu_us:.0f} us of the gateway's CPU an echo, median {middle_ms:.0f} ms"
            )
    print(f"by {PROJECT} an echo costs {median(theirs) / median(ours):.2f} of what icws bench says")


def main() -> None:
    """Compare at the rate that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--rate", type=float, default=2.0, help="echoes a second of all clients together")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--size", type=int, default=1000, help="bytes of a message")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    load = Load(clients=options.clients, rate=options.rate, seconds=options.seconds, size=options.size)
    try:
        asyncio.run(compare(load, options.rounds))
    except (Failed, node.Unavailable) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
