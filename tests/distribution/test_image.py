"""The image's files as their readers take them; what they make is tested in ``installed``."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from appliance.config.load import load
from appliance.config.schema import Config
from distribution.source import TOP
from tests.distribution.dockerfile import Instruction, read
from tests.needs import program

FOLDER = TOP / "distribution" / "image"
INSTRUCTIONS = read(FOLDER / "Dockerfile")
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())


def last_stage() -> list[Instruction]:
    start = max(at for at, each in enumerate(INSTRUCTIONS) if each.name == "FROM")
    return INSTRUCTIONS[start:]


def value(name: str) -> str:
    (found,) = [each.text for each in last_stage() if each.name == name]
    return found


def test_compilers_stay_in_the_first_stage() -> None:
    stages = [each.text for each in INSTRUCTIONS if each.name == "FROM"]
    assert stages == ["rust:1.95-bookworm AS build", "debian:bookworm-slim"]
    assert not any(re.search(r"rust|gcc|maturin|pip ", each.text) for each in last_stage())


def test_the_toolchain_is_new_enough_for_the_crates() -> None:
    needed = re.search(r'rust-version = "1\.(\d+)"', (TOP / "native" / "Cargo.toml").read_text())
    assert needed is not None
    assert int(INSTRUCTIONS[0].text.split(":1.")[1].split("-")[0]) >= int(needed[1])


def test_it_runs_as_nobody_and_stops_by_draining() -> None:
    assert re.fullmatch(r"\d+:\d+", value("USER"))
    assert not value("USER").startswith("0")
    assert value("STOPSIGNAL") == "SIGTERM"


@pytest.mark.parametrize("name", ["ENTRYPOINT", "CMD"])
def test_no_shell_stands_between_the_gateway_and_its_signals(name: str) -> None:
    assert isinstance(json.loads(value(name)), list)


def test_the_health_check_is_a_command_of_the_gateway() -> None:
    _, command = value("HEALTHCHECK").split("CMD ")
    assert json.loads(command) == ["/opt/icws/bin/icws", "status", "--ready"]


def test_only_what_is_copied_reaches_the_builder() -> None:
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    given = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        word
        for each in INSTRUCTIONS
        if each.name == "COPY" and "--from" not in each.text
        for word in each.text.split()[:-1]
    }
    assert {name.split("/")[0] for name in copied} == given
    assert all((TOP / name).exists() for name in copied)


def test_its_configuration_is_valid_and_writes_where_the_image_lets_it() -> None:
    config = load(FOLDER / "gateway.yaml").config
    [control] = config.control.listen
    assert (str(config.gateway.identity), control) == ("/var/lib/icws/identity.pem", "unix:/run/icws/control.sock")
    assert str(config.control.history).startswith("/var/lib/icws/")
    assert value("VOLUME") == "/var/lib/icws"
    ports = {config.gateway.listen.split(":")[1], str(config.metrics.listen).split(":")[1]}
    assert set(value("EXPOSE").split()) == ports


def test_compose_mounts_what_is_there() -> None:
    for service in COMPOSE["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert (FOLDER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_compose_gives_the_gateway_no_more_than_it_needs() -> None:
    gateway = COMPOSE["services"]["gateway"]
    assert gateway["read_only"] is True
    assert gateway["cap_drop"] == ["ALL"]
    uid = value("USER").split(":")[0]
    assert any(f"uid={uid}" in mount for mount in gateway["tmpfs"] if mount.startswith("/run/icws"))
    assert gateway["ports"] == ["8080:8080"]  # not the metrics


def test_compose_waits_for_the_drain() -> None:
    drain = Config().drain
    assert int(COMPOSE["services"]["gateway"]["stop_grace_period"].removesuffix("s")) > drain.grace + drain.deadline


def test_prometheus_asks_the_gateway_of_compose(tmp_path: Path) -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    metrics = load(FOLDER / "gateway.yaml").config.metrics.listen
    assert job["static_configs"] == [{"targets": [f"gateway:{str(metrics).split(':')[1]}"]}]
    shutil.copy(FOLDER / "prometheus.yml", tmp_path)
    shutil.copy(TOP / "docs" / "alerts.yaml", tmp_path)
    command = [program("promtool", "deploy"), "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_has_the_address_of_prometheus() -> None:
    (source,) = yaml.safe_load((FOLDER / "datasource.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in COMPOSE["services"]
