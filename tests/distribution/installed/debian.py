"""A Debian 12 of the test's own: a folder that debootstrap fills once, copied for each test, with what systemd-nspawn
runs in it.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from distribution import deb
from distribution.source import TOP
from tests.distribution.installed.conftest import PATIENCE_S, outside
from tests.needs import program

SUITE = "bookworm"
BEFORE = "0.0.1"
"""The earlier version."""
_NSPAWN = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--as-pid2")
_SERVES = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network")


@dataclass(frozen=True)
class Debian:
    """A root folder, with variables and folders of the host for what runs in it."""

    root: Path
    variables: dict[str, str] = field(default_factory=dict)
    binds: Sequence[str] = ()

    def run(self, command: str, *, cwd: str = "/") -> str:
        """Run a command of the shell as root, with the host's network; what it prints. It must be a success."""
        done = self._attempt(command, cwd)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def fails(self, command: str) -> bool:
        return self._attempt(command, "/").returncode != 0

    def _attempt(self, command: str, cwd: str) -> subprocess.CompletedProcess[str]:
        options = [f"--setenv={name}={value}" for name, value in self.variables.items()]
        options += [f"--bind={bind}" for bind in self.binds]
        return subprocess.run(  # noqa: S603
            [*_NSPAWN, *options, f"--directory={self.root}", f"--chdir={cwd}", "/bin/sh", "-ec", command],
            env=outside(),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )

    @contextmanager
    def serving(self, *options: str) -> Iterator["Running"]:
        """What runs with a network of its own: systemd with ``--boot``, else a program as the first process."""
        command = [*_SERVES, f"--directory={self.root}", *options]
        with open(self.root.with_suffix(".log"), "w") as log:
            process = subprocess.Popen(command, env=outside(), stdout=log, stderr=log)  # noqa: S603
            try:
                yield Running(process, _leader(process), Path(log.name))
            finally:
                process.terminate()
                process.wait(PATIENCE_S)


@dataclass(frozen=True)
class Running:
    """What runs in a Debian, and its first process as the host counts it."""

    process: subprocess.Popen[bytes]
    leader: int
    log: Path

    def run(self, command: str) -> str:
        """Run a command of the shell beside it, which must be a success; what it prints."""
        done = self.attempt(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self.log.read_text()}"
        return done.stdout.strip()

    def attempt(self, command: str) -> subprocess.CompletedProcess[str]:
        """The same, for what may fail."""
        enter = ["nsenter", "--all", f"--target={self.leader}", "--", "env", "-i", "PATH=/usr/sbin:/usr/bin"]
        return subprocess.run(  # noqa: S603
            [*enter, "DEBIAN_FRONTEND=noninteractive", "/bin/sh", "-ec", command],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )

    def eventually(self, command: str) -> str:
        """Run a command again and again until it is a success; what it prints then."""
        deadline = time.monotonic() + PATIENCE_S
        while (done := self.attempt(command)).returncode and time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.2)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self.log.read_text()}"
        return done.stdout.strip()

    def exposure(self, unit: str) -> float:
        """Of a service, as ``systemd-analyze security`` rates it."""
        report = self.run(f"systemd-analyze security --no-pager {unit} | tail -n 1")
        found = re.search(r"\.service: (\d+\.\d)", report)
        assert found is not None, report
        return float(found[1])


def _leader(process: subprocess.Popen[bytes]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        # nspawn first has a child that prepares the folders, outside of the container's processes
        for child in children.read_text().split():
            if _processes(child) not in ("", _processes("self")):
                return int(child)
        time.sleep(0.05)
    raise AssertionError("nothing runs")


def _processes(number: str) -> str:
    """The namespace of a process; "" if it has ended."""
    try:
        return os.readlink(f"/proc/{number}/ns/pid")
    except FileNotFoundError:
        return ""


def base() -> Path:
    """The folder with a Debian that nobody changes: ``ICWS_DEBIAN``, or ``build/debian`` in the checkout."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a Debian of its own")
    for name in ("debootstrap", "systemd-nspawn"):
        program(name)
    folder = Path(os.environ.get("ICWS_DEBIAN", TOP / "build" / "debian"))
    if not (folder / "etc" / "debian_version").exists():
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        include = "--include=systemd,systemd-sysv,ca-certificates"
        done = subprocess.run(  # noqa: S603
            ["debootstrap", "--variant=minbase", include, SUITE, str(part)],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"debootstrap cannot make a Debian here: {done.stdout[-500:]}")
        part.rename(folder)
    if subprocess.run([*_NSPAWN, f"--directory={folder}", "/bin/true"], capture_output=True, check=False).returncode:  # noqa: S603
        pytest.skip("systemd-nspawn runs nothing here")
    return folder


def copy(folder: Path, target: Path) -> Path:
    """A copy of a root folder."""
    subprocess.run(["cp", "--archive", "--reflink=auto", str(folder), str(target)], check=True)  # noqa: S603, S607
    return target


def with_packages(package: Path, folder: Path) -> Debian:
    """A Debian with a package, and the same as one of an earlier version, in its root folder."""
    root = copy(base(), folder / "root")
    shutil.copy(package, root / "new.deb")
    before = folder / "old"
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(before)], check=True)  # noqa: S603, S607
    control = before / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: .*", f"Version: {BEFORE}", control.read_text(), flags=re.MULTILINE))
    deb.pack(before, root / "old.deb", epoch=0, compression="none")
    return Debian(root, {"DEBIAN_FRONTEND": "noninteractive"})
