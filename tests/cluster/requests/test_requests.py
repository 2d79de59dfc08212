"""What the engine does to requests between nodes, and that nothing comes of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from appliance.cluster.requests.pieces import MAX_ANSWER, PIECE_BYTES, Request, sealed
from appliance.cluster.seal import Seal
from appliance.crypto import SigningKey
from appliance.errors import NodeRefused, NodeSilent
from appliance.ic.identity import KeyIdentity
from tests.cluster.board import Board, MemoryEngine
from tests.cluster.nodes import NOW_NS, SEAL, Beating, beating, until

SHORT_S = 0.05
"""For answers that never come."""


class World:
    """Three nodes at one engine; ``done`` is what was done, by node."""

    def __init__(self, board: Board, nodes: dict[str, Beating]) -> None:
        self.board = board
        self.nodes = nodes
        self.done: list[tuple[str, str, str, bytes]] = []
        self.now_ns = NOW_NS
        for name, it in nodes.items():
            it.node.requests._clock = lambda: self.now_ns
            it.node.requests.serve({"close", "list"}, self._handler(name))

    def _handler(self, name: str):
        async def handle(kind: str, sender: str, body: bytes) -> bytes:
            self.done.append((name, kind, sender, body))
            return b"done: " + body

        return handle

    def incarnation(self, name: str) -> str:
        return self.nodes[name].node.incarnation

    async def ask(self, to: str, kind: str = "close", body: bytes = b"all", *, timeout_s: float = 60) -> bytes:
        return await self.nodes["a"].node.requests.ask(to, self.incarnation(to), kind, body, timeout_s)

    def refused(self, name: str) -> dict[str, int]:
        return dict(self.nodes[name].node.requests.refused)


@asynccontextmanager
async def world(**options: object) -> AsyncIterator[World]:
    board = Board()
    async with AsyncExitStack() as stack:
        nodes = {name: await stack.enter_async_context(beating(MemoryEngine(board), name, **options)) for name in "abc"}
        await until(lambda: len(board.told) == 3)
        yield World(board, nodes)


async def test_a_node_does_what_another_asks_for():
    async with world() as it:
        assert await it.ask("b", body=b"x") == b"done: x"
        assert it.done == [("b", "close", "a", b"x")]
        assert it.nodes["a"].node.requests.asked["answered"] == it.nodes["b"].node.requests.answered == 1
        assert it.nodes["a"].node.requests.under_way == 0


async def test_long_bodies_and_answers_come_in_pieces():
    async with world() as it:
        body = bytes(range(256)) * 700
        assert await it.ask("b", body=body) == b"done: " + body
        assert max(len(message) for _, message in it.board.kept) < PIECE_BYTES + 100


async def test_an_answer_has_a_bound_which_it_names():
    async with world() as it:

        async def handle(kind: str, sender: str, body: bytes) -> bytes:
            return bytes(MAX_ANSWER)

        it.nodes["b"].node.requests.serve({"close"}, handle)
        with pytest.raises(NodeRefused, match=f"the limit is {MAX_ANSWER}"):
            await it.ask("b")


async def test_what_fails_is_said_without_its_details():
    async with world() as it:

        async def handle(kind: str, sender: str, body: bytes) -> bytes:
            raise ValueError("a secret")

        it.nodes["b"].node.requests.serve({"close"}, handle)
        with pytest.raises(NodeRefused, match=r"failed: ValueError$"):
            await it.ask("b")
        assert await it.ask("c")


async def test_a_node_that_does_not_answer_is_named():
    async with world() as it:
        it.nodes["b"].node.requests._handler = lambda *_: asyncio.Event().wait()  # type: ignore[assignment]
        with pytest.raises(NodeSilent, match="node b does not answer"):
            await it.ask("b", timeout_s=SHORT_S)
        assert it.nodes["a"].node.requests.asked["silent"] == 1


async def test_a_node_that_does_not_listen_is_not_waited_for():
    async with world() as it:
        with pytest.raises(NodeSilent, match="does not listen"):
            await it.nodes["a"].node.requests.ask("d", "00" * 8, "close", b"", 60)


async def test_no_more_is_under_way_than_may_be():
    async with world(settings={"requests": 2}) as it:
        goes_on = asyncio.Event()

        async def handle(kind: str, sender: str, body: bytes) -> bytes:
            await goes_on.wait()
            return body

        it.nodes["b"].node.requests.serve({"close"}, handle)
        asking = [asyncio.ensure_future(it.ask("b", body=b"%d" % number)) for number in range(2)]
        await until(lambda: it.nodes["b"].node.requests._under_way == 2)
        with pytest.raises(NodeRefused, match=r"cluster\.requests"):
            await it.ask("c")
        with pytest.raises(NodeRefused, match=r"cluster\.requests"):
            await it.nodes["c"].node.requests.ask("b", it.incarnation("b"), "close", b"", 60)
        assert it.refused("b") == {"busy": 1}
        goes_on.set()
        assert await asyncio.gather(*asking) == [b"0", b"1"]


async def test_a_kind_that_a_node_does_not_know_is_refused():
    async with world() as it:
        with pytest.raises(NodeRefused, match="cannot do erase; is it of another version"):
            await it.ask("b", "erase")
        assert (it.done, it.refused("b")) == ([], {"unknown": 1})


# --- what the engine may try ------------------------------------------------------------------------------------------


async def test_what_the_engine_forges_is_not_done():
    async with world() as it:
        request = Request("a", "b", "close", b"all").encode()
        own = Seal(KeyIdentity(SigningKey.generate("ed25519")), "main")
        sender, receiver = (bytes.fromhex(it.incarnation(name)) for name in "ab")
        for message in (
            *sealed(own, "request", request, sender=sender, receiver=receiver, number=NOW_NS),
            b"",
            b"q",
            b"x" * 10**6,
        ):
            it.board.send(it.incarnation("b"), message)
        assert (it.done, it.refused("b")) == ([], {"forged": 1, "malformed": 3})


async def test_what_the_engine_alters_is_not_done():
    async with world() as it:
        for place in (0, 5, 20, 40, -1):
            it.board.rewrite = lambda to, message, place=place: [(to, altered(message, place))] if to else []
            with pytest.raises(NodeSilent):
                await it.ask("b", timeout_s=SHORT_S)
        assert it.done == []
        assert it.refused("b") == {"malformed": 1, "forged": 4}


async def test_what_the_engine_repeats_is_done_once():
    async with world() as it:
        it.board.rewrite = lambda to, message: [(to, message)] * 3
        assert await it.ask("b") == b"done: all"
        for to, message in list(it.board.kept):
            it.board.send(to, message)
        assert it.done == [("b", "close", "a", b"all")]
        assert it.refused("b")["replayed"] >= 5
        assert it.refused("a")["unasked"] >= 5, "answers that came again"


async def test_what_the_engine_puts_into_another_order_is_done_once_each():
    async with world() as it:
        held: list[tuple[str, bytes]] = []
        it.board.rewrite = lambda to, message: (
            held.append((to, message)) or [] if message[:1] == b"q" else [(to, message)]
        )
        asking = [asyncio.ensure_future(it.ask("b", body=b"%d" % number)) for number in range(4)]
        await until(lambda: len(held) == 4)
        it.board.rewrite = lambda to, message: [(to, message)]
        for to, message in reversed(held):
            it.board.send(to, message)
        assert await asyncio.gather(*asking, return_exceptions=True) == [b"done: %d" % number for number in range(4)]
        assert [body for *_, body in it.done] == [b"3", b"2", b"1", b"0"]


async def test_what_the_engine_passes_to_another_node_is_not_done():
    async with world() as it:
        for to in "ca":
            it.board.rewrite = lambda _, message, to=to: [(it.incarnation(to), message)]
            with pytest.raises(NodeSilent):
                await it.ask("b", timeout_s=SHORT_S)
            assert it.refused(to) == {"misdirected": 1}
        assert it.done == []


async def test_a_node_under_the_name_of_another_is_not_made_to_do_what_that_was_asked_for():
    async with world() as it:
        with pytest.raises(NodeSilent):  # the engine says that c is the node b
            await it.nodes["a"].node.requests.ask("b", it.incarnation("c"), "close", b"all", SHORT_S)
        assert (it.done, it.refused("c")) == ([], {"misdirected": 1})


@pytest.mark.parametrize("later_s", [31, -31, 3600])
async def test_what_the_engine_holds_back_is_not_done_later(later_s: int):
    async with world() as it:
        held: list[tuple[str, bytes]] = []
        it.board.rewrite = lambda to, message: held.append((to, message)) or []
        with pytest.raises(NodeSilent):
            await it.ask("b", timeout_s=SHORT_S)
        it.board.rewrite = lambda to, message: [(to, message)]
        it.now_ns += later_s * 10**9
        for _ in range(3):
            it.board.send(*held[0])
        await until(lambda: it.refused("a") == {"unasked": 1})
        assert (it.done, it.refused("b")) == ([], {"old": 1, "replayed": 2})


async def test_clocks_that_differ_are_named():
    async with world() as it:
        it.nodes["b"].node.requests._clock = lambda: it.now_ns + 90 * 10**9
        with pytest.raises(NodeRefused, match=r"90 s old by the clock of this node \(cluster.request_age\)"):
            await it.ask("b")


async def test_a_request_is_for_one_process_and_not_for_the_next_of_the_same_name():
    async with world() as it:
        await it.ask("b")
        request = next(each for each in it.board.kept if each[1][:1] == b"q")
        async with beating(MemoryEngine(it.board), "d") as later:
            later.node.name = "b"
            await until(lambda: later.node.incarnation in it.board.told)
            later.node.requests.told(request[1])
            assert later.node.requests.refused == {"misdirected": 1}


async def test_an_answer_is_believed_of_the_node_that_was_asked_only():
    async with world() as it:
        real = it.nodes["c"].node.requests

        def instead(to: str, message: bytes) -> list[tuple[str, bytes]]:
            """Another node's answer to the same number comes first."""
            if message[:1] != b"q":
                return [(to, message)]
            number = next(iter(it.nodes["a"].node.requests._waiting))
            own = bytes.fromhex(it.incarnation("a"))
            lies = sealed(SEAL, "answer", b"\0lies", sender=real._own, receiver=own, number=number)
            return [*((own.hex(), each) for each in lies), (to, message)]

        it.board.rewrite = instead
        assert await it.ask("b") == b"done: all"
        assert it.refused("a") == {"unasked": 1}


def altered(message: bytes, place: int) -> bytes:
    changed = bytearray(message)
    changed[place] ^= 1
    return bytes(changed)
