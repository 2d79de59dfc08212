"""The engine of the workers does at its socket what the board does, and what goes wrong there is an engine that is
away.
"""

import asyncio
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.cluster.engine import HELD_MS, Beat, BeatAnswer, Facts, Joined, NameHeld, NodeRecord, OtherFacts
from appliance.cluster.local_engine import frames
from appliance.cluster.local_engine import server as server_module
from appliance.cluster.local_engine.board import SWEEP_MS, Board
from appliance.cluster.local_engine.client import LocalEngine, LocalRegistry
from appliance.cluster.local_engine.encoding import METHODS, _codec, methods, read_as
from appliance.cluster.local_engine.server import EngineServer
from appliance.cluster.registry.engine import Owner, Page
from appliance.cluster.shared.leases import Wanted
from appliance.errors import EngineAway, Malformed
from tests.cluster.nodes import CANISTER, GROUP, INFO, NOW_NS, claim, until
from tests.cluster.test_redis_engine import SENT_MS, STEPS


@asynccontextmanager
async def engine(board: Board | None = None) -> AsyncIterator[tuple[EngineServer, LocalEngine]]:
    with tempfile.TemporaryDirectory() as folder:
        board = Board() if board is None else board
        async with EngineServer(board, Path(folder) / "engine.sock", clock_ms=lambda: board.now_ms) as server:
            client = LocalEngine(server.path)
            await client.connect()
            yield server, client
            await client.close()


def beat(node: str, *, incarnation: str = "0" * 16) -> Beat:
    return Beat(node, incarnation, 1, Facts("a", "b"), INFO)


@settings(max_examples=60)
@given(st.lists(STEPS, max_size=30))
def test_the_engine_does_what_the_board_does(steps: list[tuple[Any, ...]]) -> None:
    async def main() -> None:
        board = Board()
        board.flush()
        async with engine(Board()) as (server, client):
            server.board.flush()
            for name, *args in steps:
                named = {"now_ns": NOW_NS, "since_ms": args.pop()} if name == "claim" else {}
                assert await getattr(client, name)(*args, **named) == getattr(board, name)(*args, **named)
            assert await client.nodes() == board.nodes()
            assert server.board == board

    asyncio.run(main())


@given(
    st.one_of(
        st.builds(Joined, st.booleans(), st.integers(0, 10**15)),
        st.builds(OtherFacts, st.builds(Facts, st.text(), st.text())),
        st.builds(NameHeld, st.text()),
    )
)
def test_an_answer_of_several_kinds_is_the_same_at_the_other_end(answer: BeatAnswer) -> None:
    write, read = methods()["beat"].answer
    assert read(frames.Frames().feed(frames.encode(1, write(answer)))[0][1]) == answer


def test_every_method_of_the_engine_has_a_way() -> None:
    assert set(methods()) == set(METHODS)
    for name in METHODS:
        _, _, of_registry = name.partition(".")
        assert hasattr(LocalRegistry if of_registry else LocalEngine, of_registry or name)
        assert hasattr(Board().registry if of_registry else Board, of_registry or name)


def test_a_type_that_has_no_form_is_refused_when_it_is_declared() -> None:
    with pytest.raises(TypeError, match="does not travel"):
        _codec(set)


JSON = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=3)), st.lists)


@given(st.sampled_from(METHODS), JSON)
def test_whatever_a_worker_sends_as_arguments_is_read_or_malformed(name: str, plain: Any) -> None:
    with suppress(Malformed):
        methods()[name].read(plain)
    with suppress(Malformed):
        read_as(methods()[name].answer[1], plain)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_frames_are_cut_wherever_they_are_split_or_are_malformed(data: bytes, size: int) -> None:
    whole = frames.encode(7, "word", [data.hex()]) * 2
    cut = frames.Frames()
    found = [each for at in range(0, len(whole), size) for each in cut.feed(whole[at : at + size])]
    assert found == [[7, "word", [data.hex()]]] * 2
    with suppress(Malformed):
        frames.Frames().feed(data)


