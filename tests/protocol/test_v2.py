"""What is of v2 alone: the greeting, and the gateway that a client opens for."""

import pytest

from appliance.crypto import Verifier
from appliance.errors import WrongGateway
from appliance.ic.principal import Principal
from appliance.protocol.envelopes import Envelopes
from appliance.protocol.events import Send
from appliance.protocol.frames import Delivery
from appliance.protocol.session import SessionContext
from appliance.protocol.v2 import V2
from tests import vectors
from tests.gateway.clients import GATEWAY, Client, greeting, payload_of
from tests.gateway.fake_ic import ROOT
from tests.protocol.test_enveloped import NOW


def session(gateway=GATEWAY, root_key=ROOT.public_key):
    return V2(SessionContext(gateway, Envelopes(Verifier(root_key))))


def test_greets_with_the_gateways_principal():
    (send,) = session().connect()
    assert isinstance(send, Send)
    assert payload_of(send.frame) == greeting()


def test_a_client_that_opens_for_another_gateway_is_refused():
    it, client = session(), Client(clock=lambda: NOW)
    it.connect()
    with pytest.raises(WrongGateway):
        it.receive(client.open(gateway=client.principal), now_ns=NOW)
    assert it.close_call() is None


@pytest.mark.parametrize("name", ["session_0.4.1.json", "session_0.5.0.json"])
def test_recorded_clients_are_understood(name):
    recorded = vectors.load_json(f"websocket/{name}")
    it = session(Principal(b"\x22" * 28 + b"\x02"), bytes.fromhex(recorded["root_key_der"]))
    for frame in recorded["frames"]:
        if not frame["kind"].startswith("WS binary"):
            continue
        data = bytes.fromhex(frame["hex"])
        if frame["what"] == "handshake":
            assert payload_of(it.connect()[0].frame) == data
        elif frame["dir"] == "gateway->client":
            it.delivered(Delivery(data, 0, 1))
        else:
            relay = it.receive(data, now_ns=int(frame["ingress_expiry"]) - 60 * 10**9)[-1]
            assert relay.call.request_id.hex() == frame["request_id"]
            assert relay.call.sender.hex() == frame["sender"]
    assert it.is_open
