"""Asks other nodes, and answers them. The engine passes the messages on, and none of them is believed for that."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol

import structlog

from appliance.cluster.commands import Commands
from appliance.cluster.engine import Engine
from appliance.cluster.requests.numbers import Numbers, Seen
from appliance.cluster.requests.pieces import (
    MAX_ANSWER,
    MAX_REQUEST,
    Assembly,
    Forged,
    Piece,
    Purpose,
    Request,
    opened,
    sealed,
)
from appliance.cluster.seal import Seal
from appliance.config.cluster import Cluster
from appliance.errors import EngineAway, Malformed, NodeRefused, NodeSilent
from appliance.gateway.tasks import Tasks

_log = structlog.get_logger(__name__)

Handler = Callable[[str, str, bytes], Awaitable[bytes]]
"""Answers a request: its kind, the name of the node that asks, and its body."""
Refusal = Literal["malformed", "forged", "misdirected", "old", "replayed", "unknown", "busy", "unasked"]

DONE, REFUSED = b"\x00", b"\x01"
_SENT_WITHIN_S = 10.0
"""For one piece of an answer to reach the engine: nobody waits here for it."""


@dataclass
class _Asked:
    """A request without an answer so far."""

    node: bytes
    answer: "asyncio.Future[bytes]"
    parts: Assembly = field(default_factory=lambda: Assembly(1, MAX_ANSWER))


class Asking(Protocol):
    """The node that asks and answers (``cluster.node.Node``). Each of these may change while it runs."""

    name: str
    settings: Cluster
    commands: Commands
    incarnation: str

    @property
    def seal(self) -> Seal:
        """What this node proves with that it wrote something."""


class Requests:
    """``asked`` counts the requests of this node by result: ``answered``, ``refused`` or ``silent``; ``answered`` those
    of others; ``refused`` what came and was not believed or not done, by reason.
    """

    def __init__(self, node: Asking, engine: Engine, tasks: Tasks, *, clock: Callable[[], int]) -> None:
        """``clock`` is ns since 1970."""
        self.asked: Counter[str] = Counter()
        self.answered = 0
        self.refused: Counter[Refusal] = Counter()
        self.numbers = Numbers(clock)
        """Those of all that this node writes."""
        self._node = node
        self._engine = engine
        self._tasks = tasks
        self._clock = clock
        self._seen = Seen()
        self._coming = Assembly(node.settings.requests, MAX_REQUEST)
        self._waiting: dict[int, _Asked] = {}
        self._under_way = 0
        self._kinds: Collection[str] = ()
        self._handler: Handler | None = None

    @property
    def _own(self) -> bytes:
        return bytes.fromhex(self._node.incarnation)

    @property
    def under_way(self) -> int:
        """Requests that this node has sent or works at."""
        return len(self._waiting) + self._under_way

    def serve(self, kinds: Collection[str], handler: Handler) -> None:
        """Answer requests of these kinds from now on."""
        self._kinds, self._handler = kinds, handler

    async def ask(self, node: str, incarnation: str, kind: str, body: bytes, timeout_s: float) -> bytes:
        """The answer of a node. Raises NodeSilent, after which nobody knows whether it did what was asked for, and
        NodeRefused.
        """
        limit = self._node.settings.requests
        if len(self._waiting) >= limit:
            raise NodeRefused(node, f"this node has asked {limit} times without an answer so far (cluster.requests)")
        whole, number = Request(self._node.name, node, kind, body).encode(), self.numbers.next()
        if len(whole) > MAX_REQUEST:
            raise NodeRefused(node, f"the request has {len(whole)} bytes, the limit is {MAX_REQUEST}")
        asked = _Asked(bytes.fromhex(incarnation), asyncio.get_running_loop().create_future())
        self._waiting[number] = asked
        result = "silent"
        try:
            async with asyncio.timeout(timeout_s):
                if not await self._send("request", asked.node, number, whole, timeout_s):
                    raise NodeSilent(node, "it does not listen at the engine")
                answer = await asked.answer
            result = "answered" if answer[:1] == DONE else "refused"
        except TimeoutError:
            raise NodeSilent(node, f"it was silent for {timeout_s:g} s") from None
        except EngineAway as error:
            raise NodeSilent(node, str(error)) from error
        finally:
            del self._waiting[number]
            self.asked[result] += 1
        if result == "refused":
            raise NodeRefused(node, answer[1:].decode("utf-8", "replace"))
        return answer[1:]

    def told(self, message: bytes) -> None:
        """A message came for this node."""
        try:
            piece = opened(self._node.seal, message)
            if piece.receiver != self._own:
                self._refuse("misdirected")
            elif piece.purpose == "answer":
                self._take_answer(piece)
            else:
                self._take_request(piece)
        except Malformed:
            self._refuse("malformed")
        except Forged:
            self._refuse("forged")

    def _take_answer(self, piece: Piece) -> None:
        asked = self._waiting.get(piece.number)
        if asked is None or asked.node != piece.sender or asked.answer.done():
            self._refuse("unasked")  # or its time was over
        elif (whole := asked.parts.add(piece)) is not None:
            asked.answer.set_result(whole)

    def _take_request(self, piece: Piece) -> None:
        """Raises Malformed."""
        if (piece.sender, piece.number) in self._seen:
            self._refuse("replayed")
            return
        age_s = (self._clock() - piece.number) / 1e9
        if abs(age_s) > self._node.settings.request_age:
            if self._seen.add(piece.sender, piece.number):
                when = f"{abs(age_s):.0f} s {'old' if age_s > 0 else 'ahead'} by the clock of this node"
                self._decline(piece, "old", f"the request is {when} (cluster.request_age)")
            return
        if (whole := self._coming.add(piece)) is None:
            return
        self._seen.add(piece.sender, piece.number)
        request = Request.decode(whole)
        if request.receiver != self._node.name:
            self._refuse("misdirected")
        elif self._handler is None or request.kind not in self._kinds:
            self._decline(piece, "unknown", f"it cannot do {request.kind:.40}; is it of another version?")
        elif self._under_way >= self._node.settings.requests:
            self._decline(piece, "busy", f"it works at {self._under_way} requests (cluster.requests)")
        else:
            self._under_way += 1
            self._tasks.start(self._do(piece, request, self._handler))

    async def _do(self, piece: Piece, request: Request, handler: Handler) -> None:
        try:
            answer = DONE + await handler(request.kind, request.sender, request.body)
        except Exception as error:
            _log.exception("a request of another node failed", node=request.sender, kind=request.kind)
            answer = REFUSED + f"it failed: {type(error).__name__}".encode()
        finally:
            self._under_way -= 1
        self.answered += answer[:1] == DONE
        if len(answer) > MAX_ANSWER:
            answer = REFUSED + f"its answer has {len(answer)} bytes, the limit is {MAX_ANSWER}".encode()
        await self._answer(piece, answer)

    def _decline(self, piece: Piece, reason: Refusal, problem: str) -> None:
        self._refuse(reason)
        self._tasks.start(self._answer(piece, REFUSED + problem.encode()))

    async def _answer(self, piece: Piece, answer: bytes) -> None:
        try:
            await self._send("answer", piece.sender, piece.number, answer, _SENT_WITHIN_S)
        except EngineAway as error:
            _log.warning("another node gets no answer", cause=str(error))

    async def _send(self, purpose: Purpose, receiver: bytes, number: int, whole: bytes, within_s: float) -> bool:
        """Returns whether somebody listens there. Raises EngineAway."""
        is_heard = True
        parts = sealed(self._node.seal, purpose, whole, sender=self._own, receiver=receiver, number=number)
        for message in parts:
            tell = partial(self._engine.tell, receiver.hex(), message)
            is_heard &= await self._node.commands.run(tell, within_s)
        return is_heard

    def _refuse(self, reason: Refusal) -> None:
        self.refused[reason] += 1
