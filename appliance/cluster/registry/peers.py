"""The address where a node shows that it lives, whatever the engine says: it answers a sealed question.

A question is ``MAGIC``, 16 random bytes, the incarnation that is asked for and a tag; an answer is the incarnation that
has the address and a tag over both. Each connection carries one. Nothing else can be learned or done there.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog

from appliance.cluster.registry.clients import INCARNATION_CHARS
from appliance.cluster.registry.evidence import Outcome
from appliance.cluster.seal import TAG_BYTES, Seal
from appliance.config.fields.address import UnixAddress, parse_address
from appliance.errors import PeerAddressUnusable

_log = structlog.get_logger(__name__)

MAGIC = b"icws1"
NONCE_BYTES = 16
QUESTION_BYTES = len(MAGIC) + NONCE_BYTES + INCARNATION_CHARS + TAG_BYTES
ANSWER_BYTES = INCARNATION_CHARS + TAG_BYTES
ANSWERED_WITHIN_S = 2.0
"""For one question, with its connection."""
AT_ONCE = 64
"""Connections that wait for their question; further ones are closed."""
_QUESTION, _ANSWER = "peer question", "peer answer"


def question(incarnation: str, nonce: bytes, seal: Seal) -> bytes:
    """The question whether a process lives."""
    asked = incarnation.encode()
    return MAGIC + nonce + asked + seal.tag(_QUESTION, nonce, asked)


def answer(asked: bytes, seals: list[Seal], incarnation: str) -> bytes | None:
    """The answer of a process to a question; None for what no node of the cluster has asked."""
    nonce = asked[len(MAGIC) : len(MAGIC) + NONCE_BYTES]
    whom, tag = asked[len(MAGIC) + NONCE_BYTES : -TAG_BYTES], asked[-TAG_BYTES:]
    if len(asked) != QUESTION_BYTES or not asked.startswith(MAGIC):
        return None
    for seal in seals:
        if seal.proves(tag, _QUESTION, nonce, whom):
            return incarnation.encode() + seal.tag(_ANSWER, nonce, whom, incarnation.encode())
    return None


def outcome(said: bytes, incarnation: str, nonce: bytes, seal: Seal) -> Outcome:
    """What an answer says. What proves nothing is as good as none."""
    who, tag = said[:INCARNATION_CHARS], said[INCARNATION_CHARS:]
    if not seal.proves(tag, _ANSWER, nonce, incarnation.encode(), who):
        return "silent"
    return "answered" if who == incarnation.encode() else "another"


async def ask(address: str, incarnation: str, seal: Seal) -> Outcome:
    """Ask at an address whether a process lives. Raises nothing."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            reader, writer = await _connect(address)
            writer.write(question(incarnation, nonce, seal))
            return outcome(await reader.readexactly(ANSWER_BYTES), incarnation, nonce, seal)
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        return "silent"
    finally:
        if writer is not None:
            writer.close()


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = parse_address(address)
    if isinstance(where, UnixAddress):
        return await asyncio.open_unix_connection(str(where.path))
    return await asyncio.open_connection(where.host, where.port)


class Answering:
    """Answers at the peer address of a node. ``counts`` has the questions by result: ``answered`` and ``refused``."""

    def __init__(self, seals: Callable[[], list[Seal]], incarnation: Callable[[], str]) -> None:
        self.counts: Counter[str] = Counter()
        self._seals = seals
        self._incarnation = incarnation
        self._asking = 0

    @asynccontextmanager
    async def at(self, address: str | None) -> AsyncIterator[None]:
        """Answer there until the block is left; nowhere for None. Raises PeerAddressUnusable."""
        if address is None:
            yield
            return
        server = await self._listen(address)
        try:
            yield
        finally:
            server.close()

    async def _listen(self, address: str) -> asyncio.Server:
        where = parse_address(address)
        try:
            if isinstance(where, UnixAddress):
                where.path.unlink(missing_ok=True)  # of a process that was killed: whoever lives has another name
                return await asyncio.start_unix_server(self._connected, str(where.path))
            return await asyncio.start_server(self._connected, where.host, where.port)
        except OSError as error:
            raise PeerAddressUnusable(address, error.strerror or str(error)) from error

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._asking += 1
        try:
            if self._asking <= AT_ONCE:
                with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                    async with asyncio.timeout(ANSWERED_WITHIN_S):
                        await self._answer(reader, writer)
            else:
                self.counts["refused"] += 1
        finally:
            self._asking -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = answer(await reader.readexactly(QUESTION_BYTES), self._seals(), self._incarnation())
        self.counts["refused" if said is None else "answered"] += 1
        if said is not None:
            writer.write(said)
            await writer.drain()
