"""A whole run: each scenario with a stub and a gateway of its own, or all against one that is running already."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from appliance.bench.calibration import Calibration
from appliance.bench.result import Load, Result
from appliance.bench.scenarios import GATEWAY_SETTINGS, SCENARIOS, measure
from appliance.bench.stub.server import Latencies
from appliance.bench.target import BenchFailed, Target
from appliance.bench.testbed import Testbed, foreign_testbed, own_testbed


@dataclass(frozen=True)
class Foreign:
    """A gateway that is running already, and the stub IC that it uses."""

    stub_url: str
    target: Target


@dataclass(frozen=True)
class Run:
    """Which scenarios, with these fields of ``Load`` instead of the defaults. Without ``foreign`` each scenario starts
    its own stub and gateway, so that no scenario measures what another left behind."""

    scenarios: list[str]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    latencies: Latencies = field(default_factory=Latencies)
    seed: str | None = None
    foreign: Foreign | None = None

    def load_of(self, name: str) -> Load:
        """Return the load of a scenario."""
        default = SCENARIOS[name][1]
        return Load(**{**vars(default), **self.overrides})

    async def results(self, started: Callable[[str, Load], None] = lambda _, __: None) -> list[Result]:
        """Measure one scenario after the other; ``started`` is called before each. A scenario that cannot
        be made has a ``failure``. Raises BenchFailed if stub or gateway cannot be started."""
        calibration, results = Calibration(), []
        for name in self.scenarios:
            load = self.load_of(name)
            started(name, load)
            async with self._testbed(name) as testbed:
                before = calibration.cpu_s()
                try:
                    result = await measure(name, testbed, load)
                except BenchFailed as error:  # the results of the other scenarios are worth as much without it
                    result = Result(name, "", load, failure=str(error))
                result.calibration_s = (before + calibration.cpu_s()) / 2
            results.append(result)
        return results

    @asynccontextmanager
    async def _testbed(self, name: str) -> AsyncIterator[Testbed]:
        if self.foreign is not None:
            yield await foreign_testbed(self.foreign.stub_url, self.foreign.target, latencies=self.latencies)
            return
        settings = GATEWAY_SETTINGS.get(name, {})
        async with own_testbed(settings, seed=self.seed, latencies=self.latencies) as testbed:
            yield testbed
