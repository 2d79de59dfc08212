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
    assert await icws.lines("plan") == ["nothing changes"]
    assert await icws.json("plan") == {"changes": [], "refused": None}


async def test_what_the_file_would_change_with_the_sessions_it_touches(icws: Icws):
    async with icws.plane.connect():
        icws.plane.file.write_text(edited(icws, "min_interval: 5ms", "min_interval: 9ms"))
        assert await icws.lines("plan") == [
            "~ polling.min_interval  at once, touches 1 session",
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
