"""What is of v1 alone: the client speaks first."""

from appliance.crypto import Verifier
from appliance.protocol.envelopes import Envelopes
from appliance.protocol.events import Join
from appliance.protocol.frames import Delivery
from appliance.protocol.session import SessionContext
from appliance.protocol.v1 import V1
from tests import vectors
from tests.gateway.clients import GATEWAY
from tests.gateway.fake_ic import ROOT


def session(root_key=ROOT.public_key):
    return V1(SessionContext(GATEWAY, Envelopes(Verifier(root_key))))


def test_says_nothing_first():
    assert session().connect() == []


def test_a_recorded_client_is_understood():
    recorded = vectors.load_json("websocket/session_0.1.2.json")
    it = session(bytes.fromhex(recorded["root_key_der"]))
    assert it.connect() == []
    frames = [frame for frame in recorded["frames"] if frame["kind"].startswith("WS binary")]
    for position, frame in enumerate(frames):
        data = bytes.fromhex(frame["hex"])
        if frame["dir"] == "gateway->client":
            it.delivered(Delivery(data, 0, 1))
            continue
        events = it.receive(data, now_ns=int(frame["ingress_expiry"]) - 60 * 10**9)
        assert isinstance(events[0], Join) == (position == 0)
        assert events[-1].call.request_id.hex() == frame["request_id"]
        assert events[-1].call.sender.hex() == frame["sender"]
    assert it.is_open
