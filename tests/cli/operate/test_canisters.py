import pytest

from tests.cli.conftest import Icws
from tests.control.plane import OTHER


async def test_who_is_served(icws: Icws):
    canister = str(icws.plane.canister_id)
    (row,) = await icws.rows("canisters")
    assert row[:5] == [canister, "chat", "idle", "v2", "0"]
    async with icws.plane.connect() as session:
        await session.receive()
        (row,) = await icws.rows("canisters")
        assert row[:5] == [canister, "chat", "ok", "v2", "1"]
        text = (await icws("canisters", "show", "chat")).stdout
        assert f"canister    {canister}\nname        chat\nlisted      yes\nstate       ok\n" in text
        assert "polling     ok\n" in text
        assert (await icws("canisters", "show", canister)).stdout.splitlines()[:6] == text.splitlines()[:6]
    assert (await icws.json("canisters"))["items"][0]["id"] == canister
    assert "rrkah" in (await icws("canisters", "show", OTHER, code=1)).stderr


async def test_a_pause_is_an_apply_that_leaves_the_file(icws: Icws):
    before = icws.plane.file.read_text()
    lines = await icws.lines("canisters", "pause", "chat")
    assert lines[0] == f"canister {icws.plane.canister_id}"
    assert lines[2] == "    false → true"
    assert lines[4] == "applied: revision 2 is active"
    assert lines[5].startswith("the file differs")
    assert icws.plane.file.read_text() == before
    assert (await icws.rows("canisters"))[0][2] == "paused"
    await icws("canisters", "resume", "chat")
    assert (await icws.rows("canisters"))[0][2] == "idle"
    assert [row[0] for row in await icws.rows("history")] == ["*3", "2", "1"]


async def test_a_change_that_is_to_last_is_written_beside_the_comments(icws: Icws):
    await icws("canisters", "add", OTHER, "--name", "other", "--max-clients", 3, "--paused", "--save")
    text = icws.plane.file.read_text()
    assert "# the first\n" in text
    assert OTHER in text
    assert [row[1:3] for row in await icws.rows("canisters")] == [["chat", "idle"], ["other", "paused"]]
    listed = icws.plane.gateway.config.named("other")
    assert listed is not None
    assert (listed.max_clients, listed.generation) == (3, ["v2"])
    await icws("canisters", "remove", "other", "--save")
    assert OTHER not in icws.plane.file.read_text()
    assert await icws.lines("reload") == ["no changes, revision 3 stays active"]


async def test_a_canister_of_two_generations(icws: Icws):
    await icws("canisters", "add", OTHER, "--generation", "v2", "--generation", "v1")
    assert (await icws.rows("canisters"))[1][3] == "v1,v2"
    refused = await icws("canisters", "add", OTHER, code=1)
    assert "is listed already" in refused.stderr


async def test_the_last_one_with_sessions_goes_by_force(icws: Icws):
    async with icws.plane.connect():
        assert "--force" in (await icws("canisters", "remove", "chat", code=1)).stderr
        await icws("canisters", "remove", "chat", "--force")
    assert icws.plane.gateway.config.canisters == []
    assert "no canister is listed" in (await icws("canisters")).stdout or await icws.rows("canisters")


@pytest.mark.parametrize(
    "arguments", [["add"], ["add", "NOT-ONE"], ["add", OTHER, "--generation", "v9"], ["odd"], ["pause"]]
)
async def test_wrong_usage_is_2(icws: Icws, arguments: list[str]):
    await icws("canisters", *arguments, code=2)
    assert icws.plane.reloads.revision == 1
