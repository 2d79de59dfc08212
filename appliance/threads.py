"""Threads for work that would hold up the event loop, a pool for each kind: what hangs in one delays no other.

The pool of asyncio (``asyncio.to_thread``) is not used: six reads of a file system that hangs would fill it, and stop
everything else that is in it.
"""

import asyncio
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

FILE_TIMEOUT_S = 10.0
"""Time for work with files."""
NAME_TIMEOUT_S = 10.0
"""Time for the resolution of a name."""


class Threads(Executor):
    """At most ``count`` threads, made when they are needed. They do not keep the process from exiting: a thread whose
    file system hangs never ends. ``max_waiting`` bounds the calls that wait for one; without it their callers do.
    """

    def __init__(self, name: str, count: int, *, max_waiting: int | None = None) -> None:
        self._name = name
        self._count = count
        self._max_waiting = max_waiting
        self._work: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._is_over = False
        self._flights: dict[Hashable, asyncio.Future[Any]] = {}

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in a thread. Raises what it raises, and OSError while ``max_waiting`` calls wait."""
        return await asyncio.get_running_loop().run_in_executor(self, partial(function, *args, **kwargs))

    async def run_once(self, key: Hashable, function: Callable[[], T], timeout_s: float = FILE_TIMEOUT_S) -> T:
        """Call the function in a thread, and wait for that so long; if a call with the same key is under way, wait for
        its result instead: whatever hangs takes one thread, however often it is asked for.

        Raises what the function raises, and TimeoutError. The function may still run after that.
        """
        flight = self._flights.get(key)
        if flight is None or flight.get_loop() is not asyncio.get_running_loop():
            flight = self._flights[key] = asyncio.ensure_future(self.run(function))
            flight.add_done_callback(partial(self._landed, key))
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(flight)

    def share(self, processes: int) -> None:
        """Use the part of one of so many processes, at least one thread; meant for the start."""
        self._count = max(1, self._count // processes)

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See ``concurrent.futures.Executor``. Raises OSError while ``max_waiting`` calls wait."""
        future: Future[T] = Future()
        with self._changed:
            if self._max_waiting is not None and len(self._work) >= self._max_waiting:
                raise OSError(f"{self._max_waiting} calls wait for a thread ({self._name})")
            self._work.append((future, partial(function, *args, **kwargs)))
            if len(self._work) > self._idle and self._threads < self._count:
                self._start_thread()
            self._changed.notify()
        return future

    def _start_thread(self) -> None:
        """Raises OSError where the machine gives none and nobody else serves; the work is not done then."""
        try:
            threading.Thread(target=self._serve, name=self._name, daemon=True).start()
        except RuntimeError as error:
            if not self._threads:
                self._work.pop()
                raise OSError(f"no thread can be started ({self._name}): {error}") from error
        else:
            self._threads += 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads when they have nothing to do; does not wait for them."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._work and not self._is_over:
                    self._changed.wait()
                self._idle -= 1
                if not self._work:
                    return
                future, function = self._work.popleft()
            _perform(future, function)
            del future, function

    def _landed(self, key: Hashable, flight: "asyncio.Future[Any]") -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # whoever waited may have given up


def _perform(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # also what is no Exception ends the call and not the thread
        future.set_exception(error)
    else:
        future.set_result(result)


def usable_cores() -> int:
    """The processors that this process may use; all of the machine where the system does not say which."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it, macOS does not
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


_CORES = usable_cores()

FILES = Threads("files", 4, max_waiting=1000)
"""Reads and writes of files. Requests of the control plane begin them, so that they may pile up behind a disk that
hangs."""
NAMES = Threads("names", 4, max_waiting=1000)
"""Names of addresses to listen at. Those of endpoints are resolved by the native client, in threads of its own."""
READ_AT_ONCE = 32 * 1024
"""Bytes of a reply or certificate of the IC that is read on the event loop where that needs no pairing. A thread costs
30 to 200 us. Most take less than that; but an endpoint that lies, or a canister, can fill them with a tree of empty
nodes, which takes 0.1 ms for each KiB."""
VERIFICATION = Threads("verification", max(2, _CORES - 1))
"""Replies and certificates of the IC. What one costs is bounded by the native core, and their number by the polls and
calls under way."""
CLIENT_VERIFICATION = Threads("client verification", max(1, _CORES - 1))
"""Messages of clients that are dear to verify, one of an address at a time. Apart from the replies: no client can delay
those."""


async def resolve(host: str, port: int, *, flags: int = 0, timeout_s: float = NAME_TIMEOUT_S) -> list[tuple[int, Any]]:
    """The addresses of a name for TCP, each once, with their families. Raises OSError, also where no answer comes in
    time.
    """
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, flags=flags)
    try:
        found = await NAMES.run_once((host, port, flags), look_up, timeout_s)
    except TimeoutError:
        raise socket.gaierror(socket.EAI_AGAIN, f"{host} is not resolved within {timeout_s:g} s") from None
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))
