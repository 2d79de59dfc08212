import asyncio
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.operate.events import _event_lines
from appliance.control.models import Event
from tests.cli.conftest import Icws
from tests.cli.output.styles import unstyled
from tests.gateway.bench import until

AT = "2026-03-04T05:06:07.089Z"
WHO = {
    "session": "9f86d081",
    "address": "127.0.0.1",
    "client": "os2we-" * 10,
    "canister": "bkyz2-fmaaa-aaaaa-qaaaq-cai",
}
RELOAD = {"result": "applied", "trigger": "api", "actor": "unix:root", "generation": 2, "changes": 1}


def sentence(kind: str, **data: object) -> str:
    event = Event.model_validate({"id": 1, "at": AT, "kind": kind, "data": data})
    (line,) = _event_lines(event, None, with_facts=False)
    return unstyled(line).removeprefix(f"05:06:07.089  {kind:<18}  ")


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (
            "session.opened",
            WHO,
            "9f86d081 of os2we-os2we-o…os2we- with bkyz2-fmaaa-aaaaa-qaaaq-cai, from 127.0.0.1",
        ),
        (
            "session.closed",
            {"session": "9f86d081", "address": "unix", "client": None, "code": 1012, "cause": "it restarts"},
            "1012 (it restarts): 9f86d081, from unix",
        ),
        ("reload", RELOAD, "applied, revision 2, 1 change, by unix:root (api)"),
        (
            "reload",
            {**RELOAD, "result": "rejected", "problem": "no"},
            "rejected, revision 2, 1 change, by unix:root (api): no",
        ),
        ("drain", {"state": "closing", "closed": 1, "total": 3, "eta_s": 2.0}, "closing: 1 closed of 3, 2s left"),
        ("canister.state", {"canister": "a", "state": "degraded", "cause": "x"}, "a is degraded: x"),
        ("canister.state", {"canister": "a", "canister_name": "chat", "state": "ok"}, "chat (a) is ok"),
        (
            "connection.refused",
            {
                "address": "192.0.2.1",
                "origin": "https://a",
                "path": "/x",
                "status": 403,
                "cause": "no",
                "not_logged": 2,
            },
            "192.0.2.1 by a page of https://a at /x, HTTP 403: no; 2 refusals before it were only counted",
        ),
        ("connection.refused", {"address": "unix", "code": 4500, "cause": "no"}, "unix, close code 4500: no"),
        ("connection.refused", {"address": "unix", "cause": "no"}, "unix, no answer: no"),
        (
            "audit",
            {"actor": "unix:a", "role": "admin", "action": "setLog", "target": None, "status": 200},
            "unix:a (admin): setLog, answered 200",
        ),
        ("lost", {"events": 3}, "dropped before they could be read: 3 events"),
        ("limit", {"scope": "a", "n": 1}, "{scope: a, n: 1}"),
    ],
)
def test_what_is_worth_a_line(kind: str, data: dict[str, object], expected: str):
    assert sentence(kind, **data) == expected


@given(
    kind=st.sampled_from(["session.opened", "session.closed", "reload", "drain", "canister.state", "audit", "lost"]),
    data=st.dictionaries(
        st.sampled_from([*WHO, *RELOAD, "state", "eta_s", "events"]), st.none() | st.integers() | st.text()
    ),
)
def test_what_another_version_may_send_is_shown_too(kind: str, data: dict[str, object]):
    event = Event.model_validate({"id": 1, "at": AT, "kind": kind, "data": data})
    assert _event_lines(event, 80, with_facts=True)


async def test_events_come_until_the_gateway_ends(icws: Icws):
    """What was before is had by asking for it; the stream ends with the control plane."""
    async with icws.plane.connect() as session:
        await session.receive()
        await icws("canisters", "pause", "chat")
    await until(lambda: not list(icws.plane.gateway.connections))
    icws.plane.control.events.close()
    lines = await icws.lines("events", "--after", 0)
    assert [line.split()[1] for line in lines if line.startswith(("0", "1", "2"))] == [
        "session.opened",
        "canister.state",
        "reload",
        "audit",
        "session.closed",
    ]
    events = (await icws("events", "--after", 0, "--json", "--kind", "reload", "--kind", "audit")).stdout.splitlines()
    assert [json.loads(event)["kind"] for event in events] == ["reload", "audit"]


async def test_an_unknown_kind_is_wrong_usage(icws: Icws):
    await icws("events", "--kind", "odd", code=2)


async def test_a_session_is_told_in_sentences_also_after_it_closed(icws: Icws):
    async with icws.plane.connect() as session:
        await session.receive()
        (peer,) = icws.plane.gateway.connections
        lines = await icws.lines("explain", peer.id)
        assert lines[0] == f"session   {peer.id}, connected"
        assert f"client    {peer.who.client}" in lines
        assert f"canister  chat ({icws.plane.canister_id})" in lines
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
        assert all(len(max(line.split(), key=len)) > 30 for line in long), "only what cannot be wrapped"


async def test_a_session_that_nobody_knows(icws: Icws):
    assert "none" in (await icws("explain", "none", code=1)).stderr
    await icws("explain", code=2)


async def test_explain_tells_what_became_of_an_address(icws: Icws):
    _, writer = await asyncio.open_connection("127.0.0.1", icws.plane.control.listener.port)
    writer.write(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: icws.plane.control.listener.refusals.rejected)
    writer.close()
    async with icws.plane.connect() as session:
        await session.receive()
        lines = await icws.lines("explain", "127.0.0.1")
        found = await icws.json("explain", "127.0.0.0/8")
    (refusal,) = found["refusals"]
    assert lines[0] == "1 refused connection from 127.0.0.1, the newest first"
    assert "127.0.0.1 at /nowhere, HTTP 404: No WebSocket at this path" in lines[1]
    assert lines[2].strip() == f"counted as unknown_path; icws explain {refusal['session']}"
    assert lines[-1] == "1 session connected from there"
    assert len(found["sessions"]) == 1
    assert "turned away with HTTP 404" in (await icws("explain", refusal["session"])).stdout
    assert (await icws.lines("explain", "unix"))[0] == "no refused connections from unix lately"
