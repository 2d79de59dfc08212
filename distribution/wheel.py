"""The wheel, for every Linux since glibc 2.28, and the source archive."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

TARGET = "x86_64-unknown-linux-gnu"
PLATFORM = "manylinux_2_28"
_NOT_PACKED = ("fuzz",)
"""Members of the workspace that the native module does not need."""
_BILL = "crates.cdx.json"


def build(source: Path, target: Path, out: Path, *, bill: str, epoch: int) -> Path:
    """Make the wheel of a source folder. ``target`` keeps what Cargo compiled. ``bill`` is the bill of materials of the
    crates, which the wheel gets among its metadata (PEP 770). Raises CalledProcessError, OSError.

    Zig links against the symbols of glibc 2.28, which the glibc of the machine that builds is too new for.
    """
    shutil.rmtree(out, ignore_errors=True)
    (source / _BILL).write_text(bill)
    command = ["build", "--release", "--locked", "--zig", "--compatibility", PLATFORM, "--target", TARGET]
    command += ["--sbom-include", _BILL]
    _maturin([*command, "--target-dir", str(target), "--out", str(out)], source, target, epoch)
    (wheel,) = out.glob("*.whl")
    return wheel


def build_source(source: Path, out: Path, *, epoch: int) -> Path:
    """Make the source archive of a source folder. Raises CalledProcessError."""
    shutil.rmtree(out, ignore_errors=True)
    _leave_out(source / "native")
    _maturin(["sdist", "--out", str(out)], source, out, epoch)
    (archive,) = out.glob("*.tar.gz")
    return archive


def _leave_out(workspace: Path) -> None:
    """Take the crates that maturin does not pack out of the workspace and its lock. With them the lock would not fit
    what is packed, and ``--locked`` refuse it.
    """
    manifest = workspace / "Cargo.toml"
    text = manifest.read_text()
    for member in _NOT_PACKED:
        text = text.replace(f', "{member}"', "")
    manifest.write_text(text)
    # offline it can only drop what nothing needs any more
    command = ["cargo", "metadata", "--offline", "--format-version=1", "--manifest-path", str(manifest)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def _maturin(arguments: list[str], source: Path, target: Path, epoch: int) -> None:
    cargo = os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo")
    folders = {"/icws": source, "/cargo": cargo, "/target": target}
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": str(epoch),
        # maturin calls the first python on the path for Zig
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        # Panics name their source file, whose folder differs from machine to machine.
        "RUSTFLAGS": " ".join(f"--remap-path-prefix={path}={name}" for name, path in folders.items()),
        "CARGO_INCREMENTAL": "0",
    }
    command = [sys.executable, "-m", "maturin", *arguments]
    subprocess.run(command, check=True, cwd=source, env=environment)  # noqa: S603
