import pytest

from appliance.client import Connection, ConnectionClosed
from tests.cli.conftest import Icws
from tests.cli.processes import TOP

LIMITED = """
rate_limits:
  connections_per_ip: {rate: 1/h, burst: 1, mode: shadow}
  messages_per_client: {rate: 1/h, burst: 2}
"""


async def hear_out(session: Connection) -> None:
    while True:
        await session.receive()


async def test_every_limit_and_who_has_to_wait(icws: Icws):
    assert (await icws.lines("limits"))[-1] == "nobody has to wait"
    icws.plane.file.write_text(icws.plane.file.read_text() + LIMITED)
    await icws("reload")
    async with icws.plane.connect() as session:
        await session.receive()
        client = str(next(iter(icws.plane.gateway.connections)).who.client)
        for _ in range(3):
            await session.send({"text": "hello", "timestamp": 0})
        with pytest.raises(ConnectionClosed, match="4108"):
            await hear_out(session)
    text = (await icws("limits")).stdout
    heading, *rows = (line.split() for line in text.partition("WHO HAS TO WAIT")[0].splitlines() if line)
    limits = {row[0]: row for row in rows}
    assert heading == ["LIMIT", "MODE", "BY", "RATE", "BURST", "KEYS", "ALLOWED", "LIMITED", "SHADOWED"]
    assert limits["connections_per_ip"][1:5] == ["shadow", "node", "1/h", "1"]
    assert limits["messages_per_client"][1:5] == ["enforce", "node", "1/h", "2"]
    assert int(limits["messages_per_client"][7]) > 0
    assert client.rpartition("_")[0] in text.split("WHO HAS TO WAIT")[1]
    assert {item["scope"] for item in (await icws.json("limits"))["items"]} == set(limits)


async def test_a_limit_of_the_whole_cluster_says_who_counts_it_and_why_this_node_does_so_alone(icws: Icws):
    shared = "rate_limits: {messages_total: {mode: enforce, scope: cluster}}\n"
    icws.plane.file.write_text(icws.plane.file.read_text() + shared)
    await icws("reload")
    lines = await icws.lines("limits")
    assert next(line.split()[:3] for line in lines if line.startswith("messages_total")) == [
        "messages_total",
        "enforce",
        "cluster",
    ]
    assert "this node counts alone: no cluster is configured" in lines


async def test_those_that_are_loaded_and_what_went_wrong(icws: Icws):
    assert await icws.lines("plugins") == ["no plugin is loaded"]
    log = icws.plane.file.with_name("audit.jsonl")
    with icws.plane.file.open("a") as stream:
        stream.write(f"\nplugins: [{{path: {TOP}/plugins/audit_log.py, config: {{file: {log}}}}}]\n")
    await icws("reload")
    async with icws.plane.connect() as session:
        await session.receive()
    lines = await icws.lines("plugins")
    assert lines[0].split() == ["PLUGIN", "STATE", "CALLS", "FAILED", "SLOW", "HOOKS", "FROM"]
    assert lines[1].split()[0] == "audit_log"
    assert lines[1].endswith("audit_log.py")
    assert (await icws.json("plugins"))["items"][0]["name"] == "audit_log"


async def test_who_has_tried_to_change_what(icws: Icws):
    assert await icws.lines("audit") == ["no changes were attempted"]
    await icws("canisters", "pause", "chat")
    await icws("confirm", code=1)
    rows = await icws.rows("audit")
    assert [row[5] for row in rows] == ["confirmConfig", "pauseCanister"]
    assert rows[0][-2:] == ["409", "conflict"]
    assert rows[1][-2:] == [str(icws.plane.canister_id), "200"]
    assert len(await icws.rows("audit", "--limit", 1)) == 1
    newest = (await icws.json("audit"))["items"][1]
    assert newest["before"]["generation"] == 1


async def test_what_prometheus_reads(icws: Icws):
    text = (await icws("metrics")).stdout
    assert "# TYPE icws_" in text
    assert text.endswith("\n")
    await icws("metrics", "--json", code=2)


async def test_how_much_is_logged_is_shown_and_changed(icws: Icws):
    assert await icws.lines("log") == ["info"]
    assert await icws.lines("log", "error") == ["error"]
    assert await icws.json("log") == {"level": "error"}
    assert icws.plane.control.log.level == "error"
    await icws("log", "loud", code=2)
