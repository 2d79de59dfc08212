from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from appliance.control.health.progress import GRACE_S, PollProgress

TIMEOUT_S = 5.0


@dataclass
class Poller:
    wait_s: float = 0.1
    is_paused: bool = False
    pace: Any = field(default_factory=lambda: SimpleNamespace(polling=SimpleNamespace(timeout=TIMEOUT_S)))

    @property
    def facts(self) -> Any:
        return SimpleNamespace(wait_s=self.wait_s)


class Watched:
    """The check with a clock that the test sets."""

    def __init__(self, *pollers: Poller) -> None:
        self.now, self.counters = 0.0, SimpleNamespace(polls=0)
        self.gateway: Any = SimpleNamespace(counters=self.counters, pollers=dict(enumerate(pollers)))
        self.progress = PollProgress(self.gateway, lambda: self.now)

    def after(self, seconds: float) -> bool:
        self.now += seconds
        return self.progress.check().ok


@given(st.lists(st.floats(0, GRACE_S), max_size=20), st.floats(0, 300))
def test_whoever_polls_in_time_is_alive_and_whoever_stops_is_not(pauses: list[float], wait_s: float) -> None:
    it = Watched(Poller(wait_s), Poller(wait_s / 2))
    for pause in pauses:
        it.counters.polls += 1
        assert it.after(pause)
    limit_s = GRACE_S + wait_s + TIMEOUT_S
    assert it.after(0)
    assert it.after(limit_s - 0.01)
    assert not it.after(0.02)
    it.counters.polls += 1
    assert it.after(0)


def test_the_longest_wait_counts() -> None:
    it = Watched(Poller(0.1), Poller(300))
    it.after(0)
    assert it.after(GRACE_S + 300)


def test_nothing_has_to_be_polled_without_clients_and_while_paused() -> None:
    for it in (Watched(), Watched(Poller(is_paused=True))):
        it.after(0)
        assert it.after(10**6)
    it = Watched(Poller(is_paused=True))
    it.after(10**6)
    it.gateway.pollers[0].is_paused = False
    assert it.after(GRACE_S)
    assert not it.after(GRACE_S)
