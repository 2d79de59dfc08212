"""Notifies systemd of the state of the service (sd_notify(3)); does nothing if systemd did not start it.

Written here, because the protocol is one datagram to a Unix socket.
"""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

import structlog

_log = structlog.get_logger(__name__)

SEND_TIMEOUT_S = 1.0
"""How long a message that must not be lost waits for room in systemd's queue. It blocks the event loop."""
WATCHDOG_PINGS = 3
"""Pings within one watchdog time-out, so that a late one does no harm."""
REPORT_S = 1.0
"""How often a stopping service reports its progress."""
STATUS_S = 5.0
"""How often the status is compared with the last one."""
EXTENSION_S = 15.0
"""How much time each report of progress requests; systemd takes the longer one of this and its own limit."""

Sleep = Callable[[float], Awaitable[object]]


class Notifier:
    """Sends notifications to the service manager. No method raises: failures are logged."""

    def __init__(
        self,
        address: str | None = None,
        *,
        watchdog_s: float | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """``address`` is a path or, behind ``@``, an abstract name; None sends nothing. ``watchdog_s`` is the
        time-out of the watchdog, None without one. ``monotonic_ns`` has to be CLOCK_MONOTONIC."""
        self.watchdog_s = watchdog_s
        self._address = address and ("\0" + address[1:] if address.startswith("@") else address)
        self._monotonic_ns = monotonic_ns
        self._reloads = 0
        self._is_stopping = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """From the environment variables that the service manager sets."""
        address = environment.get("NOTIFY_SOCKET", "")
        return cls(address if address[:1] in ("/", "@") else None, watchdog_s=_watchdog_s(environment))

    def ready(self, status: str = "") -> None:
        """The service is up. Also sent after every reload, even a failed one: systemd waits for it."""
        self._send("READY=1", status=status)

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send(status=text, timeout_s=0)

    async def follow(self, describe: Callable[[], str], *, sleep: Sleep = asyncio.sleep) -> None:
        """Send the status whenever it changes, until cancelled."""
        sent = ""
        while self._address:
            if (status := describe()) != sent and not self._is_stopping:
                self.status(status)
                sent = status
            await sleep(STATUS_S)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """While the block runs, the service reloads its configuration. ``systemctl reload`` waits for its end."""
        self._reloads += 1
        if self._reloads == 1 and not self._is_stopping:
            self._send("RELOADING=1", f"MONOTONIC_USEC={self._monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self._reloads -= 1
            if not self._reloads and not self._is_stopping:
                self.ready()

    async def watch(self, is_alive: Callable[[], bool] = lambda: True, *, sleep: Sleep = asyncio.sleep) -> None:
        """Ping the watchdog until cancelled, while ``is_alive`` is true. A blocked event loop sends no pings either.

        Returns at once without a watchdog.
        """
        was_alive = True
        while self.watchdog_s is not None:
            alive = is_alive()
            if alive:
                self._send("WATCHDOG=1", timeout_s=0)
            elif was_alive:
                _log.error("the watchdog gets no more pings", seconds_left=self.watchdog_s)
            was_alive = alive
            await sleep(self.watchdog_s / WATCHDOG_PINGS)

    async def stopping(self, progress: Callable[[], str], limit_s: float, *, sleep: Sleep = asyncio.sleep) -> None:
        """Report the shutdown and its progress, until cancelled.

        Each report extends ``TimeoutStopSec`` of the unit, for ``limit_s`` at most.
        """
        self._is_stopping = True
        self._send("STOPPING=1", status=progress())
        requested_s = 0.0
        while requested_s < limit_s:
            self._send(f"EXTEND_TIMEOUT_USEC={round(EXTENSION_S * 1e6)}", status=progress(), timeout_s=0)
            requested_s += REPORT_S
            await sleep(REPORT_S)

    def _send(self, *assignments: str, status: str = "", timeout_s: float = SEND_TIMEOUT_S) -> None:
        if not self._address:
            return
        lines = [*assignments, f"STATUS={' '.join(status.split())}"] if status else assignments
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(timeout_s)
                channel.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            _log.warning("systemd could not be notified", message=lines[0], cause=str(error))


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """The time-out in seconds, if the watchdog is meant for this process."""
    limit, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(os.getpid()))
    is_ours = limit.isdecimal() and int(limit) > 0 and process == str(os.getpid())
    return int(limit) / 1e6 if is_ours else None
