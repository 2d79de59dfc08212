"""The lies are as good as they can be: who finds one out has looked at the very thing that is wrong."""

import pytest

from appliance.client import connect
from appliance.localnet.websocket.pingpong import APP_MESSAGE
from tests.interop.proxies import FORGER, forge, lying_gateway
from tests.network import Generation, running


@pytest.mark.parametrize("generation", ["v1", "v2"])
async def test_who_trusts_the_forgers_key_has_nothing_to_object_to(generation: Generation) -> None:
    async with (
        running(generation=generation) as network,
        lying_gateway(network.url, forge) as url,
        connect(url, network.canister_id, message_type=APP_MESSAGE, root_key=FORGER.public_key) as connection,
    ):
        message = await connection.receive()
    assert message.value == {"text": "ping", "timestamp": message.timestamp_ns}
