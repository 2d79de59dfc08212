from pathlib import Path

from appliance.cluster.engine import Beat
from appliance.cluster.registry.engine import Owner
from tests.cli.conftest import Icws
from tests.cluster.board import Board, MemoryEngine
from tests.cluster.nodes import FACTS, INFO, beating


async def test_a_gateway_that_is_alone_says_so(icws: Icws):
    assert await icws.lines("nodes") == ["this gateway is alone: its configuration has no section `cluster`"]


async def test_the_nodes_and_how_they_are(icws: Icws, tmp_path: Path):
    board = Board()
    engine = MemoryEngine(board)
    settings = {"settings": {"peer": f"unix:{tmp_path / 'a.sock'}"}}
    async with beating(engine, "a", **settings) as it, beating(MemoryEngine(board), "b") as other:
        icws.plane.control.node = it.node
        other.local.sessions = 1234
        it.node.describe(draining=False, revision=7, failing="ic, clock")
        other.node.describe(draining=True, revision=8, failing="gateway")
        for each in (it, other):
            await each.beat()
        head, first, second, *below = await icws.lines("nodes")
        assert head.split() == [
            *("NODE", "STATE", "SESSIONS", "REVISION", "HEARTBEAT", "STARTED", "MACHINE", "PID", "VERSION")
        ]
        assert first.split()[:6] == ["a", "(this)", "not", "ready", "0", "7"]
        assert second.split()[:2] == ["b", "draining"]
        assert "1 234" in second
        assert below == [
            "a is not ready: ic, clock",
            "b is not ready: gateway",
            "b has no cluster.peer: nobody speaks for it if it dies, but its next start",
        ]
        assert "cluster        main, node a, joined\n" in (await icws("status")).stdout
        engine.is_away = True
        await it.beat()
        answer = await icws("nodes", code=1)
        assert "goes on without its cluster" in answer.stdout
        icws.plane.control.node = None


async def test_who_was_given_up_and_how_many_were_told(icws: Icws):
    board = Board(now_ms=1_700_000_000_000)
    async with beating(MemoryEngine(board), "a") as it:
        icws.plane.control.node = it.node
        board.beat(Beat("b", "b" * 16, 1, FACTS, INFO))
        board.now_ms += 60_000
        await it.beat()
        answer = await icws.lines("nodes")
        assert answer[-1].startswith("nobody gives up b, which is silent and has no cluster.peer")
        assert board.registry.give_up("a", it.node.incarnation, Owner("b", "b" * 16), 30_000)
        board.registry.numbers["b" * 16] = 1
        board.registry.known["b", b"y"] = b"b" * 16
        await it.beat()
        answer = await icws.lines("nodes")
        assert answer[2].split()[:3] == ["b", "given", "up"]
        assert answer[-1].startswith("b was given up by a ")
        assert answer[-1].endswith(": its canisters were told of 1 client, 1 to go")
        board.beat(Beat("b", "c" * 16, 1, FACTS, INFO))
        await it.beat()
        answer = await icws.lines("nodes")
        assert [each.split()[:2] for each in answer[2:4]] == [["b", "alive"], ["b", "given"]]
        icws.plane.control.node = None
