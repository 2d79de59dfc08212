import json
import re
from importlib import metadata
from pathlib import Path

import pytest

from appliance import installation as module
from appliance.installation import Installation, installation


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package icws with these files in its metadata."""

    def write(installer: str = "pip\n", origin: object = None) -> None:
        folder = tmp_path / "icws-1.dist-info"
        folder.mkdir()
        (folder / "INSTALLER").write_text(installer)
        if origin is not None:
            (folder / "direct_url.json").write_text(json.dumps(origin))
        package = metadata.PathDistribution(folder)
        monkeypatch.setattr(module.metadata, "distribution", lambda name: package)

    return write


def test_a_checkout_is_one(packaged, tmp_path):
    packaged(origin={"url": tmp_path.as_uri(), "dir_info": {"editable": True}})
    assert installation() == Installation("checkout", tmp_path)
    assert installation().advice("localnet") == f"pip install --editable '{tmp_path}[localnet]'"


def test_the_wheel_is_named_while_it_is_there(packaged, tmp_path):
    file = tmp_path / "icws 1.whl"
    file.touch()
    packaged(origin={"url": file.as_uri(), "archive_info": {}})
    assert installation().advice("otel") == f"pip install '{file}[otel]'"
    file.unlink()
    assert installation().advice("otel") == "pip install 'FILE.whl[otel]'"


@pytest.mark.parametrize(("installer", "name"), [("deb", "Debian package"), ("image", "container image")])
def test_a_package_of_ours_is_named(packaged, installer, name):
    packaged(installer)
    assert str(installation()) == name
    assert installation().advice("localnet").startswith(f"the {name} is without it; ")


@pytest.mark.parametrize("way", ["checkout", "file", "deb", "image"])
def test_no_advice_has_a_name_for_an_index(way):
    for source in (None, Path("/wheels/icws-1.whl")):
        if (way, source) != ("checkout", None):
            (wanted,) = re.findall(r"pip install (?:--editable )?(\S+)", Installation(way, source).advice("otel"))
            assert wanted.strip("',").startswith(("/", "FILE.whl"))
