from hypothesis import given
from hypothesis import strategies as st

from appliance.plugins.breaker import BUDGET, FAILURE, FIRST_REST_S, LAST_REST_S, Breaker

IN_A_ROW = BUDGET // FAILURE


def off(now_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(IN_A_ROW):
        breaker = breaker.failed(now_s)
    return breaker


def test_failures_in_a_row_switch_it_off_and_not_one_less():
    breaker = Breaker()
    for _ in range(IN_A_ROW - 1):
        breaker = breaker.failed(0)
        assert breaker.state == "on"
        assert breaker.allows(0)
    breaker = breaker.failed(0)
    assert breaker.state == "off"
    assert not breaker.allows(0)


@given(st.integers(0, IN_A_ROW - 1), st.integers(0, 3000))
def test_successes_give_the_budget_back(failures: int, successes: int):
    breaker = Breaker()
    for _ in range(failures):
        breaker = breaker.failed(0)
    for _ in range(successes):
        breaker = breaker.succeeded()
    assert breaker.spent == max(0, failures * FAILURE - successes)


def test_one_failure_among_twenty_is_borne_for_ever_and_one_among_ten_is_not():
    def failing_once_in(calls: int) -> Breaker:
        breaker = Breaker()
        for _ in range(200):
            breaker = breaker.failed(0)
            for _ in range(calls - 1):
                breaker = breaker.succeeded() if breaker.state == "on" else breaker
        return breaker

    assert failing_once_in(FAILURE + 1).state == "on"
    assert failing_once_in(FAILURE // 2).state == "off"


def test_after_a_rest_there_is_one_trial():
    breaker = off()
    assert not breaker.allows(FIRST_REST_S - 0.1)
    assert breaker.allows(FIRST_REST_S)
    tried = breaker.called(FIRST_REST_S)
    assert tried.state == "off"
    assert not tried.allows(FIRST_REST_S)
    assert tried.allows(2 * FIRST_REST_S)  # the trial never came back: another one


def test_a_trial_that_succeeds_switches_it_on_with_its_whole_budget():
    assert off().called(FIRST_REST_S).succeeded(trial=True) == Breaker()


def test_each_trial_that_fails_doubles_the_rest_up_to_a_limit():
    breaker, now_s, rests = off(), 0.0, []
    for _ in range(8):
        assert breaker.rests_until_s is not None
        rests.append(breaker.rests_until_s - now_s)
        now_s = breaker.rests_until_s
        breaker = breaker.called(now_s).failed(now_s, trial=True)
    assert rests == [min(FIRST_REST_S * 2**number, LAST_REST_S) for number in range(8)]


def test_calls_that_began_before_it_was_off_neither_prolong_the_rest_nor_end_it():
    assert off().failed(1.0) == off().succeeded() == off()


@given(st.lists(st.sampled_from(["call", "good", "bad"]), max_size=200), st.data())
def test_it_is_off_only_while_it_has_an_end(steps: list[str], data: st.DataObject):
    breaker, now_s = Breaker(), 0.0
    for step in steps:
        now_s += data.draw(st.floats(0, 100))
        if step == "call" and breaker.allows(now_s):
            breaker = breaker.called(now_s)
        elif step == "good":
            breaker = breaker.succeeded(trial=data.draw(st.booleans()))
        elif step == "bad":
            breaker = breaker.failed(now_s, trial=data.draw(st.booleans()))
        assert 0 <= breaker.spent <= BUDGET
        assert (breaker.state == "on") == (breaker.spent < BUDGET)
        assert breaker.allows(now_s + LAST_REST_S)
