"""The image, where no engine can build it: the instructions of its Dockerfile are carried out in folders with a Debian,
and what it would run runs, as that user, on a root that cannot be written.
"""

import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from distribution.source import TOP, export
from tests.distribution.dockerfile import Instruction, read
from tests.distribution.installed import debian
from tests.distribution.installed.debian import Debian
from tests.needs import program

FILE = TOP / "distribution" / "image" / "Dockerfile"
LOCAL = "network: {url: 'http://127.0.0.1:4943', root_key: fetch}\n"
"""What the operator adds to the image's configuration."""


class Stage:
    """A stage of the Dockerfile, as far as it has been carried out."""

    def __init__(self, machine: Debian) -> None:
        self.machine = machine
        self.folder = "/"
        self.settings: dict[str, str] = {}

    def carry_out(self, instruction: Instruction, context: Path, stages: dict[str, "Stage"]) -> None:
        match instruction.name:
            case "RUN":
                self.machine.run(instruction.text, cwd=self.folder)
            case "WORKDIR":
                self.folder = instruction.text
                self._inside(instruction.text).mkdir(parents=True, exist_ok=True)
            case "COPY":
                self._copy(shlex.split(instruction.text), context, stages)
            case "ENV":
                self.machine.variables.update([instruction.text.split("=", 1)])
            case name:
                self.settings[name] = instruction.text

    def _copy(self, words: list[str], context: Path, stages: dict[str, "Stage"]) -> None:
        origin = context
        if words[0].startswith("--from="):
            origin = stages[words.pop(0).removeprefix("--from=")].machine.root
        *sources, target = words
        for source in sources:
            path = origin / source.lstrip("/")
            place = self._inside(target)
            if target.endswith("/"):
                place /= path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "--archive", "--no-target-directory", str(path), str(place)], check=True)  # noqa: S603, S607

    def _inside(self, path: str) -> Path:
        return self.machine.root / (Path(self.folder) / path).relative_to("/")


def toolchain() -> tuple[dict[str, str], list[str]]:
    """What the image of Rust has: this machine's toolchain, seen from the stage; and what Cargo compiled before."""
    rustc = program("rustc")
    sysroot = subprocess.run([rustc, "--print=sysroot"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    cargo = os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo")
    binds = [f"{sysroot}:/rust", f"{cargo}:/cargo"]
    variables = {"PATH": "/rust/bin:/usr/sbin:/usr/bin", "CARGO_HOME": "/cargo"}
    if authorities := os.environ.get("PIP_CERT"):  # where a proxy stands before the registries
        binds.append(f"{authorities}:/authorities.pem")
        variables |= {"PIP_CERT": "/authorities.pem", "CARGO_HTTP_CAINFO": "/authorities.pem"}
    if compiled := os.environ.get("ICWS_TARGET"):
        binds.append(f"{compiled}:/compiled")
        variables["CARGO_TARGET_DIR"] = "/compiled"
    return variables, binds


@pytest.fixture(scope="module")
def image(artefacts, tmp_path_factory) -> Stage:
    """The last stage, built."""
    folder = tmp_path_factory.mktemp("image")
    base = debian.base()
    export(context := folder / "context")
    stages: dict[str, Stage] = {}
    for instruction in read(FILE):
        if instruction.name == "FROM":
            name = instruction.text.partition(" AS ")[2] or "last"
            machine = Debian(debian.copy(base, folder / name), {"DEBIAN_FRONTEND": "noninteractive"})
            if instruction.text.startswith("rust:"):
                variables, binds = toolchain()
                machine.run("apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev")
                machine = replace(machine, variables={**machine.variables, **variables}, binds=binds)
            stages[name] = Stage(machine)
        else:
            list(stages.values())[-1].carry_out(instruction, context, stages)
    return stages["last"]


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="hadolint is locked for Linux on x86_64 alone (distribution/locks/build.in)",
)
def test_the_dockerfile_has_no_known_mistake(packing: str) -> None:
    linter = Path(packing).with_name("hadolint")
    done = subprocess.run([linter, FILE], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_serves_as_nobody_on_a_root_that_cannot_be_written(image: Stage, tmp_path: Path) -> None:
    """With a volume, a configuration of the operator's own and the limits of compose.yaml, and a local IC beside it."""
    user, group = image.settings["USER"].split(":")
    volume, configuration = tmp_path / "volume", tmp_path / "gateway.yaml"
    shutil.copytree(image.machine.root / "var/lib/icws", volume)
    os.chown(volume, int(user), int(group))
    os.chmod(volume, 0o700)
    tmp_path.chmod(0o755)
    configuration.write_text((image.machine.root / "etc/icws/gateway.yaml").read_text() + LOCAL)
    command = [*json.loads(image.settings["ENTRYPOINT"]), *json.loads(image.settings["CMD"])]
    as_user = ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"]
    as_user += ["--bounding-set=-all", "--inh-caps=-all", "/usr/bin/env", f"--chdir={image.folder}"]
    options = ["--read-only", f"--tmpfs=/run/icws:uid={user},gid={group},mode=0700", "--tmpfs=/tmp"]
    options += [f"--bind={volume}:{image.settings['VOLUME']}", f"--bind-ro={configuration}:/etc/icws/gateway.yaml"]
    options += [f"--setenv={name}={value}" for name, value in image.machine.variables.items()]
    # the program's own signals, as an engine sends them
    with image.machine.serving(*options, "--kill-signal=SIGTERM", *as_user, *command) as running:
        health = json.loads(image.settings["HEALTHCHECK"].split("CMD ")[1])
        variables = [f"{name}={value}" for name, value in image.machine.variables.items()]
        check = shlex.join([*as_user, *variables, *health])
        assert running.attempt(check).returncode == 1  # the IC is not there yet
        running.run("setsid /opt/icws/bin/icws localnet --port 4943 > /tmp/localnet.log 2>&1 < /dev/null &")
        running.eventually(check)
        assert "container image" in running.run("/opt/icws/bin/icws --version --verbose")
        status = Path(f"/proc/{running.leader}/status").read_text()
        assert f"Uid:\t{user}\t{user}\t{user}\t{user}" in status
        for kind in ("Inh", "Prm", "Eff", "Bnd"):
            assert f"Cap{kind}:\t{0:016x}" in status
        assert "NoNewPrivs:\t1" in status
        assert running.attempt("touch /opt/icws/file").returncode != 0
        assert (volume / "identity.pem").stat().st_uid == int(user)
        os.kill(running.leader, getattr(signal, image.settings["STOPSIGNAL"]))
        assert running.process.wait(debian.PATIENCE_S) == 0, running.log.read_text()
