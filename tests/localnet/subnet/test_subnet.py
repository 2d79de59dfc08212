"""Several replicas with one clock that tests move: no request waits for real time."""

from tests.network import mainnet_like


async def test_a_conversation_through_a_gateway() -> None:
    async with mainnet_like(1) as network, network.connect() as client:
        assert (await client.receive()).value["text"] == "ping"
        for number in range(3):
            await client.send({"text": str(number), "timestamp": 0})
            assert (await client.receive()).value["text"] == f"{number} ping"
