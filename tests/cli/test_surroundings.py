"""Commands started in odd surroundings: each ends as elsewhere, or with a sentence, and never in a traceback."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.localnet.net import Localnet
from tests.cli.processes import TOP, WORDS, seen
from tests.cli.surroundings import SURROUNDINGS
from tests.control.plane import Plane, running
from tests.test_process import write

UNLIKE = {
    "stdout of a reader that left",
    "stdout to a full disk",
    "stderr of a reader that left",
    "a folder that is gone",
    "a folder that cannot be written",
    "a user without a name",
    "12 open files",
}
"""In which a command may end in another way than in none, with a sentence about it."""


def commands(plane: Plane, folder: Path) -> list[list[str]]:
    """One of each kind: without a gateway, by its API, with a file, with a client's socket, to the end of its input."""
    at = ["--socket", plane.control.url.removeprefix("unix:")]
    good, bad = folder / "gateway.yaml", folder / "bad.yaml"
    good.write_text(plane.file.read_text().replace("tokens: tokens", "tokens: null"))
    bad.write_text("version: 1\nnmae: x\n")
    client = [f"{plane.control.listener.url}/v2", str(plane.canister_id), "--network", plane.localnet.url]
    return [
        *(
            ["--help"],
            ["--version"],
            ["nonsense"],
            ["drain", "shop"],
            ["completion", "bash"],
            ["tokens", "new", "viewer"],
        ),
        *(
            ["status", *at],
            ["sessions", *at],
            ["metrics", *at],
            ["close", "--client", "x", *at],
            ["rollback", "99", *at],
        ),
        *(["config", "default"], ["check", str(good)], ["check", str(bad)], ["run", "-c", str(bad)]),
        *(["doctor", "--offline"], ["identity", "show", "none.pem"], ["connect", *client, "--wait", "0"]),
    ]


async def test_no_surroundings_end_a_command_in_a_traceback(tmp_path: Path) -> None:
    async with running() as plane:
        asked = commands(plane, tmp_path)
        cases = [[surroundings, arguments] for surroundings in SURROUNDINGS for arguments in asked]
        (tmp_path / "cases").write_text(json.dumps(cases))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.cli.surroundings", str(tmp_path / "cases")),
            cwd=TOP,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    found = {(name, *arguments): result for (name, arguments), result in zip(cases, json.loads(output), strict=True)}
    assert _faults(found) == []


def _faults(found: dict[tuple[str, ...], list[Any]]) -> list[Any]:
    faults: list[Any] = []
    for (name, *arguments), (code, _, errors) in found.items():
        usual = found["none", *arguments][0]
        if "Traceback" in errors or "Exception ignored" in errors or code not in (0, 1, 2, 78):
            faults.append((name, arguments, code, errors))
        elif code != usual and not (name in UNLIKE and (code in (1, 78) or usual)):
            faults.append((name, arguments, f"{code} instead of {usual}", errors))
        elif code != usual and not errors and "reader that left" not in name:
            faults.append((name, arguments, code, "no word about it"))
    return faults


@pytest.mark.parametrize("closed", ["0<&- 1>&- 2>&-", "2>&-"])
async def test_no_client_is_where_a_closed_stream_was(tmp_path: Path, closed: str) -> None:
    """A gateway that was started without streams has the null device there, and no socket."""
    async with Localnet() as net:
        file = write(tmp_path, net.url, "control: {listen: 'unix:c.sock'}\nlog: {level: debug}\n")
        command = f"exec {sys.executable} -m appliance.cli run --config {file} {closed}"
        process = await asyncio.create_subprocess_exec("/bin/sh", "-c", command, cwd=TOP)
        try:
            while not (tmp_path / "c.sock").exists():
                assert process.returncode is None
                await asyncio.sleep(0.05)
            numbers = [0, 1, 2] if "0<" in closed else [2]
            targets = {number: os.readlink(f"/proc/{process.pid}/fd/{number}") for number in numbers}
            assert targets == dict.fromkeys(numbers, "/dev/null")
        finally:
            process.terminate()
            await process.wait()
        assert process.returncode == 0


async def test_a_gateway_serves_on_when_nobody_reads_its_log_any_more(tmp_path: Path) -> None:
    async with Localnet() as net:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "appliance.cli", "run", "--config", str(write(tmp_path, net.url))),
            cwd=TOP,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            lines = await seen(process.stderr, WORDS)
            transport = process._transport.get_pipe_transport(2)  # type: ignore[attr-defined]
            transport.close()
            address = re.search(r"url=ws://(\S+):(\d+)", lines)
            assert address is not None
            for _ in range(3):  # each is refused with a line of the log
                reader, writer = await asyncio.open_connection(address[1], int(address[2]))
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 4")
                writer.close()
            assert process.returncode is None
        finally:
            process.terminate()
            await process.wait()
        assert process.returncode == 0
