import sys

import click
import pytest

from appliance.cli.develop.several_nodes import programs
from appliance.cli.develop.several_nodes.programs import Program, engine_program, find_program

IGNORES_SIGTERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\n"


def test_a_missing_engine_is_said_with_the_packages_that_have_it(monkeypatch):
    monkeypatch.setattr(programs, "find_program", lambda *names: None)
    with pytest.raises(click.ClickException, match="apt install redis-server"):
        engine_program()


def test_a_missing_client_of_the_engine_is_said(monkeypatch):
    monkeypatch.setattr(programs, "missing_extra", lambda: "a cluster needs the extra `cluster`")
    with pytest.raises(click.ClickException, match="the extra `cluster`"):
        engine_program()


def test_the_first_program_that_is_there_is_found(monkeypatch, tmp_path):
    (tmp_path / "valkey-server").write_text("#!/bin/sh\n")
    (tmp_path / "valkey-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_program("no-such-program", "valkey-server") == str(tmp_path / "valkey-server")
    assert find_program("no-such-program") is None


async def test_a_program_is_started_again_after_it_was_killed(tmp_path):
    program = Program("it", [sys.executable, "-c", "print('hello'); input()"], tmp_path / "log")
    program.kill()  # nothing to end yet
    await program.stop()
    for _ in range(2):
        program.start()
        program.kill()
        assert not program.is_running


async def test_a_program_that_does_not_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "_PATIENCE_S", 0.01)
    program = Program("it", [sys.executable, "-c", f"{IGNORES_SIGTERM}time.sleep(600)"], tmp_path / "log")
    program.start()
    while "up" not in program.last_lines:
        assert program.is_running, program.last_lines
    await program.stop()
    assert not program.is_running
