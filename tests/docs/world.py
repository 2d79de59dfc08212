"""The surroundings in which a reader types: a clone with a gateway, a local network and a session."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from appliance.client import sync
from tests.docs.pages import TOP
from tests.localnet.wasm.modules import module

PATIENCE_S = 60
SILENT = '(func (export "canister_init"))'
LINKED = ("appliance", "demo", "docs", "icws", "plugins", "tests", "Makefile")


class World:
    """``place`` has the reader's own words: ports, canisters, a session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place: dict[str, str] = {}
        self._stack = ExitStack()

    def make(self) -> None:
        """A clone with its programs, the reader's modules and a configuration."""
        for name in LINKED:
            (self.folder / name).symlink_to(TOP / name)
        programs = self.folder / ".venv" / "bin"
        programs.mkdir(parents=True)
        _write_program(programs / "python", f'exec "{sys.executable}" "$@"')
        _write_program(programs / "icws", f'exec "{sys.executable}" -m appliance.cli "$@"')
        for wasm in (self.folder / "chat.wasm", self.folder / "target" / "chat.wasm"):
            wasm.parent.mkdir(exist_ok=True)
            wasm.write_bytes(module(SILENT))

    def start(self) -> None:
        """A local network with the chat, a gateway of its own in front of it, and a session."""
        network = self.served("icws localnet --example chat --port 0 --gateway-port 0", "chat:")
        url, canister = said(network, "url"), said(network, "canister").split()[0]
        (self.folder / "gateway.yaml").write_text(
            f"gateway: {{listen: '127.0.0.1:0'}}\nnetwork: {{url: '{url}', root_key: fetch}}\n"
            f"canisters: [{{id: {canister}, name: chat}}]\n"
        )
        gateway = self.served("icws run", "Gateway Agent principal")
        socket = re.search(r"url=(ws://\S+)", gateway)
        assert socket is not None, gateway
        chat = "record { name : text; text : text }"
        self._stack.enter_context(sync.connect(socket[1], canister, network_url=url, message_type=chat))
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.folder / "data/control.sock"))) as client:
            session = client.get("http://localhost/v1/sessions").json()["items"][0]["id"]
        self.place = {
            "http://127.0.0.1:4943": url,
            "ws://127.0.0.1:8080": said(network, "gateway"),
            "SESSION": session,
            "CANISTER": "chat",
        }

    def served(self, command: str, word: str) -> str:
        """Run a command for as long as the world lasts. Returns its lines up to the one with a word."""
        return self._stack.enter_context(self.serving(command, word))

    @contextmanager
    def serving(self, command: str, word: str) -> Iterator[str]:
        """Run a command that serves; its lines up to the one with a word. It must end well when it is interrupted."""
        process = subprocess.Popen(  # noqa: S602 - readers use a shell, too
            # Where the tests run in the background of a shell, SIGINT is ignored, and programs inherit that.
            f"exec env --default-signal=INT {command}",
            shell=True,
            text=True,
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        rest: list[str] = []
        reading = threading.Thread(target=_read_rest, args=(process, rest))
        try:
            lines = _read_until(process, word)
            reading.start()  # with its pipe full, the command would wait for a reader
            yield lines
            process.send_signal(signal.SIGINT)
            status = process.wait(timeout=PATIENCE_S)
            reading.join()
            assert status == 0, rest
        finally:
            process.kill()
            process.wait()
            if reading.ident is not None:  # it was started
                reading.join()
            if process.stdout is not None:
                process.stdout.close()

    def run(self, command: str) -> str:
        """Run a command to its end, which must be a success; what it prints."""
        done = subprocess.run(  # noqa: S602 - readers use a shell, too
            command,
            shell=True,
            text=True,
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def placed(self, command: str) -> str:
        """The command with the addresses and names of this world."""
        for word, own in self.place.items():
            command = command.replace(word, own)
        return command

    def stop(self) -> None:
        """The last first."""
        self._stack.close()

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(self.folder / ".venv" / "bin"), os.environ["PATH"]])
        return {**os.environ, "PATH": path, "PYTHONPATH": str(TOP), "PYTHONUNBUFFERED": "1"}


def _write_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    lines = ""
    while word not in lines:
        line = process.stdout.readline()
        assert line, f"ended without {word!r}: {lines}"
        lines += line
    return lines


def _read_rest(process: subprocess.Popen[str], rest: list[str]) -> None:
    assert process.stdout is not None
    rest.append(process.stdout.read())


def said(lines: str, name: str) -> str:
    found = re.search(rf"^{name}: +(.*)$", lines, re.MULTILINE)
    assert found is not None, lines
    return found[1]
