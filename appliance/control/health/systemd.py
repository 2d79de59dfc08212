"""Tells systemd how the service is doing (sd_notify(3)); nobody, where it was not started by systemd."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

import structlog

_log = structlog.get_logger(__name__)

PATIENCE_S = 1.0
"""How long a message that must not be lost waits for room in systemd's queue, which holds up the loop."""
FEEDS = 3
"""Times that the watchdog is fed within its limit, so that one that comes late does no harm."""
REPORT_S = 1.0
"""How often a service that stops says how far it is."""
STATUS_S = 5.0
"""How often it is looked whether the status is another one."""
EXTENSION_S = 15.0
"""How much time it asks for each time; systemd takes the longer one of this and its own limit."""

Sleep = Callable[[float], Awaitable[object]]


class Notifier:
    """The connection to the service manager. No method raises; what cannot be told is logged."""

    def __init__(
        self,
        address: str | None = None,
        *,
        watchdog_s: float | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """``address`` is a path or, behind ``@``, an abstract name; None tells nobody. ``watchdog_s`` is how long the
        manager waits for a sign of life, None for ever. ``monotonic_ns`` has to be CLOCK_MONOTONIC."""
        self.watchdog_s = watchdog_s
        self._address = address and ("\0" + address[1:] if address.startswith("@") else address)
        self._monotonic_ns = monotonic_ns
        self._reloads = 0
        self._is_stopping = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """As the service manager wrote it into the environment."""
        address = environment.get("NOTIFY_SOCKET", "")
        return cls(address if address[:1] in ("/", "@") else None, watchdog_s=_watchdog_s(environment))

    def ready(self, status: str = "") -> None:
        """The service serves. Said again after every reload, also after one that failed."""
        self._send("READY=1", status=status)

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send(status=text, patience_s=0)

    async def follow(self, describe: Callable[[], str], *, sleep: Sleep = asyncio.sleep) -> None:
        """Keep the status as it is described, until cancelled."""
        told = ""
        while self._address:
            if (status := describe()) != told and not self._is_stopping:
                self.status(status)
                told = status
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
        """Feed the watchdog until cancelled, as long as ``is_alive`` says so. That this runs shows that the loop does.

        Returns at once where there is no watchdog.
        """
        was_alive = True
        while self.watchdog_s is not None:
            alive = is_alive()
            if alive:
                self._send("WATCHDOG=1", patience_s=0)
            elif was_alive:
                _log.error("the watchdog is not fed any more", seconds_left=self.watchdog_s)
            was_alive = alive
            await sleep(self.watchdog_s / FEEDS)

    async def stopping(self, progress: Callable[[], str], limit_s: float, *, sleep: Sleep = asyncio.sleep) -> None:
        """Say that the service stops, then how far it is, until cancelled.

        Within ``limit_s`` it may take longer than the unit's ``TimeoutStopSec``; after that nothing is asked for.
        """
        self._is_stopping = True
        self._send("STOPPING=1", status=progress())
        asked_for_s = 0.0
        while asked_for_s < limit_s:
            self._send(f"EXTEND_TIMEOUT_USEC={round(EXTENSION_S * 1e6)}", status=progress(), patience_s=0)
            asked_for_s += REPORT_S
            await sleep(REPORT_S)

    def _send(self, *assignments: str, status: str = "", patience_s: float = PATIENCE_S) -> None:
        if not self._address:
            return
        lines = [*assignments, f"STATUS={' '.join(status.split())}"] if status else assignments
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(patience_s)
                channel.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            _log.warning("systemd could not be told", message=lines[0], cause=str(error))


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Seconds, where the watchdog is meant for this process."""
    limit, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(os.getpid()))
    is_ours = limit.isdecimal() and int(limit) > 0 and process == str(os.getpid())
    return int(limit) / 1e6 if is_ours else None
