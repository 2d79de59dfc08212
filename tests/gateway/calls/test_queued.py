"""What is read of a call that waits."""

import time

import pytest

from appliance.crypto import CandidTypes, Verifier
from appliance.gateway.calls.queued import QueuedCall, sequence_number, size_of
from appliance.ic.envelope import LIFETIME_NS
from appliance.ic.principal import Principal
from appliance.ic.route import Route
from appliance.protocol.events import Call
from tests.gateway.clients import CANISTER, Client
from tests.gateway.fake_ic import ROOT

MESSAGE_V2 = CandidTypes(
    "(record {msg: record {client_key: record {client_principal: principal; client_nonce: nat64}; sequence_num: nat64;"
    " timestamp: nat64; is_service_message: bool; content: blob}}, opt blob)"
)


def request(method: str, arg: bytes):
    frame = Client().call(method, arg)
    return Verifier(ROOT.public_key).open_envelope(frame, now_ns=time.time_ns())


@pytest.mark.parametrize("number", [1, 2**64 - 1])
def test_the_number_of_a_v2_message(number: int) -> None:
    message = {
        "client_key": {"client_principal": Principal(b"\x04"), "client_nonce": 7},
        "sequence_num": number,
        "timestamp": 1,
        "is_service_message": False,
        "content": b"hello",
    }
    assert sequence_number(request("ws_message", MESSAGE_V2.encode({"msg": message}, None))) == number


def test_other_calls_have_none() -> None:
    assert sequence_number(request("ws_open", b"DIDL\0\0")) is None
    assert sequence_number(request("ws_message", CandidTypes("(record {msg: blob})").encode({"msg": b"v1"}))) is None
    assert sequence_number(Call(CANISTER, "ws_message", b"DIDL")) is None


def test_a_call_of_the_gateway_lives_from_when_it_was_queued() -> None:
    theirs = request("ws_message", b"DIDL\0\0")
    ours = Call(CANISTER, "ws_message", b"12345")
    queued = [QueuedCall(0, call, 100, 0, lambda: None, Route(lambda: None)) for call in (theirs, ours)]
    assert [each.expires_ns for each in queued] == [theirs.ingress_expiry_ns, 100 + LIFETIME_NS]
    assert [size_of(call) for call in (theirs, ours)] == [len(theirs.body), 5]
