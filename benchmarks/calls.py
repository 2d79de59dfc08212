"""How many Python functions the gateway calls for each message, on whatever machine and beside whatever else runs.

``python -m benchmarks.calls [SCENARIO]...`` runs scenarios of ``icws bench`` with the gateway under ``cProfile``, each
for two lengths of time. The difference of both is what the messages between them cost: starting, opening sessions and
stopping are in both. A coroutine counts at each of its steps. ``--top N`` lists the functions that are called most.

Calls say nothing of the native core, and a poll that finds several answers costs less for each: the load is low, so
that even under a profiler the gateway is not behind.
"""

import argparse
import asyncio
import pstats
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from appliance.bench.result import Load
from appliance.bench.scenarios import SCENARIOS, measure
from appliance.bench.testbed import own_testbed

LOADS = {
    "echo": Load(clients=50, rate=100, seconds=3),
    "up-20": Load(clients=50, rate=100, seconds=3),
    "down-1": Load(clients=50, rate=100, seconds=3),
    "down-50": Load(clients=50, rate=5000, seconds=1),
    "idle-canisters": Load(clients=200, rate=100, seconds=5),
}
"""The shorter run of each scenario. The longer one takes three times as long."""
LONGER = 3
Function = tuple[str, int, str]


@dataclass(frozen=True)
class Profile:
    """What one run did, and how often each function was called."""

    done: int
    polls: int
    calls: Counter[Function]


async def profile(scenario: str, load: Load) -> Profile:
    """Run a scenario with the gateway under ``cProfile``."""
    with tempfile.TemporaryDirectory(prefix="icws-calls-") as folder:
        file = Path(folder) / "profile"
        async with own_testbed({}, under=["cProfile", "-o", str(file), "-m"]) as testbed:
            result = await measure(scenario, testbed, load)
        statistics: dict[Function, tuple[int, int, float, float, object]] = vars(pstats.Stats(str(file)))["stats"]
    if result.faults:
        raise SystemExit(f"{scenario}: {result.faults}")
    calls = Counter({function: numbers[1] for function, numbers in statistics.items() if function[0] != "~"})
    return Profile(result.done, result.polls, calls)


async def count(scenario: str, top: int) -> None:
    """Print the calls of Python functions for each one done, and those of the functions that are called most."""
    short = LOADS[scenario]
    long = Load(**{**vars(short), "seconds": LONGER * short.seconds})
    one, other = await profile(scenario, short), await profile(scenario, long)
    polls = other.polls - one.polls
    # Nothing is done in a scenario that idles, but for polls.
    done = (other.done - one.done) or polls
    calls = Counter({function: number - one.calls[function] for function, number in other.calls.items()})
    print(f"{scenario}: {calls.total() / done:.1f} calls, {polls / done:.2f} polls")
    for (file, line, name), number in calls.most_common(top):
        print(f"  {number / done:7.2f}  {'/'.join(Path(file).parts[-2:])}:{line} {name}")


def main() -> None:
    """Count the calls of the scenarios that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(LOADS)}; without any, all")
    parser.add_argument("--top", type=int, default=0, metavar="N", help="list so many functions")
    options = parser.parse_args()
    for scenario in options.scenarios or LOADS:
        if scenario not in LOADS or scenario not in SCENARIOS:
            parser.error(f"there is no load for {scenario!r}")
        asyncio.run(count(scenario, options.top))


if __name__ == "__main__":
    main()
