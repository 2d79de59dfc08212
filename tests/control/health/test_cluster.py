import pytest

from appliance.cluster.engine import DEAD_MS
from appliance.control.health.cluster import SILENT_MS, finding_of, problem_of
from appliance.errors import EngineAway
from tests.cluster.board import Board, MemoryEngine
from tests.cluster.nodes import beating, until


async def test_the_check_is_never_red_and_says_what_is_wrong():
    assert finding_of(None).ok
    board = Board()
    engine = MemoryEngine(board)
    async with beating(engine, "a") as it, beating(MemoryEngine(board), "b"):
        await it.beat()
        assert finding_of(it.node) == (finding := finding_of(it.node))
        assert (finding.ok, finding.detail) == (True, "node a of cluster main, with 1 other node")
        assert problem_of(it.node) is None
        engine.is_away = True
        await it.beat()
        finding = finding_of(it.node)
        assert finding.ok
        assert "goes on without its cluster" in finding.detail
        assert finding.detail == problem_of(it.node)


def test_a_node_is_shown_as_silent_once_it_does_not_hold_its_name() -> None:
    assert SILENT_MS == DEAD_MS


@pytest.mark.parametrize("command", ["listen", "ring"])
async def test_a_doorbell_that_the_engine_forbids_is_seen(command):
    engine = MemoryEngine(Board())
    engine.lies[command] = EngineAway("this user has no permissions")
    async with beating(engine) as it:
        await until(lambda: problem_of(it.node))
        assert "no permissions" in (problem_of(it.node) or "")
        assert finding_of(it.node).ok
        del engine.lies[command]
        await it.beat()
        await it.beat()
        await until(lambda: problem_of(it.node) is None)
