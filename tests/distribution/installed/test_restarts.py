"""The service restarts and is upgraded while clients come, with one process and with several, as it is shipped and
without a network of its own.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.distribution.installed import debian
from tests.distribution.installed.debian import BEFORE, Debian, Running

SEALED = 0.3
"""The most that the gateway is exposed without a network."""
OUTBOUND = 1.1
COMING, SESSIONS = 200, 10
THREADS = 1024 // 65
"""The most of a process, so that `TasksMax=` of the unit is enough for a supervisor and 64 workers."""
ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as way:
    way.connect("/run/icws-outbound.sock")
    way.sendall(f"CONNECT {sys.argv[1]} HTTP/1.1\\r\\n\\r\\n".encode())
    print(way.makefile().readline().strip())
"""
METRICS = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9464/metrics').read().decode())"


@pytest.fixture
def machine(artefacts, tmp_path: Path) -> Debian:
    """With the earlier version installed, and a copy of its environment for the clients: an upgrade replaces the one
    of the package under their feet.
    """
    made = debian.with_packages(artefacts.only("icws_*.deb"), tmp_path)
    made.run("apt-get update --quiet && apt-get install --quiet --yes /old.deb && cp --archive /opt/icws /opt/clients")
    (made.root / "clients.py").write_text(Path(__file__).with_name("clients.py").read_text())
    (made.root / "ask.py").write_text(ASK)
    return made


@pytest.mark.parametrize("workers", [1, 3])
def test_nobody_is_refused_while_it_restarts_and_is_upgraded(machine: Debian, workers: int) -> None:
    with machine.serving("--boot") as running:
        running.eventually("systemctl is-active multi-user.target")
        running.run("systemctl enable --now icws.socket icws.service")
        check_a_restart(running, "systemctl restart icws", workers)
        check_the_workers(running, workers)
        assert running.run("dpkg-query --show --showformat='${Version}' icws") == BEFORE
        check_a_restart(running, "apt-get install --quiet --yes /new.deb", workers)
        assert running.run("dpkg-query --show --showformat='${Version}' icws") != BEFORE
        seal(running)
        check_what_is_sealed(running)
        check_a_restart(running, "systemctl restart icws icws-outbound", workers)
        check_a_restart(running, "apt-get install --quiet --yes --allow-downgrades /old.deb", workers)
        check_what_is_sealed(running)
        check_the_workers(running, workers)
        running.run("apt-get purge --quiet --yes icws")
        assert running.attempt("systemctl is-active icws-outbound.socket icws-outbound.service").returncode != 0


def check_a_restart(running: Running, command: str, workers: int) -> None:
    """Of all processes, the first one too."""
    assert check_nobody_is_lost(running, command, workers, most=1)


def check_nobody_is_lost(running: Running, command: str, workers: int, *, most: int) -> bool:
    """Everybody is let in, each session is closed with "come back", ``most`` times at most, and the canister gets all
    that their clients send. Returns whether the main process is another one then.
    """
    told = json.loads(running.run(f"/opt/clients/bin/python -I /clients.py '{command}' {workers}").splitlines()[-1])
    assert told["command"] == 0
    assert list(told["statuses"]) == ["101"]
    assert told["statuses"]["101"] >= COMING
    assert len(told["codes"]) == SESSIONS
    assert all(set(codes) == {1012} and len(codes) <= most for codes in told["codes"]), told["codes"]
    assert told["sent"] >= SESSIONS
    assert told["missing"] == []
    assert shown(running, "NRestarts") == "0"
    return bool(told["is_another"])


def check_the_workers(running: Running, workers: int) -> None:
    """Each is as confined as the first process. One that is killed is started again, and all are replaced one by one,
    while the service goes on.
    """
    if workers == 1:
        return
    supervisor, processes = main_process(running), [each["pid"] for each in workers_of(running)]
    assert len(processes) == workers
    for process in (supervisor, *processes):
        status = running.run(f"cat /proc/{process}/status")
        assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
        assert re.findall(r"^Cap(?:Inh|Prm|Eff|Bnd|Amb):\t(\w+)$", status, re.MULTILINE) == ["0" * 16] * 5
        assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
        assert int(re.findall(r"^Threads:\t(\d+)$", status, re.MULTILINE)[0]) <= THREADS
        assert "\n0::/system.slice/icws.service\n" in f"\n{running.run(f'cat /proc/{process}/cgroup')}\n"
        assert re.search(r"^Max core file size +0 +0 ", running.run(f"cat /proc/{process}/limits"), re.MULTILINE)
    running.run(f"kill -KILL {processes[-1]}")
    running.eventually(f"! test -e /proc/{processes[-1]} && icws workers | grep -c ready | grep -x {workers}")
    assert main_process(running) == supervisor
    # who comes back may get to a worker whose turn is still to come
    assert not check_nobody_is_lost(running, "icws workers restart", workers, most=workers)
    assert [each["starts"] for each in workers_of(running)] == [2] * workers
    # systemd is told now and then, later than the control plane
    status = f"{workers} of {workers} workers ready"
    running.eventually(f"systemctl show --property=StatusText icws | grep --fixed-strings '{status}'")


def workers_of(running: Running) -> list[dict[str, Any]]:
    return list(json.loads(running.run("icws workers --json"))["items"])


def main_process(running: Running) -> int:
    return int(shown(running, "MainPID"))


def shown(running: Running, name: str) -> str:
    """What systemd says of the service."""
    return running.run(f"systemctl show --property={name} --value icws")


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
    # those of workers are read now and then
    running.eventually(f'python3 -c "{METRICS}" | grep icws_info')
    devices = running.run(f"nsenter --net --target={main_process(running)} cat /proc/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    refused = running.run("python3 /ask.py example.com:443")
    assert refused == "HTTP/1.1 403 example.com:443 is no endpoint in network.url of /etc/icws/gateway.yaml"
    as_nobody = running.attempt("setpriv --reuid=65534 --clear-groups python3 /ask.py 127.0.0.1:4943")
    assert "PermissionError" in as_nobody.stderr
