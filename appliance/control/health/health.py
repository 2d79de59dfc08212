"""Whether the gateway is alive, ready, and started: named checks, each with a sentence."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Self

from appliance.control.models import CheckResult
from appliance.control.models import Health as Answer

BEAT_S = 0.5
MOST_LAG_S = 2.0
"""How late the loop may be."""
CHECK_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    ok: bool
    detail: str


Check = Callable[[], Finding | Awaitable[Finding]]


class Pulse:
    """Measures how late the event loop is. An async context."""

    def __init__(self, beat_s: float = BEAT_S) -> None:
        self.lag_s = 0.0
        """At the last beat."""
        self._beat_s = beat_s
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._arm()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def check(self) -> Finding:
        """Whether the loop is on time: now, or at the last beat."""
        late_s = max(self.lag_s, asyncio.get_running_loop().time() - self._due)
        return Finding(late_s <= MOST_LAG_S, f"the event loop is {max(0.0, late_s) * 1000:.0f} ms late")

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._beat_s
        self._timer = loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        self.lag_s = max(0.0, asyncio.get_running_loop().time() - self._due)
        self._arm()


class Health:
    """Runs the checks. ``started`` is set once the gateway takes connections."""

    def __init__(self, live: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
        self.started = False
        self._live = live
        self._ready = ready

    async def live(self) -> Answer:
        """Whether it makes sense to let it run."""
        return await _run(self._live)

    async def ready(self) -> Answer:
        """Whether clients should be sent here."""
        return await _run({"started": self._is_started, **self._ready})

    async def startup(self) -> Answer:
        """Whether it has started."""
        return await _run({"started": self._is_started})

    def _is_started(self) -> Finding:
        return Finding(self.started, "takes connections" if self.started else "is starting")


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
