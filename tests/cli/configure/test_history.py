from tests.cli.conftest import Icws


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
    assert "# generation  1\n# state       good\n" in head
    assert f"version: 1\n{body}" == first
    assert "# generation  2, which runs" in (await icws("history", 2)).stdout
    assert "99" in (await icws("history", 99, code=1)).stderr


async def test_two_are_told_apart_by_keys_and_by_lines(icws: Icws):
    await changed(icws)
    lines = await icws.lines("history", 2, "--diff", 1)
    assert lines[:3] == ["from generation 1 to 2:", "~ polling.min_interval  at once", "    5ms → 9ms"]
    assert "-polling: {min_interval: 5ms, max_interval: 20ms}" in lines
    assert "+polling: {min_interval: 9ms, max_interval: 20ms}" in lines
    assert (await icws.lines("history", 1, "--diff"))[:3] == [
        "from generation 2 to 1:",
        "~ polling.min_interval  at once",
        "    9ms → 5ms",
    ]
    assert await icws.lines("history", 1, "--diff", 1) == ["from generation 1 to 1:", "nothing changes"]
    assert (await icws.json("history", 2, "--diff", 1))["changes"][0]["new"] == "9ms"


async def test_a_difference_needs_two(icws: Icws):
    await icws("history", "--diff", 1, code=2)