def test_a_frame_that_is_too_long_is_neither_written_nor_awaited() -> None:
    with pytest.raises(Malformed):
        frames.encode(1, "x" * frames.MAX_FRAME)
    with pytest.raises(Malformed):
        frames.Frames().feed((frames.MAX_FRAME + 1).to_bytes(4, "big"))


async def test_only_its_user_may_open_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    async with engine() as (server, client):
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
        await client.nodes()
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        await client.connect()
        with pytest.raises(EngineAway):
            await client.nodes()
        assert not server.connections or await until(lambda: not server.connections) is None


async def test_no_more_connections_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 1)
    async with engine() as (server, first):
        await first.nodes()
        second = LocalEngine(server.path)
        await second.connect()
        with pytest.raises(EngineAway):
            await second.nodes()
        await first.nodes()
        await second.close()


async def test_what_one_rings_everybody_hears_who_listens() -> None:
    async with engine() as (server, client), AsyncExitStack() as stack:
        other = LocalEngine(server.path)
        await other.connect()
        stack.push_async_callback(other.close)
        heard: list[bytes] = []
        told: list[bytes] = []
        listening = asyncio.ensure_future(other.listen("0" * 16, heard.append, told.append))
        await until(lambda: any(each.listens for each in server.connections))
        await client.ring(b"\x00bell")
        await until(lambda: heard)
        assert heard == [b"\x00bell"]
        assert await client.tell("0" * 16, b"to you")
        assert not await client.tell("f" * 16, b"to nobody")
        await until(lambda: told)
        assert told == [b"to you"]
        await other.close()
        with pytest.raises(EngineAway):
            await listening


async def test_a_worker_that_does_not_read_loses_its_connection_and_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "MAX_UNREAD", 10_000)
    async with engine() as (server, client):
        _, writer = await asyncio.open_unix_connection(str(server.path), limit=1)
        writer.write(frames.encode(1, "listen", ["0" * 16]))
        await until(lambda: any(each.listens for each in server.connections))
        while len(server.connections) == 2:
            await client.ring(b"r" * 30_000)
        assert await client.nodes() == []
        writer.close()


@pytest.mark.parametrize(
    "data",
    [b"\xff" * 4, frames.encode(1, "no such method", []), frames.encode(1, "beat", [7]), frames.encode(1, "beat")],
)
async def test_what_cannot_be_read_closes_that_connection_and_no_other(data: bytes) -> None:
    async with engine() as (server, client):
        reader, writer = await asyncio.open_unix_connection(str(server.path))
        writer.write(data)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        assert await client.nodes() == []


async def test_an_engine_that_ends_answers_whoever_waits_and_can_be_connected_again() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "engine.sock"
        client = LocalEngine(path)
        with pytest.raises(EngineAway):
            await client.nodes()
        with pytest.raises(EngineAway, match="cannot be reached"):
            await client.connect()
        async with EngineServer(Board(), path):
            await client.connect()
            listening = asyncio.ensure_future(client.listen("0" * 16, lambda _: None, lambda _: None))
            assert await client.nodes() == []
        with pytest.raises(EngineAway):
            await listening
        async with EngineServer(Board(), path):
            await client.connect()
            assert await client.nodes() == []
            await client.close()


async def test_a_command_that_its_caller_gave_up_is_answered_into_the_void() -> None:
    async with engine() as (_, client):
        asking = asyncio.ensure_future(client.nodes())
        await asyncio.sleep(0)
        asking.cancel()
        assert isinstance(await client.beat(beat("a")), Joined)


