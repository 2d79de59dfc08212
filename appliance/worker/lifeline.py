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
from typing import Any

import structlog

from appliance.gateway.sockets.accepting import sources
from appliance.worker.balance import Shares
from appliance.worker.role import Role

_log = structlog.get_logger(__name__)

MAX_PACKET = 64 * 1024
REPORT_S = 0.1
"""Between two reports of a worker whose connections change."""
SILENCE_S = 1.0
"""Between two reports of one whose connections do not, and the age from which on a report or a mean counts no more."""


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

    async def report_on(
        self, connections: Callable[[], int], accepts: Callable[[bool], bool], listens: Callable[[], list[object]]
    ) -> None:
        """Report the number of connections, and the addresses of its sockets, until cancelled.

        ``accepts`` is called with whether this worker has more than its part, and returns whether it accepts clients at
        all.
        """
        loop = asyncio.get_running_loop()
        while True:
            now, here = loop.time(), connections()
            # A supervisor that says nothing, or that stands still, must not keep anybody out.
            shares = self._shares if now - self._told_at <= 2 * SILENCE_S else None
            does_accept = accepts(shares is not None and shares.has_enough(here))
            report = here, does_accept, listens()
            if report != self._reported or now - self._reported_at >= SILENCE_S:
                self._reported, self._reported_at = report, now
                self._send({"connections": here, "accepts": does_accept, "listens": report[2]})
            await asyncio.sleep(REPORT_S)

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
