"""Runs the checks of health: whether the gateway is alive, ready, and started."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from appliance.control.models import CheckResult
from appliance.control.models import Health as Answer

CHECK_TIMEOUT_S = 3.0
FRESH_S = 1.0
"""How old an answer of `Health.passes` may be."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check, with a sentence about it."""

    ok: bool
    detail: str


Check = Callable[[], Finding | Awaitable[Finding]]


class Health:
    """Runs the checks. ``started`` is set once the gateway takes connections."""

    def __init__(self, live: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
        self.started = False
        self._live = live
        self._ready = ready
        self._recent: dict[str, tuple[float, bool]] = {}
        self._running = asyncio.Lock()

    async def live(self) -> Answer:
        """Whether the process works; if not, a restart is due."""
        return await _run(self._live)

    def is_alive(self) -> bool:
        """As `live`, at once, for a watchdog."""
        return all(found.ok for check in self._live.values() if isinstance(found := check(), Finding))

    async def ready(self) -> Answer:
        """Whether a load balancer should send clients here."""
        return await _run({"started": self._is_started, **self._ready})

    async def passes(self, path: str) -> bool:
        """The result of the checks behind ``/livez``, ``/readyz`` or ``/startupz``, which run at most once in a while:
        anybody may ask.
        """
        checks = {"/livez": self.live, "/readyz": self.ready, "/startupz": self.startup}
        async with self._running:
            now = asyncio.get_running_loop().time()
            at, is_ok = self._recent.get(path, (now - 2 * FRESH_S, False))
            if now - at > FRESH_S:
                is_ok = (await checks[path]()).status == "ok"
                self._recent[path] = now, is_ok
        return is_ok

    async def failed(self) -> list[str]:
        """A sentence for each failed check of readiness."""
        return [f"{check.name}: {check.detail}" for check in (await self.ready()).checks or () if not check.ok]

    async def startup(self) -> Answer:
        """Whether the gateway has started."""
        return await _run({"started": self._is_started})

    def _is_started(self) -> Finding:
        return Finding(self.started, "accepts connections" if self.started else "is starting")


async def _run(checks: Mapping[str, Check]) -> Answer:
    found = await asyncio.gather(*(_result(name, check) for name, check in checks.items()))
    return Answer(status="ok" if all(result.ok for result in found) else "failing", checks=found)


async def _result(name: str, check: Check) -> CheckResult:
    try:
        found = check()
        if not isinstance(found, Finding):
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                found = await found
    except TimeoutError:
        found = Finding(False, f"no answer within {CHECK_TIMEOUT_S:g} s")
    except Exception as error:  # a check that fails is a finding
        found = Finding(False, str(error) or type(error).__name__)
    return CheckResult(name=name, ok=found.ok, detail=found.detail)
