from math import inf
from typing import get_args

import pytest

from tests.faults.kinds import FAULTS
from tests.faults.proxy import Kind
from tests.faults.schedule import SHAPES, names, schedule

ALL = list(names())


def test_there_are_enough_of_both() -> None:
    assert len(FAULTS) >= 40
    assert len(ALL) == len(set(ALL)) >= 60


@pytest.mark.parametrize("name", ALL)
def test_a_schedule_follows_from_its_name_and_leaves_one_endpoint_honest_in_the_end(name: str) -> None:
    it = schedule(name)
    assert it == schedule(name)
    assert it.name == name
    for_ever = {rule.endpoint for rule in it.rules if rule.ends_s == inf}
    assert len(for_ever) < it.endpoints
    assert all(0 <= rule.endpoint < it.endpoints for rule in it.rules)
    for endpoint in set(range(it.endpoints)) - for_ever:
        assert not any(it.choose(endpoint, kind, 1, it.healed_s, FAULTS) for kind in get_args(Kind))


def test_every_kind_has_every_shape() -> None:
    assert set(ALL) >= {f"{fault}/{shape}" for fault in FAULTS for shape in SHAPES}


@pytest.mark.parametrize("name", ["", "latency", "latency/never", "nonsense/beside", "mixed/one"])
def test_other_names_are_none(name: str) -> None:
    with pytest.raises(KeyError):
        schedule(name)


def test_equal_requests_meet_equal_chances() -> None:
    it = schedule("bit_flip_in_body/beside")
    draws = [it.choose(0, "query", 3, 1.0, ()) for _ in range(2)]
    assert all(draws)
    first, second = [random.random() for _, random in filter(None, draws)]
    assert first == second


def test_a_fault_that_nobody_met_in_its_time_strikes_once_later() -> None:
    it = schedule("latency/talking")
    assert not it.choose(0, "query", 1, 0.0, ())
    assert it.choose(0, "query", 1, it.healed_s + 1, ())
    assert not it.choose(0, "query", 1, it.healed_s + 1, ["latency"])
