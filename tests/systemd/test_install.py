"""The installation, below a scratch folder."""

import os
import resource
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.config.load import load
from appliance.config.schema import Config

TOP = Path(__file__).resolve().parents[2]
SCRIPT = TOP / "systemd" / "install.sh"
WRITABLE = ("/var/lib/icws", "/run/icws", "/var/log/icws")


def install(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [SCRIPT, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "DESTDIR": str(root), **environment},
    )


def tree(root: Path) -> dict[str, tuple[int, bytes | str]]:
    """Everything below a folder, with mode and content."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(root.rglob("*")):
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        found[f"/{path.relative_to(root)}"] = (stat.S_IMODE(path.lstat().st_mode), content)
    return found


@pytest.fixture
def root(tmp_path):
    result = install(tmp_path, "--no-package")
    assert (result.returncode, result.stderr) == (0, "")
    return tmp_path


def test_everything_is_in_its_place(root):
    files = {path: mode for path, (mode, content) in tree(root).items() if content != "" and mode != 0o777}
    assert files == dict.fromkeys(
        [
            "/etc/icws/gateway.yaml",
            "/opt/icws/plugins/audit_log.py",
            *(f"/opt/icws/share/drop-ins/{path.name}" for path in sorted((TOP / "systemd" / "drop-ins").iterdir())),
            "/usr/local/lib/systemd/system/icws.service",
            *(
                f"/usr/local/lib/systemd/system/{name}"
                for name in (
                    *("icws.socket", "icws-metrics.socket", "icws-operators.socket"),
                    *("icws-outbound.service", "icws-outbound.socket"),
                )
            ),
        ],
        0o644,
    )
    assert tree(root)["/usr/local/bin/icws"][1] == "/opt/icws/bin/icws"


def test_again_changes_nothing(root):
    before = tree(root)
    result = install(root, "--no-package")
    assert (result.returncode, len(result.stdout.splitlines())) == (0, 1)
    assert tree(root) == before


def test_a_full_disk_leaves_no_half_configuration_that_would_be_kept(tmp_path):
    """The longest of the files does not fit."""
    too_small = (TOP / "gateway.yaml").stat().st_size // 2
    result = subprocess.run(  # noqa: S603
        [SCRIPT, "--no-package"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "DESTDIR": str(tmp_path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (too_small, too_small)),
    )
    assert result.returncode == 1
    assert "gateway.yaml cannot be written" in result.stderr
    assert list((tmp_path / "etc/icws").iterdir()) == []
    assert install(tmp_path, "--no-package").returncode == 0
    kept = tmp_path / "etc/icws/gateway.yaml"
    assert (load(kept).config.canisters, stat.S_IMODE(kept.stat().st_mode)) == ([], 0o644)


def test_what_is_the_operators_stays_and_what_is_ours_is_brought_up_to_date(root):
    configuration, unit = root / "etc/icws/gateway.yaml", root / "usr/local/lib/systemd/system/icws.service"
    drop_in = root / "etc/systemd/system/icws.service.d/own.conf"
    before = tree(root)
    configuration.write_text("canisters: []\n")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\n")
    unit.write_text("old")
    result = install(root, "--no-package")
    assert "/usr/local/lib/systemd/system/icws.service" in result.stdout.splitlines()
    assert configuration.read_text() == "canisters: []\n"
    assert drop_in.read_text() == "[Service]\n"
    assert (
        tree(root)["/usr/local/lib/systemd/system/icws.service"] == before["/usr/local/lib/systemd/system/icws.service"]
    )


def test_the_configuration_keeps_its_data_where_the_unit_may_write(root):
    config = load(root / "etc/icws/gateway.yaml").config
    kept = [config.gateway.identity, config.control.history, config.control.listen[0].removeprefix("unix:")]
    for path in kept:
        assert str(path).startswith(WRITABLE)
    assert config.metrics.listen == "127.0.0.1:9464"
    elsewhere = {"gateway": {"identity"}, "control": {"listen", "history"}, "metrics": {"listen"}}
    assert config.model_dump(exclude=elsewhere) == Config().model_dump(exclude=elsewhere)


def test_an_interpreter_that_the_unit_would_not_run_is_refused(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "/home/somebody/bin/python3"\n')
    python.chmod(0o755)
    result = install(tmp_path / "root", PYTHON=str(python))
    assert result.returncode == 1
    assert "/home/somebody/bin/python3 cannot run under the service" in result.stderr
    assert not (tmp_path / "root").exists()


@dataclass(frozen=True)
class Bench:
    """An interpreter that stands in for one below /usr, and a package that takes no compiler and needs nothing."""

    folder: Path

    @property
    def package(self) -> Path:
        return self.folder / "package"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def install(self, *, first: str = "") -> subprocess.CompletedProcess[str]:
        """``first`` are cases of the interpreter's second argument that come before the others."""
        locks, python = self.folder / "locks", self.folder / "python"
        locks.mkdir(exist_ok=True)
        for name in ("gateway.txt", "build.txt"):
            (locks / name).write_text("# nothing\n")
        cases = f'{first} *realpath*) echo /usr/bin/python3;; *) exec {sys.executable} "$@";;'
        python.write_text(f'#!/bin/sh\ncase "$2" in {cases} esac\n')
        python.chmod(0o755)
        return install(self.root, str(self.package), PYTHON=str(python), LOCKS=str(locks))


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    make_package(made.package, requires="")
    return made


