"""The connection that entries are read over, against servers that answer anything."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.cluster.shared import wire as module
from appliance.cluster.shared.wire import Address, Login, Reads, Wire, digest_of, hear
from appliance.errors import EngineAway

VALUES = st.recursive(
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=40)),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


def encoded(value: object) -> bytes:
    match value:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % value
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(value), value)
        case list():
            return b"*%d\r\n" % len(value) + b"".join(map(encoded, value))
    raise TypeError(value)


def depth(value: object) -> int:
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_aborted = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written.append(data)

    def abort(self) -> None:
        self.is_aborted = True


def made(pushed: Callable[[bytes], None] | None = None) -> tuple[Wire, Transport]:
    wire, transport = Wire(1.0, pushed), Transport()
    wire.connection_made(transport)
    return wire, transport


@settings(max_examples=30)
@given(st.lists(VALUES.filter(lambda value: depth(value) <= module.MAX_DEPTH), max_size=4), st.data())
def test_answers_are_read_wherever_they_are_cut(values: list[object], data: st.DataObject) -> None:
    async def main() -> None:
        wire, transport = made()
        asked = [wire.ask("GET", b"key") for _ in values]
        sent = b"".join(map(encoded, values))
        while sent:
            cut = data.draw(st.integers(1, len(sent)))
            wire.data_received(sent[:cut])
            sent = sent[cut:]
        assert [answer.result() for answer in asked] == values
        assert not transport.is_aborted
        wire.connection_lost(None)

    asyncio.run(main())


@settings(max_examples=150)
@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([b"*3\r\n", b"$5\r\n", b":1\r\n", b"-\r\n"]))))
def test_whatever_comes_ends_with_an_answer_or_the_connection(pieces: list[bytes]) -> None:
    async def main() -> None:
        heard: list[bytes] = []
        wire, transport = made(heard.append)
        asked = wire.ask("GET", b"key")
        for piece in pieces:
            if not transport.is_aborted:
                wire.data_received(piece)
        wire.connection_lost(None)
        assert asked.done()
        asked.exception()
        assert not wire.is_open

    asyncio.run(main())


@pytest.mark.parametrize(
    "sent",
    [b"$%d\r\n" % (module.MAX_BYTES + 1), b"*%d\r\n" % (module.MAX_ITEMS + 1), b"*1\r\n" * 9, b"?\r\n", b":x\r\n"],
)
async def test_an_answer_that_would_take_memory_without_bound_ends_the_connection(sent: bytes) -> None:
    wire, transport = made()
    asked = wire.ask("GET", b"key")
    wire.data_received(sent)
    assert transport.is_aborted
    wire.connection_lost(None)
    with pytest.raises(EngineAway):
        await asked


async def test_what_nobody_asked_for_ends_the_connection() -> None:
    wire, transport = made()
    wire.data_received(b":1\r\n")
    assert transport.is_aborted
    wire.connection_lost(None)


async def test_requests_that_are_not_answered_are_bounded() -> None:
    wire, _ = made()
    asked = [wire.ask("GET", b"key") for _ in range(module.MAX_WAITING)]
    with pytest.raises(EngineAway):
        wire.ask("GET", b"key")
    wire.connection_lost(None)
    assert all(isinstance(each.exception(), EngineAway) for each in asked)


async def test_a_server_that_answers_nothing_is_left() -> None:
    wire, transport = made()
    asked = wire.ask("GET", b"key")
    assert wire._timer is not None
    wire._timer.cancel()
    wire._check(wire._answered)
    assert transport.is_aborted
    wire.connection_lost(None)
    assert asked.exception() is not None


async def test_a_server_that_is_slow_is_not() -> None:
    wire, transport = made()
    first, second = wire.ask("GET", b"key"), wire.ask("GET", b"key")
    before = wire._answered
    wire.data_received(b":1\r\n")
    assert wire._timer is not None
    wire._timer.cancel()
    wire._check(before)
    assert not transport.is_aborted
    assert first.result() == 1
    second.cancel()
    wire.data_received(b":2\r\n")  # what is not waited for any more is read all the same
    third = wire.ask("GET", b"key")
    wire.data_received(b":3\r\n")
    assert third.result() == 3
    wire.connection_lost(None)


@asynccontextmanager
async def served(folder: Path, answer: Callable[[bytes], bytes]) -> AsyncIterator[Login]:
    """A server that answers each piece that comes."""

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            if sent := answer(data):
                self.transport.write(sent)  # type: ignore[attr-defined]
            else:
                self.transport.abort()  # type: ignore[attr-defined]

        def connection_lost(self, exc: Exception | None) -> None:
            ended.set()

    async def find() -> Address:
        return Address(path=folder / "socket")

    async def credentials() -> tuple[str, ...]:
        return ("user", "secret")

    ended = asyncio.Event()
    server = await asyncio.get_running_loop().create_unix_server(Server, str(folder / "socket"))
    async with server:
        yield Login(find, credentials, 3, 30.0)
        await ended.wait()


async def test_a_connection_begins_with_the_password_and_the_database(tmp_path) -> None:
    asked = b""

    def answer(more: bytes) -> bytes:
        nonlocal asked
        asked += more
        return b"+OK\r\n" if b"EVAL" not in more else b"$5\r\nvalue\r\n"

    async with served(tmp_path, answer) as login:
        reads = Reads(login)
        assert await reads.script("return 1", digest_of("return 1"), b"key", 7) == b"value"
        assert asked.startswith(b"*3\r\n$4\r\nAUTH\r\n$4\r\nuser\r\n$6\r\nsecret\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n")
        reads.close()


async def test_a_password_that_is_refused_is_an_engine_that_is_away(tmp_path) -> None:
    async with served(tmp_path, lambda _: b"-WRONGPASS no\r\n") as login:
        with pytest.raises(EngineAway, match="WRONGPASS"):
            await Reads(login).script("return 1", "0" * 40, b"key")


async def test_a_script_that_the_server_does_not_know_is_sent(tmp_path) -> None:
    def answer(asked: bytes) -> bytes:
        if b"EVALSHA" in asked:
            return b"-NOSCRIPT no matching script\r\n"
        return b":9\r\n" if b"EVAL" in asked else b"+OK\r\n"

    async with served(tmp_path, answer) as login:
        reads = Reads(login)
        assert await reads.script("return 9", digest_of("return 9"), b"key") == 9
        reads.close()


async def test_a_connection_that_was_lost_is_made_again(tmp_path) -> None:
    answers = [b"+OK\r\n", b"+OK\r\n", b"", b"+OK\r\n", b"+OK\r\n", b":1\r\n"]
    async with served(tmp_path, lambda _: answers.pop(0)) as login:
        reads = Reads(login)
        with pytest.raises(EngineAway):
            await reads.script("return 1", "0" * 40, b"key")
        assert await reads.script("return 1", "0" * 40, b"key") == 1
        reads.close()


async def test_what_is_published_is_heard_until_the_connection_ends(tmp_path) -> None:
    message = encoded([b"message", b"polls", b"queue"])
    answers = [b"+OK\r\n", b"+OK\r\n", encoded([b"subscribe", b"polls", 1]) + message + message]
    heard: list[bytes] = []

    def hear_it(queue: bytes) -> None:
        heard.append(queue)
        if len(heard) == 2:
            hearing.cancel()

    async with served(tmp_path, lambda _: answers.pop(0)) as login:
        hearing = asyncio.ensure_future(hear(login, b"polls", hear_it))
        await asyncio.wait({hearing})
    assert heard == [b"queue", b"queue"]
