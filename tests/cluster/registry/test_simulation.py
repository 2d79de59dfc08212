"""Seeded schedules of everything that may go wrong with three to seven nodes (``world``). ``make soak`` tries more of
them: ``python -m tests.cluster.registry.test_simulation FROM TO``.
"""

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Iterable

import structlog

from tests.cluster.registry import world

SEEDS = (*range(25), 164, 301, 395, 575, 67, 192)
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


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(dict(simulate(range(int(sys.argv[1]), int(sys.argv[2])))))
