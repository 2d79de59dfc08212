"""The Debian package on a Debian without compilers: installed, served, upgraded, reloaded, purged."""

import re

import pytest

from distribution import environment
from tests.distribution.installed import debian
from tests.distribution.installed.debian import BEFORE, Debian, Running
from tests.distribution.test_locks import locked

CANISTER = "bkyz2-fmaaa-aaaaa-qaaaq-cai"
KEY = "/var/lib/icws/identity.pem"
MOST_EXPOSED = 1.1
PROBE = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.sendall(b"GET %s HTTP/1.1\\r\\nHost: localhost\\r\\n" % sys.argv[2].encode())
    for name, value in (("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")):
        connection.sendall(f"{name}: {value}\\r\\n".encode())
    connection.sendall(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\n\\r\\n")
    print(connection.makefile("rb").readline().decode().strip())
"""
"""Asks for a WebSocket, and prints the first line of the answer."""
UPGRADED, METRICS = "HTTP/1.1 101 Switching Protocols", "HTTP/1.1 200 OK"


@pytest.fixture(scope="module")
def machine(artefacts, tmp_path_factory) -> Debian:
    made = debian.with_packages(artefacts.only("icws_*.deb"), tmp_path_factory.mktemp("machine"))
    (made.root / "probe.py").write_text(PROBE)
    return made


def test_it_is_installed_served_upgraded_reloaded_and_purged(machine: Debian, artefacts) -> None:
    """One story: each step needs the one before it."""
    assert machine.fails("command -v cc || command -v rustc || command -v node")
    machine.run("apt-get update --quiet && apt-get install --quiet --yes /old.deb")
    check_what_is_installed(machine)
    with machine.serving("--boot") as running:
        running.eventually("systemctl is-active multi-user.target")
        principal = check_it_serves(running)
        check_it_reloads(running)
        check_it_upgrades(running, principal)
        check_it_purges(running)


def check_what_is_installed(machine: Debian) -> None:
    """Exactly the locked versions, whole, and nothing of it runs or is enabled."""
    site = machine.root / "opt/icws" / environment.SITE
    found = {package["name"].lower().replace("_", "-"): package["version"] for package in environment.metadata(site)}
    wanted = locked("gateway.txt")
    assert found.pop("icws")
    assert {name.replace(".", "-"): version for name, version in found.items()} == wanted
    told = machine.run("icws --version --verbose")
    assert re.search(r"^installed by: +Debian package$", told, re.MULTILINE), told
    machine.run("/opt/icws/bin/python -I -c 'import opentelemetry.sdk.trace, redis.asyncio'")  # the extras
    machine.run("icws check --no-files /etc/icws/gateway.yaml")
    machine.run("dpkg --verify icws")
    assert machine.run("find /opt/icws -name '*.pyc' | head -n 1")
    assert machine.fails("systemctl is-enabled icws")


def check_it_serves(running: Running) -> str:
    """After ``systemctl enable --now``, with as little exposure as we promise. Returns the principal of its key."""
    running.run("systemctl enable --now icws")
    assert running.run("systemctl is-active icws") == "active"
    assert running.run("python3 /probe.py 8080 /") == UPGRADED
    assert running.run("python3 /probe.py 9464 /metrics") == METRICS
    running.run(f"test -s {KEY} && test $(stat -c %a {KEY}) = 600")
    assert running.exposure("icws") <= MOST_EXPOSED
    return running.run(f"icws identity show {KEY}")


def check_it_reloads(running: Running) -> None:
    configuration = "/etc/icws/gateway.yaml"
    running.run(f"sed -i 's/^canisters: \\[\\]$/canisters: [{{id: {CANISTER}, name: chat}}]/' {configuration}")
    running.run("systemctl reload icws")
    assert CANISTER in running.run("icws canisters")
    running.run(f"cp {configuration} /kept && echo 'odd: 1' >> {configuration}")
    assert running.attempt("systemctl reload icws").returncode != 0
    assert running.run("systemctl is-active icws") == "active"
    running.run(f"cp /kept {configuration}")


def check_it_upgrades(running: Running, principal: str) -> None:
    """The new version runs by itself, with the operator's configuration and key."""
    before = running.run("systemctl show --property=MainPID icws")
    running.run("apt-get install --quiet --yes /new.deb")
    assert running.run("dpkg-query --show --showformat='${Version}' icws") != BEFORE
    running.eventually("systemctl is-active icws")
    assert running.run("systemctl show --property=MainPID icws") != before
    assert running.run(f"icws identity show {KEY}") == principal
    assert CANISTER in running.eventually("icws canisters")
    assert running.run("python3 /probe.py 8080 /") == UPGRADED


def check_it_purges(running: Running) -> None:
    """The key stays, unless the operator has it removed."""
    running.run("apt-get purge --quiet --yes icws")
    running.run("test ! -e /opt/icws && test ! -e /etc/icws/gateway.yaml && test ! -e /usr/bin/icws")
    assert running.attempt("systemctl is-active icws").returncode != 0
    assert running.run("ls /var/lib/private/icws") == "identity.pem"
    running.run("apt-get install --quiet --yes /new.deb && systemctl start icws")
    running.run(
        "apt-get install --quiet --yes debconf && echo 'icws icws/remove-key boolean true' | debconf-set-selections"
    )
    running.run("apt-get purge --quiet --yes icws")
    running.run("test ! -e /var/lib/private/icws && test ! -e /var/lib/icws")
