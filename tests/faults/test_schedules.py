"""The slice of the fault schedules that CI runs; ``make soak`` runs all of them."""

from dataclasses import replace
from math import inf

import pytest

from tests.faults.harness import run
from tests.faults.schedule import Rule, Schedule, schedule

SLICE = (
    "reset_in_body/talking",
    "connection_refused/talking",
    "garbage_cbor/talking",
    "web_page/beside",
    "queue_of_another_gateway/beside",
    "nothing_for_ever/beside",
    "bit_flip_in_client_key/beside",
    "message_left_out_in_the_middle/beside",
    "certificate_ten_minutes_old/talking",
)


@pytest.mark.parametrize("name", SLICE)
async def test_everything_arrives_once_and_in_order_or_the_session_is_closed_with_a_reason(name: str) -> None:
    outcome = await run(schedule(name))
    assert not outcome.problems, outcome.report()


async def test_a_gateway_that_passes_on_what_does_not_verify_is_found_out() -> None:
    always = replace(schedule("bit_flip_in_content/talking"), rules=(Rule(0, "bit_flip_in_content", 0, inf),))
    outcome = await run(always, verification={"certificates": "off", "queries": "off"}, patience_s=4)
    assert any("was sent a wrong message" in problem for problem in outcome.problems)
    assert "python -m tests.faults bit_flip_in_content/talking" in outcome.report()


async def test_without_faults_all_is_well_and_the_run_shows_nothing() -> None:
    outcome = await run(Schedule("honest", 2, ()))
    assert outcome.problems == ["the fault never struck: this run shows nothing"]
    assert outcome.sessions == 4
