"""The connection of a worker with its supervisor: a pair of Unix sockets, of which each process has one end.

It carries packets of JSON. The supervisor says first which worker this is, and passes listening sockets (SCM_RIGHTS)
when it is asked for them; the worker tells how many connections it has. The kernel closes it with the process at either
end, however that ends.
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from appliance.gateway.sockets.accepting import sources
from appliance.worker.balance import SLACK, Shares
from appliance.worker.role import Role

_log = structlog.get_logger(__name__)

MAX_PACKET = 64 * 1024
REPORT_S = 0.1
"""Between two reports of a worker whose connections change."""
SILENCE_S = 1.0
"""Between two reports of one whose connections do not, and the age from which on a report or a mean counts no more."""


TURN_S = 0.05
"""The longest that a worker which got many at once leaves newcomers to the others before it hears what they have."""
FEW = SLACK // 2
"""Clients that may come before they are reported."""


class Part(NamedTuple):
    """What a worker has: the number of its ``connections``, and the addresses where it ``listens``. ``accept`` is
    called with whether this is more than its part, and returns whether it accepts clients at all.
    """

    connections: Callable[[], int]
    accept: Callable[[bool], bool]
    listens: Callable[[], list[object]]


class Lifeline:
    """The end of the worker. ``is_cut`` is set when the supervisor has ended."""

    def __init__(self, connection: socket.socket) -> None:
        """Waits for the first packet. Raises OSError if none comes."""
        first = connection.recv(MAX_PACKET)
        if not first:
            raise OSError("the supervisor ended before it said which worker this is")
        told = json.loads(first)
        self.role = Role(told["number"], told["count"], Path(told["folder"]))
        self.is_cut = asyncio.Event()
        self._connection = connection
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[socket.socket]] = {}
        self._shares: Shares | None = None
        self._told_at = 0.0
        self._reported: tuple[object, ...] = ()
        self._reported_at = 0.0
        self._told = 0
        self._part: Part | None = None
        self._going_on: asyncio.TimerHandle | None = None
        connection.setblocking(False)

    @classmethod
    def at(cls, descriptor: int) -> "Lifeline":
        """The lifeline at a descriptor that this process was started with. Raises OSError."""
        os.set_inheritable(descriptor, False)
        return cls(socket.socket(fileno=descriptor))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Take part. Within the block, listening sockets come from the supervisor."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._connection.fileno(), self._read)
        sources.elsewhere = self.bind
        try:
            yield
        finally:
            sources.elsewhere = None
            loop.remove_reader(self._connection.fileno())
            self._connection.close()

    async def bind(self, family: int, address: object) -> socket.socket:
        """A socket that listens at this address, and that the supervisor keeps when this process ends. Raises OSError
        where there is none.
        """
        number = next(self._numbers)
        answer: asyncio.Future[socket.socket]
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            if not self._send({"bind": number, "family": int(family), "address": address}):
                raise OSError("the supervisor has ended")
            return await answer
        finally:
            del self._asked[number]

    async def report_on(self, part: Part) -> None:
        """Report what this worker has until cancelled, and have it accept clients as its part is."""
        self._part = part
        try:
            while True:
                self._report(part)
                await asyncio.sleep(REPORT_S)
        finally:
            self._part = None
            if self._going_on is not None:
                self._going_on.cancel()

    def arrived(self) -> None:
        """A client has come. Many at once are reported at once: until the others know, none of them leaves clients to
        this worker, nor this one to them.
        """
        if self._part is not None:
            here = self._part.connections()
            if here - self._told >= max(FEW, here // 20):
                self._report(self._part)
            elif self._shares is not None and self._shares.is_ahead(here):
                self._accept(self._part)

    def _report(self, part: Part) -> None:
        now, here = asyncio.get_running_loop().time(), part.connections()
        report = here, self._accept(part), part.listens()
        if report != self._reported or now - self._reported_at >= SILENCE_S:
            self._reported, self._reported_at, self._told = report, now, here
            self._send({"connections": here, "accepts": report[1], "listens": report[2]})

    def _accept(self, part: Part) -> bool:
        """Take newcomers, or leave them to the others. Returns whether this worker accepts at all."""
        is_told = asyncio.get_running_loop().time() - self._told_at <= 2 * SILENCE_S
        # A supervisor that says nothing, or that stands still, must not keep anybody out.
        shares, here = self._shares if is_told else None, part.connections()
        is_ahead = shares is not None and shares.is_ahead(here)
        if is_ahead and self._going_on is None:
            self._going_on = asyncio.get_running_loop().call_later(TURN_S, self._go_on)
        return part.accept(shares is not None and (is_ahead or shares.has_enough(here)))

    def _go_on(self) -> None:
        """No mean was told while this worker left newcomers to the others."""
        self._going_on = None
        if self._shares is not None and self._part is not None:
            self._shares = self._shares.later(self._part.connections())
            self._accept(self._part)

    def _send(self, packet: dict[str, Any]) -> bool:
        try:
            self._connection.send(json.dumps(packet).encode())
        except BlockingIOError:
            return True  # it does not read: the next report will do
        except OSError:
            return False
        return True

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._connection, MAX_PACKET, 1)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            self.is_cut.set()
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            for each in self._asked.values():
                if not each.done():
                    each.set_exception(OSError("the supervisor has ended"))
            return
        packet = json.loads(data)
        if "mean" in packet:
            self._shares = Shares(packet["mean"], packet["own"])
            self._told_at = asyncio.get_running_loop().time()
            if self._going_on is not None:
                self._going_on.cancel()
                self._going_on = None
            if self._part is not None:
                self._accept(self._part)
        elif "bound" in packet:
            self._bound(packet, descriptors)

    def _bound(self, packet: dict[str, Any], descriptors: list[int]) -> None:
        asked = self._asked.get(packet["bound"])
        if asked is None or asked.done():
            for each in descriptors:
                os.close(each)
        elif descriptors:
            found = socket.socket(fileno=descriptors[0])
            found.setblocking(False)
            asked.set_result(found)
        else:
            asked.set_exception(OSError(*packet["error"]))
