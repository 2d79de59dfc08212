"""Verification of messages whose cost clients choose: off the loop, and no address takes more than its share.

Twenty delegations to keys of RSA-8192 take 20 ms where an ordinary message takes 0.05. The messages of one address are
verified one at a time, and after each the address rests, so that it never uses more than a part of one thread. Whoever
else comes with such a message waits for one message of each address before it, at most.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from appliance.gateway.limits.rate_limits import network_of
from appliance.threads import CLIENT_VERIFICATION, Threads

T = TypeVar("T")
TICK_S = 0.001
"""The resolution of a loop's timers."""


@dataclass(slots=True)
class _Address:
    """One message at a time; the next not before ``rests_until``, by the clock of the loop."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    clients: int = 0
    rests_until: float = 0.0


class ClientVerification:
    """Runs this work. ``share`` is the part of one thread that an address may use; it may be changed. ``messages`` and
    ``seconds`` count what was done, and ``waiting`` the messages that wait or are being verified, one of a client at
    most.
    """

    def __init__(self, share: float, threads: Threads = CLIENT_VERIFICATION) -> None:
        self.share = share
        self.waiting = 0
        self.messages = 0
        self.seconds = 0.0
        self._threads = threads
        self._addresses: dict[str, _Address] = {}

    async def run(self, address: str, work: Callable[[], T]) -> T:
        """The result of the work for a client at this address. Raises what the work raises.

        Where this is cancelled before its turn, the work is never done.
        """
        network = network_of(address) or address
        place = self._addresses.setdefault(network, _Address())
        place.clients += 1
        self.waiting += 1
        try:
            async with place.turn:
                return await self._run(place, work)
        finally:
            self.waiting -= 1
            place.clients -= 1
            if not place.clients:
                loop = asyncio.get_running_loop()
                loop.call_at(max(place.rests_until, loop.time()), self._forget, network, place)

    async def _run(self, place: _Address, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, place.rests_until - loop.time()))
        took_s = 0.0

        def timed() -> T:
            nonlocal took_s
            begun = time.thread_time()
            try:
                return work()
            finally:
                took_s = time.thread_time() - begun

        done = loop.run_in_executor(self._threads, timed)
        try:
            await asyncio.wait({done})
        except asyncio.CancelledError:
            # A thread cannot be stopped, and until it ends the address keeps its turn: a client that leaves must not
            # get it a second thread, nor spare it the rest.
            await asyncio.wait({done})
            done.exception()
            raise
        finally:
            self.messages += 1
            self.seconds += took_s
            place.rests_until = loop.time() + took_s * (1 / self.share - 1)
        return done.result()

    def _forget(self, network: str, place: _Address) -> None:
        # Not as soon as nobody is there: whoever comes again at once would find no rest to keep.
        if place.clients:
            return  # the last of them will ask again
        loop = asyncio.get_running_loop()
        if place.rests_until > loop.time():  # uvloop's timers go by whole milliseconds, and may be early
            loop.call_at(place.rests_until + TICK_S, self._forget, network, place)
        else:
            self._addresses.pop(network, None)
