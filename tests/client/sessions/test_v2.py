"""What only v2 has: the handshake of the gateway, and the second argument of `ws_message`."""

import pytest

from appliance.client.errors import MessageUntrusted
from appliance.client.sessions.session import Limits, State
from appliance.crypto import decode_candid, encode_cbor
from appliance.errors import Malformed, OpenTimeout
from tests.client.canister import (
    CANISTER_ID,
    CLIENT,
    GATEWAY,
    HANDSHAKE,
    NONCE,
    NOW_NS,
    SECOND_NS,
    V2,
    WS_OPEN,
    frame_of,
    sent,
)


def test_the_client_waits_for_the_gateway_to_speak() -> None:
    session = V2.session()
    assert session.start(now_ns=NOW_NS) == []
    assert session.state is State.HANDSHAKE


def test_the_handshake_is_answered_with_a_signed_ws_open() -> None:
    session = V2.session()
    request = sent(frame_of(session.receive(HANDSHAKE, now_ns=NOW_NS)))
    assert (request.method_name, request.canister_id, request.sender) == ("ws_open", CANISTER_ID, CLIENT.principal)
    assert WS_OPEN.decode(request.arg) == ({"client_nonce": NONCE, "gateway_principal": GATEWAY},)
    assert session.gateway == GATEWAY
    assert session.state is State.OPENING


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"1",
        encode_cbor({}),
        encode_cbor({"gateway_principal": "text"}),
        encode_cbor({"gateway_principal": bytes(30)}),
        encode_cbor([GATEWAY]),
    ],
)
def test_another_first_frame_ends_the_session(frame: bytes) -> None:
    session = V2.session()
    with pytest.raises(Malformed):
        session.receive(frame, now_ns=NOW_NS)
    assert session.state is State.CLOSED


def test_a_second_handshake_is_no_message() -> None:
    session = V2.opened()
    with pytest.raises(MessageUntrusted, match="message 2"):
        session.receive(HANDSHAKE, now_ns=NOW_NS)
    assert session.state is State.CLOSED


def test_a_gateway_that_does_not_greet_in_time_may_be_on_another_path() -> None:
    session = V2.session(limits=Limits(open_ns=5 * SECOND_NS))
    session.check(now_ns=NOW_NS + 5 * SECOND_NS - 1)
    with pytest.raises(OpenTimeout, match="right wire path"):
        session.check(now_ns=NOW_NS + 5 * SECOND_NS)
    assert session.state is State.CLOSED


def test_the_canister_has_as_much_time_as_the_gateway_had() -> None:
    session = V2.session(limits=Limits(open_ns=5 * SECOND_NS))
    session.receive(HANDSHAKE, now_ns=NOW_NS + SECOND_NS)
    assert session.deadline_ns == NOW_NS + 6 * SECOND_NS


def test_a_message_has_a_second_argument_without_a_value() -> None:
    _, second = decode_candid(sent(V2.opened().send(b"", now_ns=NOW_NS).frame).arg)
    assert second is None
