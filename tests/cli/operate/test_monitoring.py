import pytest

from appliance.client import Connection, ConnectionClosed
from tests.cli.conftest import Icws

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
    heading, connections, messages = text.splitlines()[:3]
    assert heading.split() == ["LIMIT", "MODE", "RATE", "BURST", "KEYS", "ALLOWED", "LIMITED", "SHADOWED"]
    assert connections.split()[:4] == ["connections_per_ip", "shadow", "1/h", "1"]
    assert messages.split()[:4] == ["messages_per_client", "enforce", "1/h", "2"]
    assert int(messages.split()[6]) > 0
    assert client.rpartition("_")[0] in text.split("WHO HAS TO WAIT")[1]
    assert (await icws.json("limits"))["items"][1]["scope"] == "messages_per_client"
