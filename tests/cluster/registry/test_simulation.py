"""Seeded schedules of everything that may go wrong with three to seven nodes (``world``). ``make soak`` tries more of
them: ``python -m tests.cluster.registry.test_simulation FROM TO``.
"""

import asyncio
import sys
from collections import Counter

import pytest

from appliance.cluster.registry.peers import Answering
from tests.cluster.registry import world

SEEDS = range(12)


def test_each_client_that_left_is_told_of_once_and_no_living_session_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Answering is not None
    counts = simulate(SEEDS)
    # These schedules do what they are for.
    assert min(counts[each] for each in ("killed", "given up", "told v0", "told v1", "told v2", "told of another's"))


def simulate(seeds: range) -> Counter[str]:
    async def main() -> Counter[str]:
        total: Counter[str] = Counter()
        for seed in seeds:
            total += await world.run(seed)
        return total

    return asyncio.run(main())


if __name__ == "__main__":
    print(dict(simulate(range(int(sys.argv[1]), int(sys.argv[2])))))