@pytest.mark.timeout(600)  # it makes an environment with pip
def test_a_package_is_installed_for_where_it_will_be(bench):
    """Also after an attempt on a Debian without python3-venv: ``venv`` fails there, and leaves an environment without
    pip behind.
    """
    result = bench.install(first=f'venv) {sys.executable} -m venv --without-pip "$3"; exit 1;;')
    assert result.returncode == 1
    assert (bench.root / "opt/icws/bin/python").exists()
    result = bench.install()
    assert result.returncode == 0, result.stderr
    assert "/opt/icws: icws, version 9" in result.stdout
    assert (bench.root / "opt/icws/bin/icws").read_text().splitlines()[0] == "#!/opt/icws/bin/python"
    make_package(bench.package, requires="Requires-Dist: pluggy\\n")
    result = bench.install()
    assert result.returncode == 1
    assert f"{bench.package} needs other versions than {bench.folder}/locks/gateway.txt has" in result.stderr


def test_the_environment_of_the_debian_package_is_left_alone(bench):
    told = bench.root / "opt/icws/lib/python3.11/site-packages/icws-9.dist-info/INSTALLER"
    told.parent.mkdir(parents=True)
    told.write_text("deb\n")
    before = tree(bench.root)
    result = bench.install()
    assert result.returncode == 1
    assert "apt remove icws" in result.stderr
    assert tree(bench.root) == before


def make_package(package: Path, *, requires: str) -> None:
    (package / "appliance").mkdir(parents=True, exist_ok=True)
    (package / "appliance" / "__init__.py").write_text("")
    (package / "appliance" / "cli.py").write_text(
        "def main(): print('icws, version 9')\nif __name__ == '__main__': main()\n"
    )
    (package / "pyproject.toml").write_text(
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
    )
    (package / "backend.py").write_text(BACKEND.replace("REQUIRES", requires))


BACKEND = """
import zipfile

INFO = "icws-9.dist-info"


def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "icws-9-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for module in ("__init__", "cli"):
            wheel.write(f"appliance/{module}.py")
        wheel.writestr(f"{INFO}/METADATA", "Metadata-Version: 2.1\\nName: icws\\nVersion: 9\\nREQUIRES")
        wheel.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{INFO}/entry_points.txt", "[console_scripts]\\nicws = appliance.cli:main\\n")
        wheel.writestr(f"{INFO}/RECORD", "")
    return name
"""
