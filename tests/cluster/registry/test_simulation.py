"""Seeded schedules of everything that may go wrong with three to seven nodes (``world``). ``make soak`` tries more of
them: ``python -m tests.cluster.registry.test_simulation FROM TO``, which goes on after a violation and names each seed.
"""

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Iterable

import structlog

from tests.cluster.registry import world

SEEDS = (*range(25), 164, 301, 395, 575, 67, 192, 111, 421, 1432, 2562, 2765, 2849, 3147, 4142, 5223, 6983, 9885, 9886)
"""Those behind the range found what was wrong once."""


def test_each_client_that_left_is_told_of_once_and_no_living_session_is_ended() -> None:
    counts = simulate(SEEDS)
    # These schedules do what they are for.
    assert min(counts[each] for each in ("killed", "given up", "told v0", "told v1", "told v2", "told of another's"))


def simulate(seeds: Iterable[int]) -> Counter[str]:
    """What happened in all of them. Raises world.Violation."""

    async def main() -> Counter[str]:
        total: Counter[str] = Counter()
        for seed in seeds:
            total += await world.run(seed)
        return total

    return asyncio.run(main())


def search(seeds: Iterable[int]) -> int:
    """Print what happened in all of them, and each violation. Returns how many there were."""
    total, violations = Counter[str](), 0
    for seed in seeds:
        try:
            total += simulate([seed])
        except world.Violation as error:
            violations += 1
            print(error, flush=True)
    print(dict(total))
    return violations


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    sys.exit(min(1, search(range(int(sys.argv[1]), int(sys.argv[2])))))
