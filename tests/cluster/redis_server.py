"""A real Redis for a test: a process of its own, at a Unix socket and a port."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.needs import program


class Ended(Exception):
    """The process has ended instead of starting."""


class RedisServer:
    """One process, at the Unix socket of its ``url``: ports of this machine may be taken by others at any time."""

    def __init__(self, folder: Path, *options: str, is_sentinel: bool = False, program: str = "redis-server") -> None:
        """``program`` may be that of Valkey."""
        self.folder = folder
        self.program = program
        self.is_sentinel = is_sentinel
        self.options = options
        self.path = folder / "redis.sock"
        self.url = f"unix://{self.path}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        own = ["--unixsocket", str(self.path), "--dir", str(self.folder)]
        plain = ["--port", "0", *own, "--save", "", *self.options]
        command = [program(self.program), *([*self.options, *own] if self.is_sentinel else plain)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
        give_up_at = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None:
                raise Ended
            assert time.monotonic() < give_up_at, "redis-server does not answer"

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as wire:
                wire.settimeout(1)
                wire.connect(str(self.path))
                wire.sendall(b"PING\r\n")
                return wire.recv(64) != b""
        except OSError:
            return False

    def kill(self) -> None:
        """End it at once, with all that it holds."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Let it answer nothing, with its connections open."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    server = RedisServer(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def redis_at_port(folder: Path, *, is_cluster: bool = False) -> Iterator[str]:
    """One that listens at a port, too, as a node of Redis Cluster has to. Yields its URL."""

    def options(port: int) -> list[str]:
        plain = ["--port", str(port), "--bind", "127.0.0.1"]
        return [*plain, "--cluster-enabled", "yes", "--cluster-port", str(free_port())] if is_cluster else plain

    with _at_port(folder, options) as port:
        yield f"redis://127.0.0.1:{port}"


@contextmanager
def redis_with_tls(folder: Path, certificate: Path, key: Path) -> Iterator[str]:
    """One that has TLS at its port. Yields its URL, with the name that is in the certificate."""
    files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no"]
    with _at_port(folder, lambda port: ["--tls-port", str(port), "--bind", "127.0.0.1", *files]) as port:
        yield f"rediss://localhost:{port}"


@contextmanager
def sentinel(folder: Path, watched: str, name: str) -> Iterator[str]:
    """A Sentinel that watches a server at a port under this name. Yields its host and port."""
    folder.mkdir()
    file = folder / "sentinel.conf"
    file.write_text(f"sentinel monitor {name} {watched.removeprefix('redis://').replace(':', ' ')} 1\n")
    with _at_port(folder, lambda port: [str(file), "--sentinel", "--port", str(port)], is_sentinel=True) as port:
        yield f"127.0.0.1:{port}"


@contextmanager
def _at_port(folder: Path, options: Callable[[int], list[str]], *, is_sentinel: bool = False) -> Iterator[int]:
    server, port = _started_at_port(folder, options, is_sentinel=is_sentinel)
    try:
        yield port
    finally:
        server.kill()


def _started_at_port(
    folder: Path, options: Callable[[int], list[str]], *, is_sentinel: bool
) -> tuple[RedisServer, int]:
    """Whoever takes a port in the moment before makes the server end, and others are tried."""
    for _ in range(10):
        port = free_port()
        server = RedisServer(folder, *options(port), is_sentinel=is_sentinel)
        with suppress(Ended):
            server.start()
            return server, port
    raise AssertionError("no port is free")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
