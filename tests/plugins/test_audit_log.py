"""The plugin as an operator gets it: from its file, through a gateway with real sockets."""

import json
import os
import stat
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from appliance.config.schema import Config
from appliance.config.schema import Plugin as Entry
from appliance.errors import ConfigError
from appliance.gateway.hooks import Ending, Happening, Who
from appliance.plugins.load import load
from appliance.plugins.plugins import Plugins
from tests.gateway.clients import CANISTER
from tests.gateway.served import served

FILE = Path(__file__).resolve().parents[2] / "plugins" / "audit_log.py"
WHO = Who("0badc0de", "192.0.2.1", "/v2", "v2", str(CANISTER), "2vxsx-fae")
ENDING = Ending(4500, "malformed\nmessage", "malformed", 1.5, 3)
NOON_NS = 1_767_268_800_250_000_000


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@asynccontextmanager
async def loaded(file: Path, **config: object):
    plugin = await load(Entry(path=FILE, timeout=10.0, config={"file": str(file), **config}))
    try:
        yield plugin
    finally:
        await plugin.stop()


async def told(plugin, *kinds: str) -> None:
    for kind in kinds:
        plugin.guards["event"].notify(event=Happening(kind, NOON_NS, {"number": 1}))
    await plugin._worker.run(lambda: None, 10.0)


async def test_a_session_through_a_gateway(tmp_path):
    file = tmp_path / "audit.jsonl"
    async with served() as it:
        entry = {"path": FILE, "timeout": 10.0, "config": {"file": str(file), "messages": True}}
        plugins = Plugins(it.gateway.hooks)
        (await plugins.prepare(Config.model_validate({"plugins": [entry]}))).commit()
        it.gateway.event_bus.subscribe(plugins.publish)
        async with it.session() as (client, socket):
            await socket.send(client.message(b"a secret"))
        await it.nobody()
        await plugins.stop()
    opened, message, closed = lines(file)
    assert [line["kind"] for line in (opened, message, closed)] == ["session.opened", "message", "connection.closed"]
    for line in (opened, message, closed):
        assert line["canister"] == str(CANISTER)
        assert str(line["client"]).startswith(str(client.principal))
        assert datetime.fromisoformat(str(line["at"])).utcoffset() is not None
    assert (message["method"], closed["code"], closed["cause"], closed["delivered"]) == (
        "ws_message",
        1000,
        "client",
        1,
    )
    assert "secret" not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_nothing_is_made_before_the_first_line_and_relative_paths_count_from_the_folder_of_the_configuration(
    tmp_path,
):
    plugin = await load(Entry(path=FILE, timeout=10.0, config={"file": "data/audit.jsonl"}), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    await told(plugin, "a")
    await plugin.stop()
    assert [line["kind"] for line in lines(tmp_path / "data" / "audit.jsonl")] == ["a"]


async def test_a_line_is_one_line_and_its_own_keys_count(tmp_path):
    file = tmp_path / "audit.jsonl"
    async with loaded(file) as plugin:
        plugin.guards["close"].notify(who=WHO, ending=ENDING)
        plugin.guards["event"].notify(event=Happening("reload", NOON_NS, {"kind": "x", "at": 1, "path": FILE}))
    closed, reload = lines(file)
    assert closed["cause"] == ENDING.cause
    assert reload == {"at": "2026-01-01T12:00:00.250+00:00", "kind": "reload", "path": str(FILE)}


async def test_only_the_kinds_that_are_wanted_are_written(tmp_path):
    file = tmp_path / "audit.jsonl"
    async with loaded(file, kinds=["session.*", "reload"]) as plugin:
        await told(plugin, "session.opened", "reload", "canister.state", "session.closed")
        plugin.guards["close"].notify(who=WHO, ending=ENDING)
    assert [line["kind"] for line in lines(file)] == ["session.opened", "reload"]


async def test_messages_are_decided_on_only_if_they_are_wanted(tmp_path):
    async with loaded(tmp_path / "audit.jsonl") as plugin:
        assert set(plugin.guards) == {"event", "close"}
    async with loaded(tmp_path / "audit.jsonl", messages=True) as plugin:
        assert set(plugin.guards) == {"event", "close", "client_message"}


@pytest.mark.parametrize("how", ["moved", "removed"])
async def test_a_file_that_was_rotated_is_made_anew(tmp_path, how):
    file, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    async with loaded(file) as plugin:
        await told(plugin, "a")
        if how == "moved":
            file.rename(old)
        else:
            file.unlink()
        await told(plugin, "b", "c")
    assert [line["kind"] for line in lines(file)] == ["b", "c"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert how == "removed" or [line["kind"] for line in lines(old)] == ["a"]


async def test_what_was_there_stays(tmp_path):
    file = tmp_path / "audit.jsonl"
    for kind in ("a", "b"):
        async with loaded(file) as plugin:
            await told(plugin, kind)
    assert [line["kind"] for line in lines(file)] == ["a", "b"]


async def test_a_folder_that_goes_is_a_failure_and_one_that_comes_back_is_used(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    file = folder / "audit.jsonl"
    async with loaded(file) as plugin:
        await told(plugin, "first")
        file.unlink()
        folder.rmdir()
        with capture_logs():
            await told(plugin, "lost")
        assert plugin.guards["event"].tally.failures == 1
        folder.mkdir()
        await told(plugin, "found")
    assert [line["kind"] for line in lines(file)] == ["found"]


async def test_a_line_that_was_cut_short_spoils_no_other(tmp_path, monkeypatch):
    file = tmp_path / "audit.jsonl"
    whole = os.write
    async with loaded(file) as plugin:
        with capture_logs():
            monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:9]))
            await told(plugin, "a")
        monkeypatch.setattr(os, "write", whole)
        await told(plugin, "b")
        assert "is the disk full?" in str(plugin.guards["event"].tally.last_error)
    torn, intact = file.read_text().splitlines()
    assert len(torn) == 9
    assert json.loads(intact)["kind"] == "b"


@pytest.mark.parametrize(
    ("config", "key", "says"),
    [
        ({}, "plugins[audit_log].config.file", "is missing"),
        ({"file": f"{FILE}/audit.jsonl"}, "plugins[audit_log]", "NotADirectoryError"),
        ({"file": str(FILE.parent)}, "plugins[audit_log]", "IsADirectoryError"),
        ({"file": "/dev/null", "mesages": True}, "plugins[audit_log].config.mesages", "did you mean 'messages'?"),
    ],
)
async def test_a_configuration_that_cannot_be_used_is_named(config, key, says):
    with pytest.raises(ConfigError) as caught:
        await load(Entry(path=FILE, config=config))
    [problem] = caught.value.problems
    assert problem.key == key
    assert says in problem.problem
