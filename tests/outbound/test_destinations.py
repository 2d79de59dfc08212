"""Laws of ``outbound/destinations.py``."""

import logging
from pathlib import Path

import pytest

from appliance.config.source import Source
from appliance.errors import ConfigError
from appliance.outbound.destinations import Destinations


def written(folder: Path, *urls: str) -> Path:
    file = folder / "gateway.yaml"
    file.write_text(f"network: {{url: [{', '.join(repr(url) for url in urls)}]}}\n")
    return file


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://icp-api.io", "icp-api.io:443"),
        ("https://ICP-API.io/base/", "icp-api.io:443"),
        ("https://icp-api.io:8443", "icp-api.io:8443"),
        ("http://127.0.0.1:4943", "127.0.0.1:4943"),
        ("http://ic.example", "ic.example:80"),
        ("http://[::1]:4943", "[::1]:4943"),
        ("https://b\u00fccher.example", "xn--bcher-kva.example:443"),
    ],
)
async def test_the_endpoints_of_the_configuration_are_allowed_and_nothing_else(
    tmp_path: Path, url: str, target: str
) -> None:
    destinations = Destinations(Source(written(tmp_path, url)))
    assert await destinations.allow(target)
    host, _, port = target.rpartition(":")
    for other in (f"{host}:{int(port) + 1}", f"a.{target}", f"{host}.example:{port}", host, ""):
        assert not await destinations.allow(other)


async def test_a_changed_file_is_followed_and_a_broken_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    destinations = Destinations(Source(written(tmp_path, "https://one.example")))
    file = written(tmp_path, "https://two.example", "https://three.example")
    assert [await destinations.allow(f"{name}.example:443") for name in ("one", "two", "three")] == [False, True, True]
    with caplog.at_level(logging.WARNING):
        file.write_text("network: {ur: x}\n")
        assert await destinations.allow("two.example:443")
        assert await destinations.allow("two.example:443")
        file.unlink()
        assert await destinations.allow("two.example:443")
    written(tmp_path, "https://one.example")
    assert not await destinations.allow("two.example:443")


async def test_the_environment_goes_over_the_file(tmp_path: Path) -> None:
    environment = {"ICWS_NETWORK__URL": "https://other.example"}
    destinations = Destinations(Source(written(tmp_path, "https://one.example"), environment))
    assert await destinations.allow("other.example:443")
    assert not await destinations.allow("one.example:443")


def test_a_start_without_a_usable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Destinations(Source(tmp_path / "gateway.yaml"))
