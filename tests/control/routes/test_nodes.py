from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.errors import EngineAway
from tests.cluster.board import Board, MemoryEngine
from tests.cluster.nodes import Beating, beating
from tests.control.plane import Plane


@asynccontextmanager
async def clustered(plane: Plane, engine: MemoryEngine) -> AsyncIterator[Beating]:
    """The gateway of this plane, as a node."""
    async with beating(engine, "a") as it:
        plane.control.node = it.node
        yield it
        plane.control.node = None


async def test_a_gateway_without_a_cluster_says_so(plane: Plane) -> None:
    found = await plane.get("/v1/nodes")
    assert found == {"cluster": None, "node": None, "engine": None, "problem": None, "items": []}
    status = await plane.get("/v1/status")
    assert (status["cluster"], status["node"], status["engine"]) == (None, None, None)


async def test_the_nodes_of_a_cluster(plane: Plane) -> None:
    board = Board()
    async with clustered(plane, MemoryEngine(board)) as it, beating(MemoryEngine(board), "b") as other:
        other.local.sessions = 7
        await other.beat()
        board.now_ms += 10_001
        await it.beat()
        found = await plane.get("/v1/nodes")
        assert (found["cluster"], found["node"], found["engine"]) == ("main", "a", "joined")
        assert found["problem"].startswith("nobody gives up b, which is silent and has no cluster.peer")
        seen = [(each["name"], each["is_this"], each["state"], each["sessions"]) for each in found["items"]]
        assert seen == [("a", True, "alive", 0), ("b", False, "silent", 7)]
        assert found["items"][1]["silent_s"] == 10.001
        status = await plane.get("/v1/status")
        assert (status["cluster"], status["node"], status["engine"]) == ("main", "a", "joined")


async def test_an_engine_that_is_away_is_a_problem_and_no_reason_to_send_clients_elsewhere(plane: Plane) -> None:
    engine = MemoryEngine(Board())
    async with clustered(plane, engine) as it:
        engine.lies["nodes"] = EngineAway("it fell silent a moment ago")
        assert "a moment ago" in (await plane.get("/v1/nodes"))["problem"]
        engine.lies.clear()
        engine.is_away = True
        await it.beat()
        found = await plane.get("/v1/nodes")
        assert (found["engine"], found["items"]) == ("away", [])
        assert "goes on without its cluster" in found["problem"]
