"""The measure of a large cluster (``scale``), at a small one."""

import asyncio

from tests.cluster import scale


def test_a_heartbeat_costs_the_same_however_many_sessions_there_are_and_a_dead_node_is_spoken_for(capsys) -> None:
    asyncio.run(scale.measure(4, 30))
    assert "4 nodes with 30 sessions each, 120 at the engine" in capsys.readouterr().out
