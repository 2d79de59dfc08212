from tests.cli.conftest import Icws
from tests.cluster.board import Board, MemoryEngine
from tests.cluster.nodes import beating


async def test_a_gateway_that_is_alone_says_so(icws: Icws):
    assert await icws.lines("nodes") == ["this gateway is alone: its configuration has no section `cluster`"]


async def test_the_nodes_and_how_they_are(icws: Icws):
    board = Board()
    engine = MemoryEngine(board)
    async with beating(engine, "a") as it, beating(MemoryEngine(board), "b") as other:
        icws.plane.control.node = it.node
        other.local.sessions = 1234
        await other.beat()
        head, first, second = await icws.lines("nodes")
        assert head.split() == ["NODE", "STATE", "SESSIONS", "HEARTBEAT", "STARTED", "MACHINE", "PID", "VERSION"]
        assert first.split()[:4] == ["a", "(this)", "alive", "0"]
        assert second.split()[:2] == ["b", "alive"]
        assert "1 234" in second
        assert "cluster        main, node a, joined\n" in (await icws("status")).stdout
        engine.is_away = True
        await it.beat()
        answer = await icws("nodes", code=1)
        assert "goes on without its cluster" in answer.stdout
        icws.plane.control.node = None