async def test_an_engine_that_is_full_is_away_until_something_has_expired() -> None:
    async with engine(Board(limit=3)) as (server, client):
        for number in range(2):
            await client.claim("a", "0" * 16, claim(b"%d" % number), now_ns=NOW_NS, since_ms=SENT_MS)
        await client.claim("a", "0" * 16, claim(b"", group=b"g"), now_ns=NOW_NS, since_ms=SENT_MS)
        with pytest.raises(EngineAway, match=r"cluster\.claims"):
            await client.claim("a", "0" * 16, claim(b"more"), now_ns=NOW_NS, since_ms=SENT_MS)
        with pytest.raises(EngineAway):
            await client.release("a", "0" * 16, GROUP) if await client.beat(beat("a")) else None
        server.board.now_ms += HELD_MS + SWEEP_MS
        assert await client.claim("a", "0" * 16, claim(b"more"), now_ns=NOW_NS, since_ms=SENT_MS) in (
            "granted",
            "doubted",
        )
        assert len(server.board) == 1


async def test_an_engine_that_is_full_of_clients_forgets_those_that_left() -> None:
    async with engine(Board(limit=3)) as (server, client):
        await client.beat(beat("a"))
        write = client.registry.write
        entries: dict[bytes, bytes | None] = {b"%d" % number: b"0" * 16 for number in range(3)}
        assert await write("a", "0" * 16, entries)
        assert await write("a", "0" * 16, {b"0": b"0" * 16 + b"changed"})
        with pytest.raises(EngineAway, match=r"cluster\.claims"):
            await write("a", "0" * 16, {b"more": b"0" * 16})
        assert await write("a", "0" * 16, dict.fromkeys(entries))
        assert len(server.board) == 0
        assert await write("a", "0" * 16, {b"more": b"0" * 16})


async def test_the_name_of_a_process_that_died_is_free_at_once_and_a_reason_to_doubt() -> None:
    board = Board()
    async with engine(board) as (server, client):
        await client.beat(beat("a"))
        assert await client.claim("a", "0" * 16, claim(b"1"), now_ns=NOW_NS, since_ms=SENT_MS) == "granted"
        assert isinstance(await client.beat(beat("a", incarnation="f" * 16)), NameHeld)
        server.died("a")
        assert await client.beat(beat("a", incarnation="f" * 16)) == Joined(False, 0)
        assert await client.claim("a", "f" * 16, claim(b"2"), now_ns=NOW_NS, since_ms=SENT_MS) == "doubted"
        assert [NodeRecord("a", "f" * 16, 0, INFO)] == await client.nodes()
        assert CANISTER


async def test_the_registry_and_shared_polls_are_those_of_the_board() -> None:
    async with engine() as (server, client):
        assert isinstance(await client.beat(beat("a")), Joined)
        registry = client.registry
        assert await registry.write("a", "0" * 16, {b"field": b"0" * 16 + b"value", b"gone": None})
        (suspect,) = await registry.suspects()
        assert (suspect.node, suspect.clients, suspect.info) == ("a", 1, INFO)
        owner = Owner("a", "0" * 16)
        assert await registry.clients(owner, b"") == Page({b"field": b"0" * 16 + b"value"}, b"")
        assert not await registry.give_up("a", "0" * 16, owner, 1)
        assert await registry.tell("a", "0" * 16, owner, b"field", GROUP, earlier_ms=0) == "free"
        assert await registry.holds("0" * 16, [GROUP]) == [False]
        assert await registry.returned("a", "0" * 16) == {b"field": 0}
        await registry.told("a", "0" * 16, owner, b"field", GROUP, is_told=True)
        await registry.drop(owner, b"field")
        heard: list[bytes] = []
        hearing = asyncio.ensure_future(client.hear(heard.append))
        await until(lambda: server.board.hearers)
        (lease,) = await client.lease("0" * 16, [Wanted(b"queue", "e", "hold")])
        assert lease.holder == "0" * 16
        assert await client.put("0" * 16, b"queue", "e", 1, b"entry", memory=1 << 20)
        await until(lambda: heard)
        assert (await client.entries(b"queue", "e", 0, max_bytes=100)).entries == [b"entry"]
        await client.close()
        with pytest.raises(EngineAway):
            await hearing
        await until(lambda: not server.board.hearers and not server.connections)
