"""The Debian package: the environment in ``/opt/icws``, the configuration, units, completions and manual pages."""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

from distribution import environment
from distribution.environment import HOME

CONTROL = Path(__file__).parent / "debian"
SCRIPTS = ("postinst", "prerm", "postrm")
UNITS = Path("usr/lib/systemd/system")
_DOCUMENTS = ("README.md", "docs/alerts.yaml", "docs/grafana.json", "docs/configuration.md")


@dataclass(frozen=True, slots=True)
class Contents:
    """What the package is made of."""

    source: Path
    wheels: Sequence[Path]
    """The gateway's own and those of the lock."""
    bill: str
    """The bill of materials."""
    version: str
    epoch: int


def build(contents: Contents, stage: Path, out: Path) -> Path:
    """Make the package below ``out``, with ``stage`` as its root. Raises CalledProcessError, OSError, ValueError."""
    put(contents, stage)
    package = out / f"icws_{debian_version(contents.version)}_amd64.deb"
    pack(stage, package, epoch=contents.epoch)
    return package


def put(contents: Contents, stage: Path) -> None:
    """Make the root of the package, with its ``DEBIAN``. Raises CalledProcessError, OSError, ValueError."""
    shutil.rmtree(stage, ignore_errors=True)
    environment.build(stage / HOME.relative_to("/"), list(contents.wheels), installer="deb")
    _put_service(contents.source, stage)
    _put_pages(contents, stage)
    _put_documents(contents, stage)
    _put_control(contents, stage)
    environment.settle(stage, contents.epoch)
    for script in SCRIPTS:
        (stage / "DEBIAN" / script).chmod(0o755)


def pack(stage: Path, package: Path, *, epoch: int, compression: str = "xz") -> None:
    """Pack a root folder with its ``DEBIAN``. One thread: how many there are must not change the bytes."""
    command = [
        "dpkg-deb",
        "--root-owner-group",
        f"-Z{compression}",
        "--threads-max=1",
        "--build",
        str(stage),
        str(package),
    ]
    settings = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
    subprocess.run(command, check=True, env=settings, stdout=subprocess.DEVNULL)  # noqa: S603


def debian_version(version: str) -> str:
    """The version for dpkg, which puts 1.0.0~rc1 before 1.0.0."""
    return version.replace("rc", "~rc")


def _put_service(source: Path, stage: Path) -> None:
    """What ``install.sh`` puts, but in the places of a package: its own are those of an administrator."""
    script = source / "systemd" / "install.sh"
    settings = {**os.environ, "DESTDIR": str(stage)}
    subprocess.run([script, "--no-package"], check=True, env=settings, stdout=subprocess.DEVNULL)  # noqa: S603
    (stage / UNITS).parent.mkdir(parents=True)
    (stage / "usr/local/lib/systemd/system").rename(stage / UNITS)
    shutil.rmtree(stage / "usr/local")
    programs = stage / "usr" / "bin"
    programs.mkdir()
    (programs / "icws").symlink_to(HOME / "bin" / "icws")


def _put_pages(contents: Contents, stage: Path) -> None:
    """Manual pages and completions, made by the gateway that is packed, with the modules of this interpreter."""
    wheel = stage.with_name(f"{stage.name}-wheel")
    shutil.rmtree(wheel, ignore_errors=True)
    environment.unpack(contents.wheels[0], wheel)
    command = [sys.executable, "-m", "distribution.manpages", str(stage), contents.version, str(contents.epoch)]
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join([str(wheel), str(contents.source)]), "PYTHONSAFEPATH": "1"}
    subprocess.run(command, check=True, env=settings)  # noqa: S603
    for page in (stage / "usr/share/man/man1").iterdir():
        page.with_suffix(".1.gz").write_bytes(gzip.compress(page.read_bytes(), mtime=0))
        page.unlink()


def _put_documents(contents: Contents, stage: Path) -> None:
    folder = stage / "usr/share/doc/icws"
    folder.mkdir(parents=True)
    for document in _DOCUMENTS:
        shutil.copy(contents.source / document, folder)
    licence = indent((contents.source / "LICENSE").read_text(), " ", lambda _: True).replace(" \n", " .\n").rstrip()
    (folder / "copyright").write_text((CONTROL / "copyright").read_text().replace("@LICENSE@", licence))
    changes = (contents.source / "CHANGELOG.md").read_bytes()
    (folder / "changelog.gz").write_bytes(gzip.compress(changes, mtime=0))
    (folder / "sbom.cdx.json").write_text(contents.bill)
    overrides = stage / "usr/share/lintian/overrides"
    overrides.mkdir(parents=True)
    shutil.copy(CONTROL / "lintian-overrides", overrides / "icws")


def _put_control(contents: Contents, stage: Path) -> None:
    folder = stage / "DEBIAN"
    files = sorted(path for path in stage.rglob("*") if path.is_file() and not path.is_symlink())
    folder.mkdir()
    for name in (*SCRIPTS, "conffiles", "templates"):
        shutil.copy(CONTROL / name, folder)
    size = sum(path.stat().st_size for path in files) // 1024
    control = (CONTROL / "control").read_text().replace("@SIZE@", str(size))
    (folder / "control").write_text(control.replace("@VERSION@", debian_version(contents.version)))
    sums = (f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(stage)}\n" for path in files)  # noqa: S324
    (folder / "md5sums").write_text("".join(sums))
