"""The factor of a machine. How fast this one is matters to no test."""

import pytest

from appliance.bench.factor import Step, factor_of, measure_steps, sentence_of


def test_the_factor_is_the_geometric_mean() -> None:
    steps = [Step("one", 10, 5), Step("other", 10, 80)]
    assert factor_of(steps) == pytest.approx(2)
    assert sentence_of(steps).endswith(
        "2.00 times the CPU of the one that the bars were set on: one 5 us (0.50), other 80 us (8.00)"
    )


async def test_every_step_costs_cpu() -> None:
    steps = await measure_steps()
    assert len({step.name for step in steps}) == len(steps) == 5
    assert all(step.here_us > 0 for step in steps)
