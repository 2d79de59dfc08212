from tests.cli.conftest import Icws


async def test_who_has_tried_to_change_what(icws: Icws):
    assert await icws.lines("audit") == ["nobody has tried to change anything"]
    await icws("canisters", "pause", "chat")
    await icws("confirm", code=1)
    rows = await icws.rows("audit")
    assert [row[5] for row in rows] == ["confirmConfig", "pauseCanister"]
    assert rows[0][-2:] == ["409", "conflict"]
    assert rows[1][-2:] == [str(icws.plane.canister_id), "200"]
    assert len(await icws.rows("audit", "--limit", 1)) == 1
    newest = (await icws.json("audit"))["items"][1]
    assert newest["before"]["generation"] == 1
