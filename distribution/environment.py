"""``/opt/icws``: an environment of Python with the gateway and everything it needs, as locked.

It is put together from wheels whose hashes pip has checked. Nothing is compiled and nothing runs, so that the same
wheels make the same files on any machine.
"""

import argparse
import email.parser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from packaging.markers import Marker

HOME = PurePosixPath("/opt/icws")
LOCK = Path(__file__).parent / "locks" / "gateway.txt"
PYTHON = "3.11"
"""The Python of Debian 12. Wheels with native modules are for one minor version."""
MARKERS = {
    "implementation_name": "cpython",
    "implementation_version": "3.11.2",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.2",
    "python_version": PYTHON,
    "sys_platform": "linux",
}
"""What the conditions of a lock are asked of there (PEP 508). That of the Python that builds may be a later one."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_5_x86_64")
SITE = PurePosixPath("lib") / f"python{PYTHON}" / "site-packages"
_ENTRY = re.compile(r"^(\S+==\S+) ; ([^\\\n]+) \\\n((?: +--hash=.*\n?)+)", re.MULTILINE)
"""An entry with a condition: what, when, and its hashes."""
_COMMAND = f"""#!{HOME}/bin/python -I
import sys

from appliance.cli.entry import main

sys.exit(main(prog_name="icws"))
"""
_SETTINGS = f"""home = /usr/bin
include-system-site-packages = false
version = {PYTHON}
"""


def download(folder: Path, lock: Path = LOCK) -> list[Path]:
    """The wheels of a lock for Debian 12, their hashes checked. Raises CalledProcessError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wanted = folder / "wanted.txt"
    wanted.write_text(applicable(lock.read_text()))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    command += ["--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"]
    command += [f"--platform={platform}" for platform in PLATFORMS]
    command += ["--requirement", str(wanted), "--dest", str(folder)]
    subprocess.run(command, check=True)  # noqa: S603
    return sorted(folder.glob("*.whl"))


def applicable(lock: str) -> str:
    """The entries of a lock that Debian 12 needs, without their conditions: pip would ask those of its own Python."""
    return _ENTRY.sub(lambda entry: f"{entry[1]} \\\n{entry[3]}" if Marker(entry[2]).evaluate(MARKERS) else "", lock)


def build(folder: Path, wheels: list[Path], *, installer: str) -> None:
    """Make the environment below a folder. ``installer`` names the way it is installed, in the metadata of icws.

    Raises OSError, and ValueError for a wheel with files that have no place in such an environment.
    """
    site = folder / SITE
    shutil.rmtree(folder, ignore_errors=True)
    site.mkdir(parents=True)
    for wheel in wheels:
        unpack(wheel, site)
    for metadata in site.glob("*.dist-info"):
        (metadata / "INSTALLER").write_text(f"{installer}\n")
    (folder / "pyvenv.cfg").write_text(_SETTINGS)
    programs = folder / "bin"
    programs.mkdir()
    (programs / "python").symlink_to(f"/usr/bin/python{PYTHON}")
    (programs / "icws").write_text(_COMMAND)
    (programs / "icws").chmod(0o755)


def unpack(wheel: Path, site: Path) -> None:
    """Put the modules of a wheel into a folder. Raises ValueError for a wheel that has files for elsewhere, OSError."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if (target := _place(wheel, PurePosixPath(name), site)) is not None and not name.endswith("/"):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
                target.chmod(0o644)


def _place(wheel: Path, name: PurePosixPath, site: Path) -> Path | None:
    """Where a file of a wheel belongs; None for programs, as the gateway has its own and needs no other."""
    if name.is_absolute() or ".." in name.parts:
        raise ValueError(f"{wheel.name}: {name} lies outside of the wheel")
    if not name.parts[0].endswith(".data"):
        return site / name
    kind, *rest = name.parts[1:]
    if kind in ("purelib", "platlib"):
        return site.joinpath(*rest)
    if kind == "scripts":
        return None
    raise ValueError(f"{wheel.name}: {name} has no place in an environment")


def metadata(site: Path) -> list[dict[str, str]]:
    """Name, version and licence of all that is installed in a folder, by name. Raises OSError."""
    found = []
    for path in site.glob("*.dist-info/METADATA"):
        fields = email.parser.Parser().parsestr(path.read_text(encoding="utf-8"), headersonly=True)
        licence = fields.get("License-Expression") or fields.get("License") or ""
        found.append({"name": fields["Name"], "version": fields["Version"], "licence": licence})
    return sorted(found, key=lambda package: package["name"].lower())


def settle(folder: Path, epoch: int) -> None:
    """Give everything below a folder the same time and the modes of an installed file. Raises OSError."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def main() -> None:
    """Make the environment of a wheel that was built here."""
    parser = argparse.ArgumentParser(prog="python -m distribution.environment", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("wheel", type=Path, help="the folder with the wheel")
    parser.add_argument("--installer", required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as downloads:
        wheels = [*options.wheel.glob("*.whl"), *download(Path(downloads) / "wheels")]
        build(options.folder, wheels, installer=options.installer)


if __name__ == "__main__":
    main()
