"""Budgets, counts and refusals of one hook, with a clock that is set by hand."""

import threading
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from appliance.errors import PluginUnavailable, PostponedByPlugin, RefusedByPlugin
from appliance.plugins.breaker import BUDGET, FAILURE, FIRST_REST_S
from appliance.plugins.guard import Guard
from appliance.plugins.specification import Refusal
from appliance.plugins.worker import Worker
from tests.gateway.bench import until

IN_A_ROW = BUDGET // FAILURE
LONG_S = 30.0


class Bench:
    """One hook, whose answer and duration the test decides."""

    def __init__(self, *, timeout_s: float, required: bool) -> None:
        self.now_s = 0.0
        self.takes_s = 0.0
        self.answer: object = None
        self.error: BaseException | None = None
        self.heard: list[object] = []
        self.before: Callable[[], object] = lambda: None
        self.worker = Worker("test", most=10_000, most_bytes=16 << 20)
        self.guard = Guard(
            "test", "hook", self, self.worker, timeout_s=timeout_s, required=required, clock=lambda: self.now_s
        )

    def __call__(self, what: object) -> object:
        self.before()
        self.heard.append(what)
        self.now_s += self.takes_s
        if self.error is not None:
            raise self.error
        return self.answer

    async def told(self) -> None:
        """Everything that was told is done."""
        await self.worker.run(lambda: None, LONG_S)


@pytest.fixture
def benches():
    made: list[Bench] = []

    def make(*, timeout_s: float = LONG_S, required: bool = False) -> Bench:
        made.append(Bench(timeout_s=timeout_s, required=required))
        return made[-1]

    yield make
    for bench in made:
        bench.worker.end()


@pytest.fixture
def bench(benches):
    return benches()


async def test_no_objection(bench):
    await bench.guard.decide(what=1)
    assert bench.heard == [1]
    assert (bench.guard.tally.calls, bench.guard.tally.refusals, bench.guard.tally.failures) == (1, 0, 0)


async def test_a_refusal_for_good(bench):
    bench.answer = Refusal("members only")
    with pytest.raises(RefusedByPlugin, match="members only") as caught:
        await bench.guard.decide(what=1)
    assert type(caught.value) is RefusedByPlugin
    assert caught.value.plugin == "test"
    assert 4500 <= caught.value.close_code <= 4999
    assert (bench.guard.tally.refusals, bench.guard.tally.failures) == (1, 0)


async def test_a_refusal_for_now(bench):
    bench.answer = Refusal("full", retry_after_s=2.5)
    with pytest.raises(PostponedByPlugin, match=r"full; retry in 2\.5 s") as caught:
        await bench.guard.decide(what=1)
    assert caught.value.retry_after_s == 2.5
    assert 4000 <= caught.value.close_code <= 4499


@pytest.mark.parametrize(
    "facts", [(None,), ("full", -1.0), ("full", float("inf")), ("full", float("nan")), ("full", "5")]
)
def test_a_refusal_that_cannot_be_told_is_an_error_of_the_plugin(facts):
    with pytest.raises((TypeError, ValueError)):
        Refusal(*facts)


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize("fault", ["raises", "nonsense", "exits"])
async def test_a_hook_that_fails_refuses_only_where_it_is_required(benches, fault, required):
    bench = benches(required=required)
    bench.answer = "yes" if fault == "nonsense" else None
    bench.error = {"raises": ValueError("oops"), "exits": SystemExit(3)}.get(fault)
    if required:
        with pytest.raises(PluginUnavailable):
            await bench.guard.decide(what=1)
    else:
        await bench.guard.decide(what=1)
    tally = bench.guard.tally
    assert (tally.calls, tally.failures, tally.slow, tally.refusals) == (1, 1, 0, 0)
    assert (
        tally.last_error
        == {
            "raises": "ValueError: oops",
            "nonsense": "TypeError: str is neither None nor a Refusal",
            "exits": "SystemExit: 3",
        }[fault]
    )


async def test_an_error_that_cannot_say_what_it_is(bench):
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("not even that")

    bench.error = Mute()
    with capture_logs():
        await bench.guard.decide(what=1)
    assert bench.guard.tally.last_error == "Mute"


@pytest.mark.parametrize("required", [False, True])
async def test_who_waits_for_a_decision_does_so_for_its_time_and_no_longer(benches, required):
    bench, gate = benches(timeout_s=0.001, required=required), threading.Event()
    bench.before = gate.wait
    if required:
        with pytest.raises(PluginUnavailable):
            await bench.guard.decide(what=1)
    else:
        await bench.guard.decide(what=1)
    assert (bench.guard.tally.slow, bench.guard.tally.failures) == (1, 0)
    assert bench.guard.tally.last_error == "no result within 0.001 s"
    gate.set()
    await bench.told()
    assert bench.guard.tally.slow == 1  # counted once


