"""Reload, confirm, roll back."""

from pathlib import Path

import pytest

from tests.cli.conftest import Icws

CHANGED = ["~ polling.min_interval  at once", "    5ms → 9ms", "1 change: 1 live"]


def edit(icws: Icws, old: str = "min_interval: 5ms", new: str = "min_interval: 9ms") -> None:
    icws.plane.file.write_text(icws.plane.file.read_text().replace(old, new))


async def test_a_reload_runs_the_file_and_drops_no_session(icws: Icws):
    async with icws.plane.connect() as session:
        await session.receive()
        edit(icws)
        assert await icws.lines("reload") == [
            "~ polling.min_interval  at once, touches 1 session",
            *CHANGED[1:],
            "applied: generation 2 runs",
        ]
        await session.send({"text": "hello", "timestamp": 0})
        assert (await session.receive()).value["text"] == "hello ping"
    assert icws.plane.gateway.config.polling.min_interval == 0.009


async def test_a_file_that_is_as_it_was_changes_nothing(icws: Icws):
    assert await icws.lines("reload") == ["nothing changes, generation 1 runs on"]
    assert (await icws.json("reload"))["result"] == "unchanged"


async def test_a_bad_file_is_78_with_every_fault_and_changes_nothing(icws: Icws):
    file = icws.plane.file
    file.write_text("gateway: {listn: 5}\npolling: {min_interval: 3}\ncontrol: {listen: unix:control.sock}\n")
    result = await icws("reload", code=78)
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()] == [f"{file}:1:11", f"{file}:2:25"]
    assert icws.plane.reloads.revision == 1
    file.write_text("")
    socket = icws.plane.control.url.removeprefix("unix:")  # which an empty file does not say
    assert "the file is empty" in (await icws("reload", "--socket", socket, code=78)).stderr


async def test_what_needs_a_restart_is_refused_unless_it_may_wait(icws: Icws):
    edit(icws)
    edit(icws, "watch: false", "watch: true")
    refused = await icws("reload", code=1)
    assert refused.stderr.splitlines()[-1].startswith("--allow-restart applies the others")
    assert f"{icws.plane.file}:5:8: watch: " in refused.stderr
    assert icws.plane.reloads.revision == 1
    lines = await icws.lines("reload", "--allow-restart")
    assert lines[-1] == "waits for a restart: watch"
    assert icws.plane.gateway.config.polling.min_interval == 0.009


async def test_the_last_canister_with_sessions_goes_by_force_only(icws: Icws):
    async with icws.plane.connect():
        text = icws.plane.file.read_text()
        begin, end = text.index("canisters:"), text.index("control:")
        icws.plane.file.write_text(text[:begin] + "canisters: []\n" + text[end:])
        assert "--force does it nevertheless" in (await icws("reload", code=1)).stderr
        assert len(icws.plane.gateway.config.canisters) == 1
        assert "touches 1 session" in (await icws("reload", "--force")).stdout
    assert icws.plane.gateway.config.canisters == []


async def test_a_text_is_run_and_only_saved_if_that_is_said(icws: Icws, tmp_path: Path):
    other = tmp_path / "other.yaml"
    other.write_text(icws.plane.file.read_text().replace("5ms", "9ms"))
    lines = await icws.lines("reload", other)
    assert lines[:3] == CHANGED
    assert lines[-1].startswith("the file says something else than what runs")
    assert "5ms" in icws.plane.file.read_text()
    assert "--force" in (await icws("reload", other, "--save", code=1)).stderr, (
        "the file has changed, as seen from there"
    )
    await icws("reload", other, "--save", "--force")
    assert icws.plane.file.read_text() == other.read_text()


async def test_an_update_is_not_lost_to_another(icws: Icws):
    etag = icws.plane.reloads.etag
    edit(icws)
    await icws("reload", "--if-match", etag)
    edit(icws, "9ms", "11ms")
    lost = await icws("reload", "--if-match", etag, code=1)
    assert lost.stderr.splitlines()[-1] == "look at `icws plan` again"
    assert icws.plane.gateway.config.polling.min_interval == 0.009


async def test_a_trial_is_kept_by_a_confirmation(icws: Icws):
    edit(icws)
    lines = await icws.lines("reload", "--confirm-within", "1h")
    assert lines[:4] == [*CHANGED, "applied: generation 2 runs"]
    assert lines[4].startswith("`icws confirm` keeps it; otherwise it is rolled back in ")
    assert any(line.strip().startswith("rolled back in ") for line in await icws.lines("status"))
    assert await icws.lines("confirm") == ["confirmed: generation 2 runs"]
    assert icws.plane.reloads.trial is None
    assert "no configuration waits to be confirmed" in (await icws("confirm", code=1)).stderr


async def test_a_trial_of_a_text_is_saved_when_it_is_confirmed(icws: Icws, tmp_path: Path):
    other = tmp_path / "other.yaml"
    other.write_text(icws.plane.file.read_text().replace("5ms", "9ms"))
    await icws("reload", other, "--confirm-within", "1h", "--keep-if-healthy")
    await icws("confirm", "--save")
    assert icws.plane.file.read_text() == other.read_text()


async def test_what_was_applied_can_be_taken_back(icws: Icws):
    edit(icws)
    await icws("reload")
    lines = await icws.lines("rollback")
    assert lines[1] == "    9ms → 5ms"
    assert lines[3] == "rolled back: generation 3 runs"
    assert lines[4].startswith("the file says something else")
    assert icws.plane.gateway.config.polling.min_interval == 0.005
    await icws("rollback", 2)
    assert icws.plane.gateway.config.polling.min_interval == 0.009
    assert "99" in (await icws("rollback", 99, code=1)).stderr


@pytest.mark.parametrize("arguments", [["--save"], ["--keep-if-healthy"], ["--confirm-within", "5"], ["a", "b"]])
async def test_wrong_usage_is_2(icws: Icws, arguments: list[str]):
    await icws("reload", *arguments, code=2)
    assert icws.plane.reloads.revision == 1
