"""The units as systemd reads them, without running it."""

import re
import subprocess
from pathlib import Path

import pytest

from appliance.config.schema import Config
from appliance.gateway.limits import memory
from tests.needs import program

FOLDER = Path(__file__).resolve().parents[2] / "systemd"
SERVICES = ("icws.service", "icws-outbound.service")
SOCKETS = ("icws.socket", "icws-metrics.socket", "icws-operators.socket", "icws-outbound.socket")
DROP_INS = sorted(path.stem for path in (FOLDER / "drop-ins").glob("*.conf"))
MOST_EXPOSED = 11
"""In tenths, as systemd-analyze counts."""
WITH_DROP_IN = {"low-ports": 14, "sealed": 3}


@pytest.fixture
def units(tmp_path):
    """The units in a folder of their own, with a program that is there."""
    program = tmp_path / "opt" / "bin" / "icws"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)

    def copy(*drop_ins: str) -> Path:
        for name in (*SERVICES, *SOCKETS):
            text = (FOLDER / name).read_text().replace("/opt/icws", str(tmp_path / "opt"))
            (tmp_path / name).write_text(text)
        for drop_in in drop_ins:
            target = tmp_path / "icws.service.d" / f"{drop_in}.conf"
            target.parent.mkdir(exist_ok=True)
            text = (FOLDER / "drop-ins" / f"{drop_in}.conf").read_text().replace("/opt/icws", str(tmp_path / "opt"))
            target.write_text(text)
        return tmp_path / "icws.service"

    return copy


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [program("systemd-analyze"), *arguments]
    environment = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603


def verified(unit: Path) -> tuple[int, str]:
    """What systemd has to say: its exit code alone does not tell unknown keys."""
    result = analyze("verify", unit)
    return result.returncode, result.stderr


def directives(name: str) -> dict[str, list[str]]:
    """The last section's keys of a unit, with all their values."""
    found: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text().splitlines():
        if match := re.fullmatch(r"([A-Za-z]+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


@pytest.mark.parametrize("drop_ins", [(), *((name,) for name in DROP_INS), tuple(DROP_INS)], ids="+".join)
def test_systemd_has_nothing_to_say(units, drop_ins):
    assert verified(units(*drop_ins)) == (0, "")


@pytest.mark.parametrize("name", [*SOCKETS, "icws-outbound.service"])
def test_the_other_units_are_some(units, name):
    assert verified(units().with_name(name)) == (0, "")


def test_operators_get_a_socket_that_they_and_nobody_else_may_use():
    keys = directives("icws-operators.socket")
    assert (keys["SocketGroup"], keys["SocketMode"]) == (["icws-operators"], ["0660"])
    text = (FOLDER / "icws-operators.socket").read_text()
    assert f"unix:{keys['ListenStream'][0]}]" in text  # the line for the configuration


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("WatchdogSec=", "WatchdogSecs="),
        ("@system-service", "@system-servic"),
        ("Type=notify", "Type=notifi"),
        ("ExecStart=/", "ExecStart=/nowhere/"),
    ],
)
def test_a_fault_would_be_seen(units, old, new):
    unit = units()
    unit.write_text(unit.read_text().replace(old, new))
    assert verified(unit) != (0, "")


def test_a_fault_in_a_drop_in_would_be_seen(units):
    unit = units("low-ports")
    drop_in = unit.with_name("icws.service.d") / "low-ports.conf"
    drop_in.write_text(drop_in.read_text().replace("PrivateUsers=", "PrivateUser="))
    assert verified(unit) != (0, "")


@pytest.mark.parametrize("drop_ins", [(), *((name,) for name in DROP_INS)], ids="+".join)
def test_it_is_exposed_as_little_as_it_says(units, drop_ins):
    most = WITH_DROP_IN.get("".join(drop_ins), MOST_EXPOSED)
    unit = units(*drop_ins)
    result = analyze("security", "--offline=true", "--no-pager", f"--threshold={most}", unit)
    assert result.returncode == 0, result.stdout
    assert analyze("security", "--offline=true", "--no-pager", "--threshold=1", unit).returncode != 0


def test_its_way_to_the_ic_is_exposed_as_little_as_a_gateway_with_a_network(units):
    unit = units().with_name("icws-outbound.service")
    result = analyze("security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED}", unit)
    assert result.returncode == 0, result.stdout


def test_the_drop_in_and_the_units_agree_about_the_way_and_its_group():
    drop_in = directives("drop-ins/sealed.conf")
    [address], [group] = directives("icws-outbound.socket")["ListenStream"], drop_in["SupplementaryGroups"]
    assert directives("icws-outbound.socket")["SocketGroup"] == [group]
    [variables] = drop_in["Environment"]
    assert {f"{name}=unix:{address}" for name in ("HTTP_PROXY", "HTTPS_PROXY")} < set(variables.split())
    from appliance.cli.operate.outbound import ADDRESS

    assert f"unix:{address}" == ADDRESS


def test_the_socket_of_the_metrics_is_at_the_address_of_the_installed_configuration():
    [address] = directives("icws-metrics.socket")["ListenStream"]
    assert f"listen: {address}|" in (FOLDER / "install.sh").read_text()


def test_a_restart_ends_the_process_for_the_next_one_and_a_stop_does_not():
    from appliance.process import HAND_ON

    keys = directives("icws.service")
    assert keys["RestartKillSignal"] == [HAND_ON.name]
    assert "KillSignal" not in keys


def test_it_may_take_longer_to_stop_than_the_drain():
    [stop_s] = directives("icws.service")["TimeoutStopSec"]
    drain = Config().drain
    assert int(stop_s.removesuffix("s")) > drain.grace + drain.deadline


def test_the_gateway_sheds_clients_before_the_kernel_acts():
    """``limits.memory`` is a part of the smallest limit that holds for the process, which is MemoryHigh."""
    service = directives("icws.service")
    ([high], [most]) = (service[name] for name in ("MemoryHigh", "MemoryMax"))
    assert int(high.removesuffix("%")) < int(most.removesuffix("%")) < 100
    assert int(Config().limits.memory.removesuffix("%")) < 100
    assert "memory.high" in memory._FILES


def test_a_configuration_that_cannot_be_used_is_not_tried_again():
    from appliance.cli.main import EXIT_CONFIG

    assert directives("icws.service")["RestartPreventExitStatus"] == [str(EXIT_CONFIG)]


def test_a_reload_checks_first():
    first, second = directives("icws.service")["ExecReload"]
    assert first.split()[1:] == ["check", "--no-files", "/etc/icws/gateway.yaml"]
    assert second.split()[1:] == ["reload", "--config", "/etc/icws/gateway.yaml"]


@pytest.mark.parametrize(
    ("unit", "command"),
    [("icws.service", "ExecStart"), ("icws.service", "ExecReload"), ("icws-outbound.service", "ExecStart")],
)
def test_the_commands_exist_and_take_these_options(unit, command):
    from click.testing import CliRunner

    from appliance.cli.main import main

    for line in directives(unit)[command]:
        name, *options = line.split()[1:]
        assert CliRunner().invoke(main, [name, *options, "--help"]).exit_code == 0


def test_the_socket_is_at_the_address_of_the_shipped_configuration():
    assert directives("icws.socket")["ListenStream"] == [Config().gateway.listen]


def test_no_value_has_a_comment_behind_it():
    for path in FOLDER.rglob("*.*"):
        if path.suffix in (".service", ".socket", ".conf"):
            for line in path.read_text().splitlines():
                assert line.startswith("#") or "#" not in line, f"{path.name}: {line}"
