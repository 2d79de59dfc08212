"""Calls one hook of one plugin: with a time-out, counted, and behind a circuit breaker."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import structlog

from appliance.config.fields.units import format_size
from appliance.errors import PluginUnavailable, PostponedByPlugin, RefusedByPlugin
from appliance.plugins.breaker import Breaker
from appliance.plugins.specification import Refusal
from appliance.plugins.worker import QueueFull, Worker

_log = structlog.get_logger(__name__)

SLOW = "no result within {:g} s"
FULL = "its queue of calls is full (queue: {:,}, queue_bytes: {})"


@dataclass(slots=True)
class Tally:
    """Counters of the calls of a hook. ``failures`` raised, returned a wrong type, or found the queue full; ``slow``
    exceeded the time-out; ``seconds`` is the total time of all calls that ended."""

    calls: int = 0
    failures: int = 0
    slow: int = 0
    refusals: int = 0
    seconds: float = 0.0
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class _Result:
    """The result of a call."""

    answer: object
    error: BaseException | None
    seconds: float


class Guard:
    """Calls ``function``, a hook of the plugin ``label``, in the plugin's thread."""

    def __init__(
        self,
        label: str,
        name: str,
        function: Callable[..., object],
        worker: Worker,
        *,
        timeout_s: float,
        required: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``required``: refuse if the hook cannot decide. ``clock`` is monotonic, in seconds."""
        self.name = name
        self.tally = Tally()
        self._label = label
        self._function = function
        self._worker = worker
        self._timeout_s = timeout_s
        self._required = required
        self._clock = clock
        self._breaker = Breaker()
        self._lock = threading.Lock()  # the loop counts time-outs, the thread of the plugin counts results

    @property
    def state(self) -> Literal["on", "off"]:
        """``off`` while the circuit breaker is open."""
        return self._breaker.state

    @property
    def waiting(self) -> int:
        """The calls of its plugin that wait, those of other hooks too."""
        return len(self._worker)

    @property
    def _full(self) -> str:
        return FULL.format(self._worker.most, format_size(self._worker.most_bytes))

    async def decide(self, **facts: object) -> None:
        """Ask the plugin to decide. Raises RefusedByPlugin if it refuses, PostponedByPlugin if only for a while, and
        PluginUnavailable if it fails and is required."""
        trial = self._begin()
        if trial is None:
            self._undecided()
            return
        try:
            result = await self._worker.run(partial(self._call, facts), self._timeout_s)
        except TimeoutError as error:
            full = isinstance(error, QueueFull)
            self._failed(self._full if full else SLOW.format(self._timeout_s), trial=trial, slow=not full)
            self._undecided()
            return
        answer = result.answer
        if result.error is None and not (answer is None or isinstance(answer, Refusal)):
            problem = f"{type(answer).__name__} is neither None nor a Refusal"
            result = _Result(None, TypeError(problem), result.seconds)
        self._ended(result, trial=trial)
        if result.error is not None:
            self._undecided()
        elif isinstance(answer, Refusal):
            self.tally.refusals += 1
            raise _refused(self._label, answer)

    def notify(self, size: int = 0, **facts: object) -> None:
        """Queue a notification for the plugin and return. ``size`` is its bytes. Never raises."""
        trial = self._begin()
        if trial is not None and not self._worker.put(lambda: self._ended(self._call(facts), trial=trial), size):
            self._failed(self._full, trial=trial)

    def _begin(self) -> bool | None:
        """Count a call. Returns whether it is a trial, or None where the hook may not be called."""
        now_s = self._clock()
        with self._lock:
            if not self._breaker.allows(now_s):
                return None
            self._breaker, before = self._breaker.called(now_s), self._breaker
            self.tally.calls += 1
        return before.state == "off"

    def _call(self, facts: dict[str, object]) -> _Result:
        begun_s = self._clock()
        try:
            answer, error = self._function(**facts), None
        except BaseException as raised:  # sys.exit() in a plugin must not end the thread
            answer, error = None, raised
        return _Result(answer, error, self._clock() - begun_s)

    def _ended(self, result: _Result, *, trial: bool) -> None:
        with self._lock:
            self.tally.seconds += result.seconds
        if result.error is not None:
            self._failed(_sentence(result.error), trial=trial, error=result.error)
        elif result.seconds > self._timeout_s:
            self._failed(f"took {result.seconds:.3g} s", trial=trial, slow=True)
        else:
            with self._lock:
                self._breaker, before = self._breaker.succeeded(trial=trial), self._breaker
                is_on = self._breaker.state == "on"
            if is_on and before.state == "off":
                _log.info("a hook works again", plugin=self._label, hook=self.name)

    def _failed(self, problem: str, *, trial: bool, slow: bool = False, error: BaseException | None = None) -> None:
        with self._lock:
            self.tally.slow += slow
            self.tally.failures += not slow
            self.tally.last_error = problem
            self._breaker, before = self._breaker.failed(self._clock(), trial=trial), self._breaker
            is_off = self._breaker.state == "off"
        if is_off and before.state == "on":
            _log.error("a hook is switched off for a while", plugin=self._label, hook=self.name, cause=problem)
        elif not before.spent:  # the first of a row
            _log.warning("a hook failed", plugin=self._label, hook=self.name, cause=problem, exc_info=error)

    def _undecided(self) -> None:
        if self._required:
            raise PluginUnavailable(self._label)


def _refused(label: str, refusal: Refusal) -> RefusedByPlugin:
    if refusal.retry_after_s is None:
        return RefusedByPlugin(label, refusal.reason)
    return PostponedByPlugin(label, refusal.reason, refusal.retry_after_s)


def _sentence(error: BaseException) -> str:
    """The text of an error of a plugin; its ``__str__`` may raise."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
