"""How fast messages reach canisters on a subnet like the mainnet's: ``python -m tests.gateway.figures [--write]``.

In virtual time, so that the figures are those of the network and of the rules of the relay, whatever the machine does.
"""

import argparse
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from appliance.errors import OrderLost
from tests.gateway.bench import Shell
from tests.gateway.clients import Client
from tests.gateway.subnet_bench import CROWD, SLOW_CALL_S, SubnetBench, burst, steady, trickle, trickle_beside_a_crowd
from tests.gateway.virtual_time import run
from tests.tables import with_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
SEEDS = range(20)
CROWD_SEEDS = range(3)
"""Fewer, because 600 clients take their time."""
LAG_S = (0.0, 2.0)
Sending = Callable[[SubnetBench], Coroutine[Any, Any, tuple[Client, Shell]]]
_HEAD = """\
| one client sends | runs | median | 99 % | longest | last of a run | closed for a lost order | closed otherwise |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""
_NEIGHBOUR_HEAD = """\
| one message a second for a minute to another canister | runs | median | 99 % | longest |
| --- | --- | --- | --- | --- |
"""


@dataclass
class Figures:
    """Round trips of all runs and of the last message of each, in seconds, and how sessions ended."""

    trips: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    orders_lost: int = 0
    otherwise_closed: int = 0

    @property
    def cells(self) -> Iterator[str]:
        """Of the table."""
        yield from _quantiles(self.trips)
        yield f"{max(self.last):.2f} s"
        yield f"{self.orders_lost}"
        yield f"{self.otherwise_closed}"


def measured(sending: Sending, *, lag_s: tuple[float, float] = (0.0, 0.0), **config: object) -> Figures:
    """The figures of a client, over all seeds."""
    found = Figures()
    for seed in SEEDS:

        async def work(seed: int = seed) -> None:
            async with SubnetBench(seed, **config) as bench:
                bench.subnet.lag_s = lag_s
                client, shell = await sending(bench)
                trips = bench.round_trips(client)
                found.trips += trips
                found.last.append(trips[-1])
                found.orders_lost += isinstance(shell.error, OrderLost)
                found.otherwise_closed += not isinstance(shell.error, OrderLost | None)

        run(work)
    return found


def neighbours(trips_of: Callable[[SubnetBench], Coroutine[Any, Any, list[float]]], **config: object) -> list[float]:
    """Round trips of a client of another canister, over some seeds."""
    found: list[float] = []
    for seed in CROWD_SEEDS:

        async def work(seed: int = seed) -> None:
            async with SubnetBench(seed, **config) as bench:
                found.extend(await trips_of(bench))

        run(work)
    return found


def relay_lines() -> dict[str, Callable[[], Figures]]:
    """What each line of the table measures."""
    return {
        "4 messages a second for 60 s": partial(measured, steady),
        "4 a second, replicas up to 2 blocks behind": partial(measured, steady, lag_s=LAG_S),
        "20 messages at once": partial(measured, burst),
        "20 at once, replicas up to 2 blocks behind": partial(measured, burst, lag_s=LAG_S),
        "20 messages at once, `relay.order: strict`": partial(measured, burst, relay={"order": "strict"}),
    }


def neighbour_lines() -> dict[str, Callable[[], list[float]]]:
    """The same, without and with a canister of slow calls beside it."""
    crowd = partial(neighbours, trickle_beside_a_crowd, relay={"calls": CROWD})
    return {
        "alone": partial(neighbours, trickle),
        f"beside {CROWD} clients of a canister whose calls take {SLOW_CALL_S:.0f} s": crowd,
    }


def relay_table() -> str:
    """The table of one client."""
    return _HEAD + "".join(_line(name, SEEDS, *measure().cells) for name, measure in relay_lines().items())


def neighbour_table() -> str:
    """The table of a client beside others."""
    lines = neighbour_lines().items()
    return _NEIGHBOUR_HEAD + "".join(_line(name, CROWD_SEEDS, *_quantiles(measure())) for name, measure in lines)


def _quantiles(trips: list[float]) -> Iterator[str]:
    ordered = sorted(trips)
    for part in (0.5, 0.99, 1.0):
        yield f"{ordered[min(int(len(ordered) * part), len(ordered) - 1)]:.2f} s"


def _line(name: str, seeds: range, *cells: str) -> str:
    return f"| {name} | {len(seeds)} | " + " | ".join(cells) + " |\n"


def main() -> int:
    """Print the tables, and write them into the page if asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.gateway.figures", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write the tables into docs/{PAGE.name}")
    options = parser.parse_args()
    tables = {"relay: one client": relay_table(), "relay: beside slow calls": neighbour_table()}
    print("\n".join(tables.values()))
    if options.write:
        page = PAGE.read_text()
        for name, table in tables.items():
            page = with_table(page, name, table)
        PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
