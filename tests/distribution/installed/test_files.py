"""What every artefact says of itself."""

import json
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

from distribution import version
from distribution.deb import debian_version
from distribution.source import TOP


def test_there_is_one_of_each_with_the_version_and_its_sum(artefacts):
    number = version.read()
    patterns = [f"icws-{number}-*.whl", f"icws-{number}.tar.gz", f"icws-{number}.cdx.json"]
    patterns += [f"icws_{debian_version(number)}_amd64.deb", f"icws-reconnect-{number.replace('rc', '-rc')}.tgz"]
    names = {artefacts.only(pattern).name for pattern in patterns}
    assert {path.name for path in artefacts.folder.iterdir()} == {*names, "SHA256SUMS"}
    listed = (artefacts.folder / "SHA256SUMS").read_text().splitlines()
    assert {line.split("  ")[1] for line in listed} == names
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=artefacts.folder, check=True)  # noqa: S607


def test_the_wheel_is_for_every_linux_since_glibc_2_28(artefacts):
    wheel = artefacts.only("icws-*.whl")
    assert re.search(r"-cp311-abi3-manylinux_2_28_x86_64\.whl$", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        module = archive.read("appliance/_native.abi3.so")
        names = archive.namelist()
    versions = {tuple(map(int, found.split(b"."))) for found in re.findall(rb"GLIBC_(\d+\.\d+)", module)}
    assert max(versions) <= (2, 28)
    assert {name.split("/")[0] for name in names} == {"appliance", "icws", f"icws-{version.read()}.dist-info"}


def test_nothing_names_the_folders_of_the_machine_that_built_it(artefacts, tmp_path):
    """They differ from machine to machine, and so would the artefacts."""
    wheel, package = tmp_path / "wheel", tmp_path / "package"
    shutil.unpack_archive(artefacts.only("icws-*.whl"), wheel, "zip")
    subprocess.run(["dpkg-deb", "--raw-extract", artefacts.only("icws_*.deb"), package], check=True)  # noqa: S603, S607
    for pattern, name in (("icws-*.tar.gz", "source"), ("icws-reconnect-*.tgz", "browser")):
        with tarfile.open(artefacts.only(pattern)) as archive:
            archive.extractall(tmp_path / name, filter="data")
    module = (wheel / "appliance/_native.abi3.so").read_bytes()
    assert b"/cargo/registry/src/" in module  # panics have their places, below names that say nothing
    for folder in (Path.home(), "/tmp", "/home"):  # noqa: S108
        assert f"{folder}/".encode() not in module
    files = [artefacts.only("*.cdx.json"), *tmp_path.rglob("*")]
    assert [path for path in files if path.is_file() and f"{TOP}/".encode() in path.read_bytes()] == []
    own = [path for path in wheel.rglob("*") if path.is_file()]  # what others have built may name their folders
    assert [path for path in own if b"path+file:///" in path.read_bytes()] == []


def test_the_wheel_has_a_bill_of_its_crates(artefacts):
    with zipfile.ZipFile(artefacts.only("icws-*.whl")) as archive:
        (name,) = (name for name in archive.namelist() if ".dist-info/sboms/" in name)
        inside = json.loads(archive.read(name))["components"]
    beside = json.loads(artefacts.only("icws-*.cdx.json").read_text())["components"]
    assert inside
    assert inside == [each for each in beside if each["purl"].startswith("pkg:cargo/")]


def test_the_source_has_its_locks_and_asks_for_them(artefacts, tmp_path):
    with tarfile.open(artefacts.only("icws-*.tar.gz")) as archive:
        top = archive.getnames()[0].split("/")[0]
        project = archive.extractfile(f"{top}/pyproject.toml")
        assert f"{top}/native/Cargo.lock" in archive.getnames()
        assert project is not None
        assert "locked = true" in project.read().decode()
        assert not [name for name in archive.getnames() if "__pycache__" in name or name.endswith(".so")]
        archive.extractall(tmp_path, filter="data")
    manifest = tmp_path / top / "native" / "Cargo.toml"
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--manifest-path={manifest}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr  # the lock fits what is packed


def test_the_bill_is_valid_and_has_both_languages(artefacts, packing):
    bill = artefacts.only("icws-*.cdx.json")
    check = (
        "import sys\n"
        "from cyclonedx.schema import SchemaVersion\n"
        "from cyclonedx.validation.json import JsonStrictValidator\n"
        "error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())\n"
        "sys.exit(str(error) if error else 0)\n"
    )
    done = subprocess.run([packing, "-c", check, bill], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    components = json.loads(bill.read_text())["components"]
    assert {purl.split("/")[0] for purl in (each["purl"] for each in components)} == {"pkg:cargo", "pkg:pypi"}
