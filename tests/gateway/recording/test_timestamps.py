"""Times are found where clients and canisters write them, and nothing is made up where they do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import CandidTypes, encode_cbor, read_envelope_unverified
from appliance.gateway.recording.timestamps import of_call, of_frame
from appliance.protocol.events import Call
from tests.gateway.clients import CANISTER, Client, ClientV0

MESSAGE = CandidTypes(
    "(record {msg: record {client_key: record {client_principal: principal; client_nonce: nat64}; sequence_num: nat64; "
    "timestamp: nat64; is_service_message: bool; content: blob}}, opt text)"
)
RELAYED = CandidTypes("(record {msg: variant {RelayedByGateway: record {content: blob; sig: blob}}})")
times = st.integers(1 << 32, (1 << 64) - 1)


@given(times, st.binary(max_size=300))
def test_the_time_of_a_canister_is_found_in_its_frame(time_ns, content):
    message = {"client_key": b"key", "sequence_num": 1, "timestamp": time_ns, "is_service_message": False}
    frame = encode_cbor({"key": "gateway_0", "content": encode_cbor({**message, "content": content}), "cert": b"c"})
    assert of_frame(frame) == time_ns


@given(st.binary(max_size=60).map(lambda rest: b"itimestamp\x1b" + rest) | st.binary(max_size=60))
def test_where_there_is_no_time_none_is_made_up(frame):
    found = of_frame(frame)
    assert found is None or found.to_bytes(8, "big") in frame


@given(times, st.binary(max_size=100))
def test_the_time_of_a_client_is_found_in_its_call(time_ns, content):
    key = {"client_principal": CANISTER, "client_nonce": 7}
    message = {"client_key": key, "sequence_num": 1, "timestamp": time_ns, "is_service_message": False}
    argument = MESSAGE.encode({"msg": {**message, "content": content}}, None)
    assert of_call(read_envelope_unverified(Client().call("ws_message", argument))) == time_ns


@given(times)
def test_the_time_of_a_client_of_v0_is_found_in_what_it_signed(time_ns):
    content = encode_cbor({"client_key": b"k" * 32, "sequence_num": 0, "timestamp": time_ns, "message": b"hello"})
    argument = RELAYED.encode({"msg": {"RelayedByGateway": {"content": content, "sig": bytes(64)}}})
    assert of_call(Call(CANISTER, "ws_message", argument)) == time_ns


@pytest.mark.parametrize("argument", [b"", b"garbage", b"DIDL\x00\x00"])
def test_a_call_without_a_time_has_none(argument):
    assert of_call(read_envelope_unverified(Client().call("ws_message", argument))) is None
    assert of_call(Call(CANISTER, "ws_message", argument)) is None


def test_an_opening_call_has_none():
    assert of_call(read_envelope_unverified(Client().open())) is None
    assert of_call(Call(CANISTER, "ws_open", ClientV0().first())) is None
