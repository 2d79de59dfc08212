from pathlib import Path

import pytest

from tests.cli.conftest import Icws


def edited(icws: Icws, old: str, new: str) -> str:
    return icws.plane.file.read_text().replace(old, new)


class Other:
    """A file beside the gateway's own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def write(self, content: str | bytes) -> None:
        self.path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def read(self) -> str:
        return self.path.read_text()


@pytest.fixture
def other(tmp_path: Path) -> Other:
    return Other(tmp_path / "other.yaml")


async def test_nothing_changes_as_long_as_nobody_edits(icws: Icws):
    assert await icws.lines("plan") == ["no changes"]
    assert await icws.json("plan") == {"changes": [], "refused": None}


async def test_what_the_file_would_change_with_the_sessions_it_touches(icws: Icws):
    async with icws.plane.connect():
        icws.plane.file.write_text(edited(icws, "min_interval: 5ms", "min_interval: 9ms"))
        assert await icws.lines("plan") == [
            "~ polling.min_interval  at once, affects 1 session",
            "    5ms → 9ms",
            "1 change: 1 live",
        ]
    assert icws.plane.reloads.revision == 1, "it only looks"


async def test_a_text_beside_the_file_and_one_from_standard_input(icws: Icws, other: Other):
    other.write(edited(icws, "name: chat", "name: talk"))
    lines = await icws.lines("plan", other)
    assert lines[0].startswith("~ canisters[")
    assert lines[1] == "    chat → talk"
    assert (await icws("plan", "-", input=other.read())).stdout.splitlines() == lines


async def test_a_change_that_needs_a_restart_is_shown_and_refused(icws: Icws, other: Other):
    other.write(edited(icws, "watch: false", "watch: true"))
    result = await icws("plan", other, code=1)
    assert result.stdout.splitlines() == ["~ watch  at the next start", "    false → true", "1 change: 1 restart"]
    assert result.stderr.startswith(f"{other}:5:8: watch: this change needs a restart")
    assert "--allow-restart" in result.stderr
    assert (await icws.json("plan", other, code=1))["refused"]["type"] == "urn:icws:problem:restart-needed"


async def test_a_bad_text_is_78_with_every_fault_by_the_name_of_its_file(icws: Icws, other: Other):
    other.write("gateway: {listn: 5}\npolling: {min_interval: 3}\n")
    result = await icws("plan", other, code=78)
    first, second = result.stderr.splitlines()
    assert first == f"{other}:1:11: gateway.listn: unknown key; did you mean 'listen'?"
    assert second.startswith(f"{other}:2:25: polling.min_interval: 3 is not a duration")
    assert result.stdout == ""
    details = await icws.json("plan", other, code=78)
    assert [(fault["place"], fault["key"]) for fault in details["errors"]] == [
        (f"{other}:1:11", "gateway.listn"),
        (f"{other}:2:25", "polling.min_interval"),
    ]
    assert (await icws("plan", "-", code=78, input="][")).stderr.startswith("standard input:1:1: ")


async def test_a_text_that_is_none_is_not_sent(icws: Icws, other: Other):
    assert "No such file" in (await icws("plan", other, code=78)).stderr
    other.write(b"\xff\xfe")
    assert (await icws("plan", other, code=78)).stderr == f"{other}:1:1: this is not UTF-8 text\n"


CHANGED = ["~ polling.min_interval  at once", "    5ms → 9ms", "1 change: 1 live"]


def edit(icws: Icws, old: str = "min_interval: 5ms", new: str = "min_interval: 9ms") -> None:
    icws.plane.file.write_text(icws.plane.file.read_text().replace(old, new))


async def test_a_reload_runs_the_file_and_drops_no_session(icws: Icws):
    async with icws.plane.connect() as session:
        await session.receive()
        edit(icws)
        assert await icws.lines("reload") == [
            "~ polling.min_interval  at once, affects 1 session",
            *CHANGED[1:],
            "applied: revision 2 is active",
        ]
        await session.send({"text": "hello", "timestamp": 0})
        assert (await session.receive()).value["text"] == "hello ping"
    assert icws.plane.gateway.config.polling.min_interval == 0.009


async def test_a_file_that_is_as_it_was_changes_nothing(icws: Icws):
    assert await icws.lines("reload") == ["no changes, revision 1 stays active"]
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
    assert refused.stderr.splitlines()[-1].startswith("--allow-restart applies the other changes")
    assert f"{icws.plane.file}:5:8: watch: " in refused.stderr
    assert icws.plane.reloads.revision == 1
    lines = await icws.lines("reload", "--allow-restart")
    assert lines[-1] == "pending until restart: watch"
    assert icws.plane.gateway.config.polling.min_interval == 0.009


async def test_the_last_canister_with_sessions_goes_by_force_only(icws: Icws):
    async with icws.plane.connect():
        text = icws.plane.file.read_text()
        begin, end = text.index("canisters:"), text.index("control:")
        icws.plane.file.write_text(text[:begin] + "canisters: []\n" + text[end:])
        assert "--force does it anyway" in (await icws("reload", code=1)).stderr
        assert len(icws.plane.gateway.config.canisters) == 1
        assert "affects 1 session" in (await icws("reload", "--force")).stdout
    assert icws.plane.gateway.config.canisters == []


async def test_a_text_is_run_and_only_saved_if_that_is_said(icws: Icws, tmp_path: Path):
    other = tmp_path / "other.yaml"
    other.write_text(icws.plane.file.read_text().replace("5ms", "9ms"))
    lines = await icws.lines("reload", other)
    assert lines[:3] == CHANGED
    assert lines[-1].startswith("the file differs from the active configuration")
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
    assert lost.stderr.splitlines()[-1] == "run `icws plan` again"
    assert icws.plane.gateway.config.polling.min_interval == 0.009


async def test_a_trial_is_kept_by_a_confirmation(icws: Icws):
    edit(icws)
    lines = await icws.lines("reload", "--confirm-within", "1h")
    assert lines[:4] == [*CHANGED, "applied: revision 2 is active"]
    assert lines[4].startswith("`icws confirm` keeps it; otherwise it is rolled back in ")
    assert any(line.strip().startswith("rolled back in ") for line in await icws.lines("status"))
    assert await icws.lines("confirm") == ["confirmed: revision 2 is active"]
    assert icws.plane.reloads.trial is None
    assert "no configuration is waiting for confirmation" in (await icws("confirm", code=1)).stderr


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
    assert lines[3] == "rolled back: revision 3 is active"
    assert lines[4].startswith("the file differs")
    assert icws.plane.gateway.config.polling.min_interval == 0.005
    await icws("rollback", 2)
    assert icws.plane.gateway.config.polling.min_interval == 0.009
    assert "99" in (await icws("rollback", 99, code=1)).stderr


@pytest.mark.parametrize("arguments", [["--save"], ["--keep-if-healthy"], ["--confirm-within", "5"], ["a", "b"]])
async def test_wrong_usage_is_2(icws: Icws, arguments: list[str]):
    await icws("reload", *arguments, code=2)
    assert icws.plane.reloads.revision == 1


async def changed(icws: Icws) -> None:
    """A second generation."""
    icws.plane.file.write_text(icws.plane.file.read_text().replace("min_interval: 5ms", "min_interval: 9ms"))
    await icws("reload")


async def test_what_ran_is_listed_with_a_mark_at_what_runs(icws: Icws):
    await changed(icws)
    rows = await icws.rows("history")
    assert [row[:2] for row in rows] == [["*2", "good"], ["1", "good"]]
    assert rows[0][4] == "api"
    assert rows[0][5].startswith("unix:")
    assert [each["generation"] for each in (await icws.json("history"))["items"]] == [2, 1]


async def test_one_is_shown_with_its_text(icws: Icws):
    first = icws.plane.file.read_text()
    await changed(icws)
    text = (await icws("history", 1)).stdout
    head, body = text.split("version: 1\n")
    assert "# revision  1\n# state     good\n" in head
    assert f"version: 1\n{body}" == first
    assert "# revision  2 (active)" in (await icws("history", 2)).stdout
    assert "99" in (await icws("history", 99, code=1)).stderr


async def test_two_are_told_apart_by_keys_and_by_lines(icws: Icws):
    await changed(icws)
    lines = await icws.lines("history", 2, "--diff", 1)
    assert lines[:3] == ["from revision 1 to 2:", "~ polling.min_interval  at once", "    5ms → 9ms"]
    assert "-polling: {min_interval: 5ms, max_interval: 20ms}" in lines
    assert "+polling: {min_interval: 9ms, max_interval: 20ms}" in lines
    assert (await icws.lines("history", 1, "--diff"))[:3] == [
        "from revision 2 to 1:",
        "~ polling.min_interval  at once",
        "    9ms → 5ms",
    ]
    assert await icws.lines("history", 1, "--diff", 1) == ["from revision 1 to 1:", "no changes"]
    assert (await icws.json("history", 2, "--diff", 1))["changes"][0]["new"] == "9ms"


async def test_a_difference_needs_two(icws: Icws):
    await icws("history", "--diff", 1, code=2)
