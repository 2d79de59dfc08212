import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Icws
from tests.gateway.bench import until


def contents(file: Path) -> dict[str, str]:
    with tarfile.open(file) as archive:
        return {
            member.name.partition("/")[2]: stream.read().decode()
            for member in archive
            if (stream := archive.extractfile(member)) is not None
        }


def values(dump: dict[str, str], name: str) -> Any:
    return json.loads(dump[name])


async def test_a_stranger_finds_what_he_needs(icws: Icws, tmp_path: Path):
    async with icws.plane.connect() as session:
        await session.receive()
    await until(lambda: not len(icws.plane.control.listener))
    icws.plane.file.write_text(icws.plane.file.read_text() + "relay: {window: 3}\n")
    await icws("reload")
    file = tmp_path / "dump.tar.gz"
    await icws("support-dump", "-o", file)
    assert file.stat().st_mode & 0o777 == 0o600
    dump = contents(file)
    assert values(dump, "config.json")["values"]["relay"]["window"] == 3
    assert values(dump, "gateway/config.json")["origins"]["relay.window"].startswith(str(icws.plane.file))
    assert "relay.window" in dump["gateway/plans.json"]
    assert "icws_sessions_opened_total 1.0" in dump["gateway/metrics.txt"]
    (story,) = values(dump, "gateway/stories.json")["items"]
    assert story["closed"]
    assert values(dump, "versions.json")["packages"]["icws"]
    assert values(dump, "environment.json")["limits"]["RLIMIT_NOFILE"]
    assert values(dump, "gateway/ready.json")["checks"]
    assert "systemctl" in dump["unit.txt"]
    assert "README.txt" in dump
    missing = [name for name, text in dump.items() if text.startswith('{\n  "missing"')]
    assert not missing


async def test_no_file_is_overwritten(icws: Icws, tmp_path: Path):
    file = tmp_path / "dump.tar.gz"
    file.write_text("mine")
    assert "File exists" in (await icws("support-dump", "-o", file, code=1)).stderr
    assert file.read_text() == "mine"


async def test_without_a_gateway_there_is_less_in_it(icws: Icws, tmp_path: Path):
    icws.environment["ICWS_SOCKET"] = str(tmp_path / "nobody.sock")
    await icws("support-dump", "-o", tmp_path / "dump.tar.gz")
    dump = contents(tmp_path / "dump.tar.gz")
    assert "could not be asked" in dump["gateway.txt"]
    assert {"config.json", "versions.json", "environment.json", "unit.txt"} <= set(dump)


async def test_nothing_secret_is_in_it(icws: Icws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each secret is where it would be in earnest, and the archive is searched for all of them."""
    monkeypatch.setenv("GATEWAY_KEY", "SECRET-in-a-variable")
    monkeypatch.setenv("ICWS_LOG__LEVEL", "error")
    icws.plane.file.write_text(
        icws.plane.file.read_text() + "plugins: [{path: nowhere.py, config: {password: SECRET-of-a-plugin}}]\n"
    )
    await icws("support-dump", "-o", tmp_path / "dump.tar.gz")
    dump = contents(tmp_path / "dump.tar.gz")
    assert "nowhere" in dump["config.json"]
    assert "ICWS_LOG__LEVEL" in dump["environment.json"]
    assert not [name for name, text in dump.items() if "SECRET" in text]
