import re

from tests.cli.conftest import Icws


async def test_a_session_is_told_in_sentences_also_after_it_closed(icws: Icws):
    async with icws.plane.connect() as session:
        await session.receive()
        (peer,) = icws.plane.gateway.connections
        lines = await icws.lines("explain", peer.id)
        assert lines[0] == f"session   {peer.id}, still there"
        assert f"client    {peer.who.client}" in lines
        assert f"canister  {icws.plane.canister_id}" in lines
        moments = lines[5:]
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} {12}A socket was accepted\.", moments[0])
        assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3}  ( *\+\S+)  \w", line) for line in moments[1:])
        await icws("close", peer.id, "--yes", "--reason", "for now")
    closed = await icws.lines("explain", peer.id)
    assert closed[0] == f"session   {peer.id}, closed"
    assert any("for now" in line for line in closed)


async def test_the_facts_behind_sentences(icws: Icws):
    async with icws.plane.connect() as session:
        await session.receive()
        (peer,) = icws.plane.gateway.connections
        text = (await icws("explain", peer.id, "--facts")).stdout
        assert re.search(r"relayed \{.*method: ws_open.*\}", text)
        story = await icws.json("explain", peer.id)
        assert {"at", "kind", "facts", "sentence"} == set(story["moments"][0])


async def test_lines_keep_to_the_width(icws: Icws):
    icws.environment["COLUMNS"] = "60"
    async with icws.plane.connect() as session:
        await session.receive()
        (peer,) = icws.plane.gateway.connections
        lines = await icws.lines("explain", peer.id, "--facts")
        long = [line for line in lines if len(line) > 60]
        assert all(len(max(line.split(), key=len)) > 30 for line in long), "only what cannot be folded"


async def test_a_session_that_nobody_knows(icws: Icws):
    assert "none" in (await icws("explain", "none", code=1)).stderr
    await icws("explain", code=2)
