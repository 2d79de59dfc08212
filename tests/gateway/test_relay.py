"""The calls of one client against an IC that a test steers call by call, on a clock that it moves."""

import asyncio
import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.schema import Config
from appliance.errors import CallExpired, CanisterRefused, IcUnreachable, OrderLost, UncertifiedReject
from appliance.gateway.calls.pace import FIRST_GAP_S, Paces
from appliance.gateway.relay import LARGE_MESSAGES, RelayQueue
from appliance.gateway.tasks import Tasks
from tests.gateway.clock import ClockLoop, advance, run

LOST = CanisterRefused("ws_message", "Expected incoming sequence number 1 but got 2")
GONE = CanisterRefused("ws_message", "Client with principal aaaaa-aa doesn't have an open connection")


@dataclass
class Request:
    """What the queue reads of a request."""

    sequence_num: int
    body: bytes = b"envelope"
    canister_id: bytes = b"canister"
    method_name: str = "ws_message"
    ingress_expiry_ns: int = 10**30


class Ic:
    """The peer, and behind it an IC that accepts and answers what it is told to."""

    def __init__(self, **relay: object) -> None:
        self.begun: list[int] = []
        self.asked: list[int] = []
        self.done: list[int] = []
        self.errors: list[Exception] = []
        self.is_read = True
        self.held = 0
        self.answers: dict[int, asyncio.Future[None]] = {}
        self.acceptances: dict[int, asyncio.Future[bool]] = {}
        self.routes: dict[int, str | None] = {}
        self.queued = {}
        self.tasks = Tasks()
        self.paces = Paces()
        self.now_ns = 0
        config = Config.model_validate({"relay": relay, "gateway": {"max_frame": 1024}})
        self.queue = RelayQueue(self, config, self, paces=self.paces, tasks=self.tasks, clock=lambda: self.now_ns)

    async def relay(self, queued) -> None:
        number = queued.number
        self.begun.append(number)
        self.queued[number] = queued
        self.routes[number] = queued.route.url
        queued.begin()
        if queued.route.url is None:
            queued.route.url = f"endpoint of {number}"
        self.answers[number] = asyncio.get_running_loop().create_future()
        await self.answers[number]
        self.done.append(number)

    async def confirm(self, queued) -> bool:
        self.asked.append(queued.number)
        self.acceptances[queued.number] = asyncio.get_running_loop().create_future()
        return await self.acceptances[queued.number]

    def fail(self, error: Exception) -> None:
        self.errors.append(error)

    def pause_reading(self) -> None:
        assert self.is_read
        self.is_read = False

    def hold(self, number: int) -> None:
        self.held += number
        assert self.held >= 0

    def resume_reading(self) -> None:
        assert not self.is_read
        self.is_read = True

    # --- what a test does -------------------------------------------------------------------------------------------

    async def put(self, *numbers: int, **changes: object) -> None:
        for number in numbers:
            self.queue.put(Request(number, **changes), self.now_ns)
        await advance(0)

    async def accept(self, number: int, *, is_accepted: bool = True) -> None:
        self.acceptances[number].set_result(is_accepted)
        await advance(0)
        await advance(FIRST_GAP_S)

    async def answer(self, number: int, error: Exception | None = None) -> None:
        if error is None:
            self.answers[number].set_result(None)
        else:
            self.answers[number].set_exception(error)
        await advance(0)

    async def end(self) -> None:
        """Nothing is left."""
        while open_ones := [number for number, answer in self.answers.items() if not answer.done()]:
            await self.answer(open_ones[0])
        for acceptance in self.acceptances.values():
            if not acceptance.done():
                acceptance.set_result(False)
        await self.queue.settled()
        await advance(0)
        assert len(self.tasks) == 0
        assert len(self.queue) == 0


def test_a_call_alone_is_sent_once_and_the_next_confirms_it() -> None:
    async def work() -> None:
        ic = Ic()
        await ic.put(0)
        assert (ic.begun, ic.asked) == ([0], [])
        await ic.put(1, 2)
        assert (ic.begun, ic.asked) == ([0], [0])
        await ic.accept(0)
        assert (ic.begun, ic.asked) == ([0, 1], [0, 1])
        await ic.accept(1)
        assert (ic.begun, ic.asked) == ([0, 1, 2], [0, 1])
        assert [ic.routes[number] for number in range(3)] == [None, "endpoint of 0", "endpoint of 0"]
        await ic.end()
        await ic.put(3)
        assert ic.routes[3] is None
        await ic.end()

    run(work)


