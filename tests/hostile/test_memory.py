"""What hostile clients make a gateway keep is bounded by ``limits.memory``: its resident memory is measured."""

import os
from pathlib import Path

import pytest

from appliance.bench.testbed import own_testbed
from tests.hostile.clients import Attack, is_served
from tests.hostile.limits import BUDGET, LIMITS, OTHER

CLIENTS = 48
"""Unlimited, or stopped a turn of the loop too late, they make a gateway grow by 80 to 110 MiB."""
ROUNDS = int(os.environ.get("ICWS_HOSTILE_ROUNDS", "1"))
"""How often each client comes. ``make soak`` attacks for many minutes."""


class Memory:
    """The resident memory of a process (``proc(5)``), from now on."""

    def __init__(self, pid: int) -> None:
        self._folder = Path("/proc") / str(pid)
        (self._folder / "clear_refs").write_text("5")  # the peak begins anew
        self._before = self._bytes("VmRSS")

    def grown(self) -> int:
        """By how many bytes it was larger at most."""
        return self._bytes("VmHWM") - self._before

    def _bytes(self, name: str) -> int:
        status = (self._folder / "status").read_text()
        return int(status.partition(f"{name}:")[2].split()[0]) * 1024


@pytest.mark.timeout(900)
async def test_clients_of_one_address_take_no_more_memory_than_the_limit() -> None:
    async with own_testbed(LIMITS) as testbed:
        assert await is_served(testbed)
        assert testbed.target.pid is not None
        await testbed.configure(1.0, "none")  # calls of a second
        memory = Memory(testbed.target.pid)
        attack = Attack(testbed, ["127.0.1.1"], CLIENTS)
        await attack.run(ROUNDS)
        assert memory.grown() < BUDGET + OTHER, attack.ends
        assert await is_served(testbed)
        assert testbed.errors == []


@pytest.mark.timeout(900)
async def test_others_are_served_again_after_an_attack_from_many_addresses() -> None:
    async with own_testbed(LIMITS) as testbed:
        assert await is_served(testbed)
        assert testbed.target.pid is not None
        await testbed.configure(1.0, "none")
        memory = Memory(testbed.target.pid)
        attack = Attack(testbed, [f"127.0.1.{1 + number}" for number in range(12)], CLIENTS)
        await attack.run(ROUNDS)
        assert memory.grown() < BUDGET + OTHER, attack.ends
        assert await is_served(testbed)
        assert testbed.errors == []
