"""The Debian package of this checkout, without the packages of others; what it does is tested in ``installed``."""

import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.cli.main import COMMANDS
from appliance.config.load import load
from distribution import deb, environment
from distribution.source import TOP
from tests.distribution.wheels import gateway_wheel
from tests.needs import program

EPOCH = 1_700_000_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deb")
    deb.put(deb.Contents(TOP, [gateway_wheel(folder)], "{}\n", "1.2.3rc1", EPOCH), folder / "root")
    return folder / "root"


def test_its_fields(root: Path) -> None:
    fields = dict(line.split(": ", 1) for line in (root / "DEBIAN/control").read_text().splitlines() if ": " in line)
    assert (fields["Package"], fields["Version"]) == ("icws", "1.2.3~rc1")
    assert f"python3 (>= {environment.PYTHON}~)" in fields["Depends"]
    assert int(fields["Installed-Size"]) > 1000


def test_everything_is_where_debian_looks_for_it(root: Path) -> None:
    files = {f"/{path.relative_to(root)}" for path in root.rglob("*") if not path.is_dir()}
    names = ("icws.service", "icws.socket", "icws-metrics.socket", "icws-operators.socket")
    names += ("icws-outbound.service", "icws-outbound.socket")
    units = {f"/usr/lib/systemd/system/{name}" for name in names}
    assert files >= units | {
        "/etc/icws/gateway.yaml",
        "/opt/icws/bin/icws",
        f"/opt/icws/{environment.SITE}/appliance/cli/main.py",
        "/opt/icws/plugins/audit_log.py",
        "/opt/icws/share/drop-ins/low-ports.conf",
        "/usr/bin/icws",
        "/usr/share/bash-completion/completions/icws",
        "/usr/share/doc/icws/copyright",
        "/usr/share/doc/icws/sbom.cdx.json",
        *(f"/usr/share/man/man1/icws-{name}.1.gz" for name in COMMANDS),
    }
    assert not [name for name in files if name.startswith(("/usr/local", "/var", "/run"))]
    assert str((root / "usr/bin/icws").readlink()) == "/opt/icws/bin/icws"


def test_the_configuration_is_the_operators(root: Path) -> None:
    assert (root / "DEBIAN/conffiles").read_text() == "/etc/icws/gateway.yaml\n"
    config = load(root / "etc/icws/gateway.yaml").config
    assert str(config.gateway.identity) == "/var/lib/icws/identity.pem"


def test_the_unit_is_the_one_that_was_measured(root: Path) -> None:
    assert (root / deb.UNITS / "icws.service").read_text() == (TOP / "systemd/icws.service").read_text()


@pytest.mark.parametrize("script", deb.SCRIPTS)
def test_scripts_are_programs_of_the_shell_that_every_debian_has(root: Path, script: str) -> None:
    path = root / "DEBIAN" / script
    assert path.stat().st_mode & 0o777 == 0o755
    assert path.read_text().startswith("#!/bin/sh\nset -e\n")
    subprocess.run([program("dash"), "-n", str(path)], check=True)  # noqa: S603


def test_the_same_root_makes_the_same_bytes(root: Path, tmp_path: Path) -> None:
    program("dpkg-deb")
    packages = []
    for name, seconds in (("first", 0), ("second", 100)):
        copy = tmp_path / name
        modules = shutil.ignore_patterns("*.so", "*.py")  # which take long to pack
        shutil.copytree(root, copy, symlinks=True, ignore=modules)
        environment.settle(copy, EPOCH + seconds)  # dpkg clamps what is newer
        deb.pack(copy, tmp_path / f"{name}.deb", epoch=EPOCH)
        packages.append((tmp_path / f"{name}.deb").read_bytes())
    assert packages[0] == packages[1]


def test_the_sums_are_those_of_the_files(root: Path) -> None:
    done = subprocess.run(
        ["md5sum", "--check", "--quiet", "DEBIAN/md5sums"],  # noqa: S607
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