def test_an_acceptance_needs_its_gap() -> None:
    async def work() -> None:
        ic = Ic()
        await ic.put(0, 1)
        ic.acceptances[0].set_result(True)
        await advance(0)
        await advance(0.9 * FIRST_GAP_S)
        assert ic.begun == [0]
        await advance(0.1 * FIRST_GAP_S + 0.001)
        assert ic.begun == [0, 1]
        await ic.end()

    run(work)


def test_where_acceptance_cannot_be_known_the_next_waits_for_the_answer() -> None:
    async def work() -> None:
        ic = Ic()
        await ic.put(0, 1, 2)
        await ic.accept(0, is_accepted=False)
        await advance(60)
        assert (ic.begun, ic.asked) == ([0], [0])
        await ic.answer(0)
        assert ic.begun == [0, 1]
        await ic.answer(1)
        assert ic.begun == [0, 1, 2]
        await ic.end()

    run(work)


def test_trouble_with_a_call_holds_the_others_until_it_is_settled() -> None:
    async def work() -> None:
        ic = Ic()
        await ic.put(0, 1, 2, 3)
        await ic.accept(0)
        ic.queued[1].route.on_trouble()
        await ic.accept(1)
        await advance(60)
        assert ic.begun == [0, 1]
        await ic.answer(0)
        assert ic.begun == [0, 1]
        await ic.answer(1)
        assert ic.begun == [0, 1, 2]
        await ic.end()

    run(work)


@pytest.mark.parametrize("relay", [{"order": "strict"}, {"window": 1}])
def test_strict_is_one_after_the_other(relay: dict[str, object]) -> None:
    async def work() -> None:
        ic = Ic(**relay)
        await ic.put(*range(5))
        for number in range(5):
            await advance(60)
            assert ic.begun == list(range(number + 1))
            await ic.answer(number)
        assert not ic.asked
        await ic.end()

    run(work)


def test_the_window_bounds_what_is_under_way() -> None:
    async def work() -> None:
        ic = Ic(window=3)
        await ic.put(*range(9))
        for number in range(2):
            await ic.accept(number)
        await advance(60)
        assert ic.begun == [0, 1, 2]
        assert ic.asked == [0, 1]
        await ic.answer(0)
        assert ic.asked == [0, 1, 2]
        await ic.accept(2)
        assert ic.begun == [0, 1, 2, 3]
        await ic.end()

    run(work)


def test_a_certified_answer_frees_the_places_of_all_calls_before_it() -> None:
    async def work() -> None:
        ic = Ic(window=3)
        await ic.put(*range(9))
        for number in range(2):
            await ic.accept(number)
        assert ic.begun == [0, 1, 2]
        ic.queued[2].is_executed = True
        await ic.answer(2)
        assert (ic.begun, ic.asked) == ([0, 1, 2, 3], [0, 1, 3])
        await ic.end()

    run(work)


@pytest.mark.parametrize("first", ["late", "early"])
def test_a_lost_order_is_named_whichever_refusal_comes_first(first: str) -> None:
    async def work() -> None:
        ic = Ic()
        await ic.put(0, 1, 2, 3)
        await ic.accept(0)
        await ic.accept(1)
        await ic.answer(0)
        if first == "late":
            await ic.answer(2, LOST)
            await ic.answer(1, GONE)
        else:
            await ic.answer(1, GONE)
            assert not ic.errors
            await ic.answer(2, LOST)
        assert isinstance(ic.errors[0], OrderLost)
        assert ic.begun == [0, 1, 2]
        assert ic.paces.of(b"canister").limit(ClockLoop.now, 8) == 1
        await ic.end()

    run(work)


def test_after_a_lost_order_every_client_of_the_canister_goes_one_at_a_time() -> None:
    async def work() -> None:
        ic = Ic()
        ic.paces.of(b"canister").lost_order(asyncio.get_running_loop().time())
        await ic.put(0, 1)
        assert ic.begun == [0]
        assert not ic.asked
        await ic.put(2, canister_id=b"canister")
        await ic.answer(0)
        assert ic.begun == [0, 1]
        await ic.end()

    run(work)


def test_a_client_that_numbers_wrongly_is_not_taken_for_a_lost_order() -> None:
    async def work() -> None:
        ic = Ic()
        await ic.put(0, 2, 3)
        await ic.accept(0)
        await ic.answer(1, LOST)
        await ic.end()
        assert ic.errors == [LOST]
        assert ic.paces.of(b"canister").lost == 0

    run(work)


def test_a_refused_number_of_a_call_alone_is_the_clients() -> None:
    async def work() -> None:
        ic = Ic()
        await ic.put(0)
        await ic.answer(0, LOST)
        assert ic.errors == [LOST]
        await ic.end()

    run(work)


