"""How often two calls of one client change places, by the time between them: ``python -m tests.localnet.subnet.swaps``.

Measured on the network of ``icws localnet --like-mainnet``, without the way to it: the time between two calls is that
between their arrivals at the subnet.
"""

import random
from typing import Literal

from tests.localnet.machine import SECOND
from tests.localnet.subnet.fleet import MS, Fleet, calm

SPACINGS_MS = (0, 20, 40, 50, 60, 70, 80)
PAIRS = 3000

Way = Literal["one", "any"]
"""Through one replica, or each through a random one."""


def measured(spacing_ms: int, way: Way, pairs: int = PAIRS) -> float:
    """The part of so many pairs that were executed in the other order."""
    fleet = Fleet(calm(seed=f"{spacing_ms}{way}".encode()))
    chance = random.Random(spacing_ms)
    for pair in range(pairs):
        fleet.clock.advance(chance.randrange(1000 * MS))
        first = chance.randrange(len(fleet.nodes))
        second = first if way == "one" else chance.randrange(len(fleet.nodes))
        fleet.nodes[first].submit(fleet.add(f"{pair} first"))
        fleet.clock.advance(spacing_ms * MS)
        fleet.nodes[second].submit(fleet.add(f"{pair} second"))
        fleet.clock.advance(3 * SECOND)
    place = {entry: number for number, entry in enumerate(fleet.journal())}
    return sum(place[f"{pair} first"] > place[f"{pair} second"] for pair in range(pairs)) / pairs


def main() -> None:
    """Print the table of docs/relay.md."""
    for spacing_ms in SPACINGS_MS:
        print(f"| {spacing_ms} ms | {measured(spacing_ms, 'one'):.1%} | {measured(spacing_ms, 'any'):.1%} |")


if __name__ == "__main__":
    main()