async def test_a_hook_that_fails_again_and_again_is_left_alone_then_tried(bench):
    bench.error = ValueError("oops")
    with capture_logs() as logs:
        for _ in range(IN_A_ROW + 3):
            await bench.guard.decide(what=1)
    assert len(bench.heard) == bench.guard.tally.calls == IN_A_ROW
    assert bench.guard.state == "off"
    assert [line["event"] for line in logs] == ["a hook failed", "a hook is switched off for a while"]

    bench.now_s += FIRST_REST_S
    await bench.guard.decide(what=2)  # fails once more
    await bench.guard.decide(what=3)  # is not asked
    assert bench.heard[-1] == 2

    bench.error = None
    bench.now_s += 2 * FIRST_REST_S
    await bench.guard.decide(what=4)
    await bench.guard.decide(what=5)
    assert bench.heard[-2:] == [4, 5]
    assert bench.guard.state == "on"


async def test_calls_that_fail_together_count_once_for_the_rest(bench):
    """Of messages that wait together for a plugin that fails, only those that switch it off count."""
    gate = threading.Event()
    bench.before, bench.error = gate.wait, ValueError("oops")
    for number in range(4 * IN_A_ROW):
        bench.guard.notify(what=number)
    gate.set()
    await bench.told()
    assert bench.guard.state == "off"
    bench.now_s, bench.error = FIRST_REST_S, None
    bench.guard.notify(what="trial")
    await bench.told()
    assert bench.heard[-1] == "trial"
    assert bench.guard.state == "on"


async def test_a_decision_that_finds_the_queue_full_says_so(bench):
    bench.worker.most = 1
    gate = threading.Event()
    bench.before = gate.wait
    bench.guard.notify(what=0)
    await until(lambda: not len(bench.worker))  # it hangs in this one
    bench.guard.notify(what=1)
    await bench.guard.decide(what=2)
    gate.set()
    assert (bench.guard.tally.failures, bench.guard.tally.slow) == (1, 0)
    assert bench.guard.tally.last_error == "its queue of calls is full (queue: 1, queue_bytes: 16MiB)"


async def test_a_required_hook_that_is_off_refuses_without_being_asked(benches):
    bench = benches(required=True)
    bench.error = ValueError("oops")
    for _ in range(IN_A_ROW + 1):
        with pytest.raises(PluginUnavailable):
            await bench.guard.decide(what=1)
    assert len(bench.heard) == IN_A_ROW


async def test_what_happened_is_told_in_order_without_waiting(bench):
    gate = threading.Event()
    bench.before = gate.wait
    for number in range(50):
        bench.guard.notify(what=number)
    assert not bench.heard
    gate.set()
    await bench.told()
    assert bench.heard == list(range(50))
    assert bench.guard.tally.calls == 50


async def test_telling_that_raises_or_takes_too_long_counts(benches):
    bench = benches(timeout_s=1.0)
    bench.error = ValueError("oops")
    bench.guard.notify(what=1)
    await bench.told()
    assert bench.guard.tally.failures == 1
    bench.error, bench.takes_s = None, 1.5
    bench.guard.notify(what=2)
    await bench.told()
    assert (bench.guard.tally.failures, bench.guard.tally.slow) == (1, 1)
    assert bench.guard.tally.last_error == "took 1.5 s"
    assert bench.guard.tally.seconds == 1.5
    for _ in range(IN_A_ROW):
        bench.guard.notify(what=3)
        await bench.told()
    assert bench.guard.state == "off"
    assert bench.guard.tally.calls == IN_A_ROW


async def test_a_plugin_that_hangs_is_told_no_more_and_holds_nobody_up(bench):
    bench.worker.most = 3
    gate = threading.Event()
    bench.before = gate.wait
    bench.guard.notify(what=0)
    await until(lambda: not len(bench.worker))  # it hangs in this one
    for number in range(1, 100):
        bench.guard.notify(what=number)
    assert bench.guard.state == "off"
    assert bench.guard.tally.failures == IN_A_ROW
    assert bench.guard.tally.last_error == "its queue of calls is full (queue: 3, queue_bytes: 16MiB)"
    gate.set()
    await bench.worker.run(lambda: None, LONG_S, anyway=True)
    assert bench.heard == [0, 1, 2, 3]