def test_what_waits_behind_a_failed_call_is_dropped() -> None:
    async def work() -> None:
        ic = Ic()
        await ic.put(0, 1, 2)
        error = CallExpired("ws_message", "no answer")
        await ic.answer(0, error)
        assert ic.errors == [error]
        await ic.put(3)
        await ic.end()
        assert ic.begun == [0]

    run(work)


def test_a_call_that_expires_while_it_waits_ends_its_client() -> None:
    async def work() -> None:
        ic = Ic()
        await ic.put(0)
        await ic.put(1, ingress_expiry_ns=20 * 10**9)
        ic.now_ns = 19 * 10**9
        await advance(19)
        assert not ic.errors
        ic.now_ns = 21 * 10**9
        await advance(2)
        assert isinstance(ic.errors[0], CallExpired)
        assert len(ic.queue) == 0
        await ic.end()

    run(work)


def test_a_full_queue_is_not_read_until_there_is_room() -> None:
    async def work() -> None:
        ic = Ic(queue=2)
        await ic.put(0, 1)
        assert ic.is_read
        await ic.put(2)
        assert not ic.is_read
        await ic.answer(0)
        assert ic.is_read
        await ic.end()

    run(work)


def test_large_messages_fill_it_sooner() -> None:
    async def work() -> None:
        ic = Ic(queue=1000)
        await ic.put(0, 1, body=bytes(LARGE_MESSAGES * 1024))
        assert not ic.is_read
        await ic.answer(0)
        assert ic.is_read
        await ic.end()

    run(work)


@given(st.floats(0.5, 20.0), st.booleans())
def test_a_client_is_not_read_while_what_waits_would_take_too_long(call_s: float, paced: bool) -> None:
    async def work() -> None:
        ic = Ic(queue=10_000, backlog=30.0, order="paced" if paced else "strict")
        await ic.put(0)
        await advance(call_s)
        await ic.answer(0)
        each_s = max(FIRST_GAP_S, call_s / 16) if paced else call_s
        number = 1
        while ic.is_read:
            await ic.put(number)
            number += 1
        assert abs(len(ic.queue) * each_s - 30) <= each_s + 1e-6
        ic.queue.drop()
        assert ic.is_read
        await ic.end()

    run(work)


async def test_settling_does_not_hang_on_a_task_that_never_ran() -> None:
    ic = Ic()
    ic.queue.put(Request(0), time.time_ns())
    await ic.tasks.cancel()
    await ic.queue.settled()
    assert not ic.begun


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "put", "accept", "reject", "answer", "trouble", "wait"]), st.integers(0, 9)),
    max_size=60,
)


@given(STEPS, st.sampled_from(["paced", "strict"]))
def test_whatever_happens_all_are_sent_in_order_once(steps: list[tuple[str, int]], order: str) -> None:
    async def work() -> None:
        ic = Ic(order=order)
        put = 0
        for what, which in steps:
            answers = [number for number, answer in sorted(ic.answers.items()) if not answer.done()]
            acceptances = [number for number, answer in sorted(ic.acceptances.items()) if not answer.done()]
            if what == "put":
                await ic.put(put)
                put += 1
            elif what in ("accept", "reject") and acceptances:
                await ic.accept(acceptances[which % len(acceptances)], is_accepted=what == "accept")
            elif what == "answer" and answers:
                await ic.answer(answers[which % len(answers)])
            elif what == "trouble" and answers:
                ic.queued[answers[which % len(answers)]].route.on_trouble()
            else:
                await advance(1)
            assert ic.begun == list(range(len(ic.begun)))
            assert len(ic.begun) - len(ic.done) <= (1 if order == "strict" else 16)
            assert len(ic.asked) == len(set(ic.asked))
        for _ in range(put):
            for number in [number for number, answer in ic.answers.items() if not answer.done()]:
                await ic.answer(number)
        assert ic.begun == list(range(put))
        assert sorted(ic.done) == list(range(put))
        await ic.end()
        assert not ic.errors

    run(work)


@pytest.mark.parametrize(
    "error", [IcUnreachable("https://a", "no"), UncertifiedReject(3, "not found"), ValueError("x")]
)
def test_another_error_does_not_wait_for_the_calls_beside_it(error: Exception) -> None:
    async def work() -> None:
        ic = Ic()
        await ic.put(0, 1)
        await ic.accept(0)
        await ic.answer(0, error)
        assert ic.errors == [error]
        await ic.end()

    run(work)
