"""One worker as its supervisor sees it: a process, its lifeline, and what it notifies of."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import structlog

from appliance.supervisor.restarts import Restarts
from appliance.worker.lifeline import MAX_PACKET, SILENCE_S
from appliance.worker.role import Role

_log = structlog.get_logger(__name__)

State = Literal["starting", "ready", "stopping", "down"]
PACKAGES = Path(__file__).resolve().parents[2]
"""Where our packages lie: the worker imports the same, wherever it is started."""
_OF_SERVICE_MANAGER = ("LISTEN_", "WATCHDOG_", "NOTIFY_")
"""Variables that are meant for the supervisor alone."""

Bind = Callable[[int, Any], socket.socket]


class Worker:
    """A worker and its present process. ``ready`` is set while it accepts clients or could; ``changed`` is called when
    something of it has changed. ``bind`` returns a listening socket, and raises OSError.
    """

    def __init__(self, role: Role, command: list[str], *, bind: Bind, changed: Callable[[], None]) -> None:
        """``command`` is what follows ``icws run --worker N``."""
        self.role = role
        self.state: State = "down"
        self.status = ""
        self.starts = 0
        self.started_at_ns = 0
        self.connections = 0
        self.accepts = False
        self.listens: set[object] = set()
        self.restarts = Restarts()
        self.problem: str | None = None
        self.ready = asyncio.Event()
        self._command = command
        self._bind = bind
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._lifeline: socket.socket | None = None
        self._reported_at = 0.0
        self._pinged_at = 0.0

    @property
    def pid(self) -> int | None:
        """Of its process, None while there is none."""
        return None if self._process is None else self._process.pid

    def takes_part(self, now: float) -> bool:
        """Whether newcomers may be left to it: it accepts, and has said so lately."""
        return self.accepts and now - self._reported_at <= 2 * SILENCE_S

    def send(self, number: int) -> None:
        """Send a signal to its process, if there is one."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def tell(self, packet: Mapping[str, object]) -> None:
        """Say something to it. One that does not read hears nothing."""
        if self._lifeline is not None:
            with contextlib.suppress(OSError):
                self._lifeline.send(json.dumps(packet).encode())

    async def run(self, watchdog_s: float | None, stopping: asyncio.Event) -> int:
        """Start its process, and wait until that has ended. Returns the exit code; a negative one is a signal's.
        Without a ping within ``watchdog_s`` the process is killed, once it is ready. ``stopping`` may be set while it
        is being started. Raises OSError where it cannot be started.
        """
        own, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with own, its, self._notified() as notified:
            own.setblocking(False)
            role = self.role
            own.send(json.dumps({"number": role.number, "count": role.count, "folder": str(role.folder)}).encode())
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", "appliance.cli", "run", "--worker", str(its.fileno()), *self._command),
                env=self._environment(watchdog_s),
                pass_fds=(its.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C at a terminal is for the supervisor, which passes it on
            )
            its.close()
            if stopping.is_set():
                self.send(signal.SIGTERM)
            self.starts += 1
            self.state, self.started_at_ns, self._lifeline = "starting", time.time_ns(), own
            loop = asyncio.get_running_loop()
            loop.add_reader(own.fileno(), self._read, own)
            loop.add_reader(notified.fileno(), self._notice, notified)
            watching = loop.create_task(self._watch(watchdog_s))
            try:
                return await self._process.wait()
            finally:
                watching.cancel()
                loop.remove_reader(own.fileno())
                loop.remove_reader(notified.fileno())
                self._ended()

    def _ended(self) -> None:
        self.state, self._process, self._lifeline = "down", None, None
        self.connections, self.accepts, self.status = 0, False, ""
        self.listens = set()
        self.ready.clear()
        self._changed()

    @contextlib.contextmanager
    def _notified(self) -> Any:
        """The socket to which the worker speaks as to systemd (sd_notify(3))."""
        path = self.role.notify
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.setblocking(False)
            os.fchmod(one.fileno(), 0o600)
            one.bind(str(path))
            yield one

    def _environment(self, watchdog_s: float | None) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(_OF_SERVICE_MANAGER)}
        own["NOTIFY_SOCKET"] = str(self.role.notify)
        own["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PACKAGES), own.get("PYTHONPATH")]))
        if watchdog_s is not None:
            own["WATCHDOG_USEC"] = str(round(watchdog_s * 1e6))
        return own

    def _notice(self, notified: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for line in notified.recv(MAX_PACKET).decode("utf-8", "replace").splitlines():
                self._on_line(line)

    def _on_line(self, line: str) -> None:
        name, _, value = line.partition("=")
        self._pinged_at = time.monotonic()
        if name == "STATUS":
            self.status = value
        elif name == "READY" and self.state == "starting":
            self.state, self.problem = "ready", None
            self.ready.set()
            self._changed()
        elif name == "STOPPING":
            self.state = "stopping"
            self.ready.clear()
            self._changed()

    async def _watch(self, watchdog_s: float | None) -> None:
        """Kill a process whose event loop hangs, as systemd would."""
        if watchdog_s is None:
            return
        await self.ready.wait()
        while (left_s := self._pinged_at + watchdog_s - time.monotonic()) > 0 or self.state != "ready":  # noqa: ASYNC110 - the absence of pings is what is waited for
            await asyncio.sleep(max(left_s, 0.1))
        _log.error("a worker is killed, as its watchdog got no ping", worker=self.role.number, seconds=watchdog_s)
        self.send(signal.SIGKILL)

    def _read(self, own: socket.socket) -> None:
        try:
            data = own.recv(MAX_PACKET)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(own.fileno())  # its process ends
            return
        try:
            self._take(own, json.loads(data))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _log.error("a worker said what cannot be read", worker=self.role.number, cause=repr(error))

    def _take(self, own: socket.socket, packet: dict[str, Any]) -> None:
        if "bind" in packet:
            self._answer(own, packet["bind"], int(packet["family"]), packet["address"])
            return
        self.connections, self.accepts = int(packet["connections"]), bool(packet["accepts"])
        self.listens = {tuple(each) if isinstance(each, list) else each for each in packet["listens"]}
        self._reported_at = time.monotonic()
        self._changed()

    def _answer(self, own: socket.socket, number: int, family: int, address: Any) -> None:
        descriptors: list[int] = []
        answer: dict[str, object] = {"bound": number}
        try:
            descriptors.append(self._bind(family, tuple(address) if isinstance(address, list) else address).fileno())
        except OSError as error:
            answer["error"] = [error.errno, error.strerror or str(error)]
        with contextlib.suppress(OSError):
            socket.send_fds(own, [json.dumps(answer).encode()], descriptors)
