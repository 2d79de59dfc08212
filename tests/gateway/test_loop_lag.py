"""No work blocks the event loop: a watchdog beside a gateway under load, whose IC and clients are other processes.

What is measured is not how late a timer is, which depends on what else the machine does, but that without the time in
which the system ran others instead of the loop's thread.
"""

import asyncio
import json
import os
import sys
import threading
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Self, cast

import pytest

from appliance.bench.processes import started
from appliance.bench.testbed import gateway_settings
from appliance.config.schema import Config
from appliance.service import serving

LAG_S = 0.02
EVERY_S = 0.003
SCENARIOS = ["echo", "down-50", "down-50-new"]
LOAD = ["--seconds", "3", "--rate", "150"]


class Watchdog:
    """How much of the time between two timers the loop was busy or blocked. An async context."""

    def __init__(self) -> None:
        self.late_s: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._waits = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)

    async def __aenter__(self) -> Self:
        self._arm()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()
        os.close(self._waits)

    def quantile_s(self, part: float) -> float:
        return sorted(self.late_s)[int(part * len(self.late_s))]

    def _arm(self) -> None:
        self._waited_s = self._runnable_s()
        self._due = self._loop.time() + EVERY_S
        self._timer = self._loop.call_at(self._due, self._measure)

    def _measure(self) -> None:
        late_s = self._loop.time() - self._due
        self.late_s.append(max(0.0, late_s - (self._runnable_s() - self._waited_s)))
        self._arm()

    def _runnable_s(self) -> float:
        """Seconds in which the thread could have run and others did (``proc(5)``, ``schedstat``)."""
        return int(os.pread(self._waits, 100, 0).split()[1]) / 1e9


async def _first_line(stub: Process) -> dict[str, str]:
    line: dict[str, str] = json.loads(await cast("asyncio.StreamReader", stub.stdout).readline())
    return line


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="schedstat is of Linux")
@pytest.mark.timeout(180)
async def test_under_load_the_loop_is_on_time(tmp_path: Path) -> None:
    async with started(["appliance.bench.stub", "0", ""]) as stub:
        served = await _first_line(stub)
        config = Config.model_validate(gateway_settings(tmp_path, served, {}))
        async with serving(config) as service, Watchdog() as watchdog:
            target = ["--target", service.url, "--principal", str(service.principal), "--stub", served["url"]]
            bench = await asyncio.create_subprocess_exec(
                *[sys.executable, "-m", "appliance.cli", "bench", *SCENARIOS, *LOAD, *target], stdout=PIPE, stderr=PIPE
            )
            output, errors = await bench.communicate()
            assert bench.returncode == 0, (output + errors).decode()
        assert service.gateway.counters.relayed > 400
        assert service.gateway.counters.delivered > 400
        assert watchdog.quantile_s(0.99) < LAG_S
