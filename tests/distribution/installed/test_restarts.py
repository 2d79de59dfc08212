"""The service restarts and is upgraded while clients come, as it is shipped and without a network of its own."""

import json
from pathlib import Path

import pytest

from tests.distribution.installed import debian
from tests.distribution.installed.debian import BEFORE, Debian, Running

SEALED = 0.3
"""The most that the gateway is exposed without a network."""
OUTBOUND = 1.1
COMING, SESSIONS = 200, 10
ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as way:
    way.connect("/run/icws-outbound.sock")
    way.sendall(f"CONNECT {sys.argv[1]} HTTP/1.1\\r\\n\\r\\n".encode())
    print(way.makefile().readline().strip())
"""
METRICS = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9464/metrics').read().decode())"


@pytest.fixture(scope="module")
def machine(artefacts, tmp_path_factory) -> Debian:
    """With the earlier version installed, and a copy of its environment for the clients: an upgrade replaces the one
    of the package under their feet.
    """
    made = debian.with_packages(artefacts.only("icws_*.deb"), tmp_path_factory.mktemp("machine"))
    made.run("apt-get update --quiet && apt-get install --quiet --yes /old.deb && cp --archive /opt/icws /opt/clients")
    (made.root / "clients.py").write_text(Path(__file__).with_name("clients.py").read_text())
    (made.root / "ask.py").write_text(ASK)
    return made


def test_nobody_is_refused_while_it_restarts_and_is_upgraded(machine: Debian) -> None:
    with machine.serving("--boot") as running:
        running.eventually("systemctl is-active multi-user.target")
        running.run("systemctl enable --now icws.socket icws.service")
        check_a_restart(running, "systemctl restart icws")
        assert running.run("dpkg-query --show --showformat='${Version}' icws") == BEFORE
        check_a_restart(running, "apt-get install --quiet --yes /new.deb")
        assert running.run("dpkg-query --show --showformat='${Version}' icws") != BEFORE
        seal(running)
        check_what_is_sealed(running)
        check_a_restart(running, "systemctl restart icws icws-outbound")
        check_a_restart(running, "apt-get install --quiet --yes --allow-downgrades /old.deb")
        check_what_is_sealed(running)
        running.run("apt-get purge --quiet --yes icws")
        assert running.attempt("systemctl is-active icws-outbound.socket icws-outbound.service").returncode != 0


def check_a_restart(running: Running, command: str) -> None:
    """Everybody is let in, sessions are closed with "come back", and the canister gets all that their clients send."""
    before = running.run("systemctl show --property=MainPID icws")
    told = json.loads(running.run(f"/opt/clients/bin/python -I /clients.py '{command}'").splitlines()[-1])
    assert told["command"] == 0
    assert list(told["statuses"]) == ["101"]
    assert told["statuses"]["101"] >= COMING
    assert told["codes"] == [[1012]] * SESSIONS
    assert told["sent"] >= SESSIONS
    assert told["missing"] == []
    assert running.run("systemctl show --property=MainPID icws") != before
    assert running.run("systemctl show --property=NRestarts icws") == "NRestarts=0"


def seal(running: Running) -> None:
    """By the words of the drop-in."""
    drop_in = "/opt/icws/share/drop-ins/sealed.conf"
    running.run(f"mkdir -p /etc/systemd/system/icws.service.d && cp {drop_in} /etc/systemd/system/icws.service.d")
    commands = running.run(f"sed -n 's/^#   //p' {drop_in}").splitlines()
    assert len(commands) == 3
    running.run(" && ".join(commands))


def check_what_is_sealed(running: Running) -> None:
    assert running.exposure("icws") <= SEALED
    assert running.exposure("icws-outbound") <= OUTBOUND
    process = running.run("systemctl show --property=MainPID --value icws")
    assert "icws_info" in running.run(f'python3 -c "{METRICS}"')
    devices = running.run(f"nsenter --net --target={process} cat /proc/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    refused = running.run("python3 /ask.py example.com:443")
    assert refused == "HTTP/1.1 403 example.com:443 is no endpoint in network.url of /etc/icws/gateway.yaml"
    as_nobody = running.attempt("setpriv --reuid=65534 --clear-groups python3 /ask.py 127.0.0.1:4943")
    assert "PermissionError" in as_nobody.stderr
