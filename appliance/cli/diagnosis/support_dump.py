"""Collects what somebody needs who is to help with a gateway: every part by itself, whatever the others lack."""

import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import orjson

from appliance.config.load import load
from appliance.config.text.written import written
from appliance.control.client import Client, ControlError, path_to
from appliance.errors import GatewayError

REVISIONS = 5
"""Latest revisions whose changes are shown."""
STORIES = 100
UNIT = "icws.service"
COMMAND_TIMEOUT_S = 20.0
_ANSWERS = (
    "status",
    "stats",
    "stats/recent",
    "config",
    "config/history",
    "canisters",
    "sessions",
    "refusals",
    "limits",
    "plugins",
    "audit",
)
"""Paths of the API, below ``/v1``, whose answers are parts."""
_FILES = ("/etc/os-release", "/proc/cpuinfo", "/proc/meminfo", "/proc/self/cgroup", "/sys/fs/cgroup/memory.max")
_LIMITS = ("RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_AS", "RLIMIT_NPROC", "RLIMIT_MEMLOCK")

Part = tuple[str, Any]
"""The name of a file and its content: text, or values for JSON."""


def parts(config_file: Path, api: Callable[[], Client]) -> Iterator[Part]:
    """Every part. Raises nothing: what cannot be had becomes a sentence that says why.

    ``api`` makes the client; it may raise.
    """
    yield "versions.json", _versions()
    yield "environment.json", _environment()
    yield "config.json", _config(config_file)
    yield "unit.txt", _unit()
    try:
        client = api()
        client.text("/livez")
    except Exception as error:  # also of a token file or an option; the rest of the archive helps all the same
        yield "gateway.txt", f"the gateway could not be asked: {error}\n"
        return
    for path in _ANSWERS:
        yield f"gateway/{path.replace('/', '-')}.json", _answer(client, f"/v1/{path}")
    yield "gateway/ready.json", _tolerant(lambda: client.health("/readyz").model_dump(mode="json"))
    yield "gateway/stories.json", _answer(client, f"/v1/stories?limit={STORIES}")
    yield "gateway/plans.json", _tolerant(lambda: _plans(client))
    yield "gateway/metrics.txt", _tolerant(lambda: client.text("/metrics"))


def _answer(client: Client, path: str) -> Any:
    return _tolerant(lambda: orjson.loads(client.text(path)))


def _tolerant(get: Callable[[], Any]) -> Any:
    try:
        return get()
    except (ControlError, GatewayError, ValueError) as error:
        return {"missing": str(error)}


def _plans(client: Client) -> list[Any]:
    """The changes of the latest revisions. Raises ControlError."""
    history = orjson.loads(client.text("/v1/config/history"))["items"]
    numbers = [each["generation"] for each in history[:REVISIONS]]
    return [_answer(client, path_to("config", "history", number, "diff")) for number in numbers]


def _versions() -> dict[str, Any]:
    return {
        "python": sys.version,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": {each.name: each.version for each in sorted(distributions(), key=lambda each: each.name.lower())},
    }


def _environment() -> dict[str, Any]:
    """Facts about the machine; of variables of the environment the names alone, since values may be secrets."""
    names = sorted(name for name in os.environ if name.startswith("ICWS_") or name.lower().endswith("_proxy"))
    limits = {name: resource.getrlimit(number) for name in _LIMITS if (number := getattr(resource, name, None))}
    return {
        "variables": names,
        "limits": limits,
        "processors": os.cpu_count(),
        "user": os.geteuid(),
        "files": {name: text for name in _FILES if (text := _start_of(Path(name)))},
    }


def _start_of(file: Path) -> str:
    try:
        with file.open(errors="replace") as stream:
            return stream.read(4096)
    except OSError:
        return ""


def _config(file: Path) -> dict[str, Any]:
    """The configuration as a start would read it now, which need not be the one that runs."""
    try:
        loaded = load(file if file.exists() else None, environment=os.environ)
    except (GatewayError, OSError) as error:
        return {"file": str(file), "problem": str(error)}
    warnings = [str(each) for each in loaded.warnings]
    return {
        "file": str(file),
        "exists": file.exists(),
        "values": written(loaded.config),
        "origins": dict(loaded.origins),
        "warnings": warnings,
    }


def _unit() -> str:
    """What systemd knows of the unit, and its exposure."""
    show = ["systemctl", "show", "--no-pager", UNIT]
    return "\n".join(_output(each) for each in (show, ["systemd-analyze", "--no-pager", "security", UNIT]))


def _output(command: list[str]) -> str:
    program = shutil.which(command[0])
    if program is None:
        return f"{command[0]} is not installed\n"
    try:
        done = subprocess.run(  # noqa: S603 - the names above
            [program, *command[1:]],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{' '.join(command)}: {error}\n"
    lines = (line for line in done.stdout.splitlines() if not line.startswith("Environment="))
    return "\n".join([f"$ {' '.join(command)}", *lines, done.stderr])
