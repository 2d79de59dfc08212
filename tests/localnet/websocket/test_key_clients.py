"""What ic-websocket-cdk of July 2023 does (wire generation v0), machine to machine."""

from typing import Any

import pytest

from appliance.crypto import CandidTypes, encode_cbor
from appliance.ic.principal import ANONYMOUS, Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.websocket.canister import WsError, WsInitParams
from tests import vectors
from tests.localnet.machine import CANISTER, START, principal
from tests.localnet.websocket.conversation import (
    ALICE,
    BOB,
    GATEWAY,
    NO_GATEWAY,
    OK,
    OTHER_GATEWAY,
    Signer,
    WsV0,
    echo,
)

A, B = Signer("a"), Signer("b")
NOT_REGISTERED = {"Err": "client's public key has not been previously registered by client"}
WRONG_NUMBER = {"Err": "incoming client's message relayed from WS Gateway does not have the expected sequence number"}
UNVERIFIED = {"Err": "Signature doesn't verify"}
NOT_SENT = "outgoing message to client num not initialized for client"
NO_POINT = bytes([2]) + bytes(31)
"""No point of the curve has this y."""


@pytest.fixture
def ws() -> WsV0:
    return WsV0(echo("v0"))


@pytest.fixture
def joined(ws: WsV0) -> WsV0:
    ws.join(A)
    return ws


# --- registering ---


@pytest.mark.parametrize("caller", [ALICE, ANONYMOUS, GATEWAY])
@pytest.mark.parametrize("key", [A.key, b"", b"anything"])
def test_everybody_may_register_everything(ws: WsV0, caller: Principal, key: bytes) -> None:
    assert ws.register(caller, key) == OK
    assert len(ws.canister._clients) == 0


def test_who_registered_last_speaks_for_the_key(joined: WsV0) -> None:
    assert joined.register(BOB, A.key) == OK
    assert joined.direct(BOB, A.key, b"x") == OK
    assert joined.direct(ALICE, A.key, b"x") == {"Err": "caller is not the same that registered the public key"}


# --- opening ---


def test_the_gateway_opens_and_is_told_where_to_begin(ws: WsV0) -> None:
    ws.register(ANONYMOUS, A.key)
    assert ws.open(A) == {"Ok": {"client_key": A.key, "canister_id": CANISTER, "nonce": 0}}
    assert ws.canister.events == []
    assert ws.received(GATEWAY) == []
    ws.established(A.key)
    assert ws.canister.events == [("open", A.key)]
    ws.direct(ANONYMOUS, A.key, b"one message")
    ws.register(ALICE, B.key)
    assert ws.open(B)["Ok"]["nonce"] == 1


def test_nobody_else_opens(ws: WsV0) -> None:
    ws.register(ALICE, A.key)
    for who in (OTHER_GATEWAY, ALICE):
        assert ws.open(A, gateway=who) == NO_GATEWAY


def test_only_registered_keys_open(ws: WsV0) -> None:
    assert ws.open(A) == NOT_REGISTERED


def test_opening_needs_the_signature_of_the_key(ws: WsV0) -> None:
    ws.register(ALICE, A.key)
    assert ws.open_signed(A.first(), B.sign(A.first())) == UNVERIFIED
    assert ws.open_signed(A.first(b"\1"), A.sign(A.first())) == UNVERIFIED
    assert ws.relayed(A, 0, b"x") == {"Err": "expected incoming message num not initialized for client"}


def test_the_canister_id_of_the_first_message_is_only_repeated(ws: WsV0) -> None:
    ws.register(ALICE, A.key)
    content = A.first(b"\1\2")
    assert ws.open_signed(content, A.sign(content))["Ok"]["canister_id"] == Principal(b"\1\2")


def test_a_first_message_may_lack_the_tag_and_have_more_fields(ws: WsV0) -> None:
    ws.register(ALICE, A.key)
    content = encode_cbor({"client_key": A.key, "canister_id": CANISTER, "more": 1}, tagged=False)
    assert "Ok" in ws.open_signed(content, A.sign(content))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "malformed first message: cut short at byte 0"),
        (encode_cbor([]), "malformed first message: no map"),
        (encode_cbor({}), "missing field `client_key`"),
        (encode_cbor({"client_key": A.key}), "missing field `canister_id`"),
        (
            encode_cbor({"client_key": "text", "canister_id": CANISTER}),
            "malformed first message: wrong type of field `client_key`",
        ),
        (encode_cbor({"client_key": A.key[1:], "canister_id": CANISTER}), "Invalid public key"),
        (
            encode_cbor({"client_key": A.key, "canister_id": bytes(30)}),
            "malformed principal: 30 bytes, at most 29 are allowed",
        ),
    ],
)
def test_first_messages_that_are_none(ws: WsV0, content: bytes, text: str) -> None:
    ws.register(ALICE, A.key)
    assert ws.open_signed(content, A.sign(content)) == {"Err": text}


def test_signatures_and_keys_that_cannot_be(ws: WsV0) -> None:
    ws.register(ALICE, A.key)
    assert ws.open_signed(A.first(), bytes(63)) == {"Err": "Invalid signature"}
    ws.register(ALICE, NO_POINT)
    content = encode_cbor({"client_key": NO_POINT, "canister_id": CANISTER})
    assert ws.open_signed(content, bytes(64)) == {"Err": "Invalid public key"}


def test_opening_again_begins_the_numbers_anew(joined: WsV0) -> None:
    joined.relayed(A, 0, b"x")
    assert joined.open(A)["Ok"]["nonce"] == 1
    assert joined.relayed(A, 1, b"x") == WRONG_NUMBER
    assert joined.relayed(A, 0, b"y") == OK
    assert [m.sequence_num for m in joined.received(GATEWAY)] == [1, 1]


# --- hearing that the socket is open ---


def test_only_the_gateway_says_that_a_client_hears(ws: WsV0) -> None:
    ws.register(ALICE, A.key)
    ws.open(A)
    assert ws.established(A.key, gateway=OTHER_GATEWAY) == NO_GATEWAY
    assert ws.established(B.key) == NOT_REGISTERED
    assert ws.canister.events == []


# --- messages ---


def test_a_direct_message_is_answered(joined: WsV0) -> None:
    assert joined.direct(ALICE, A.key, b"hello") == OK
    (message,) = joined.received(GATEWAY)
    assert (message.content, message.sequence_num, message.timestamp_ns) == (b"hello", 1, START)
    assert (message.client_key, message.key) == (A.key, f"{GATEWAY}_{0:020}")
    assert not message.is_service_message


def test_a_direct_message_comes_from_who_registered(joined: WsV0) -> None:
    assert joined.direct(BOB, A.key, b"x") == {"Err": "caller is not the same that registered the public key"}
    unknown = "client was was not authenticated with II when it registered its public key"
    assert joined.direct(ALICE, B.key, b"x") == {"Err": unknown}


def test_a_direct_message_before_the_connection_finds_nobody_to_answer(ws: WsV0) -> None:
    ws.register(ALICE, A.key)
    assert ws.direct(ALICE, A.key, b"x") == {"Err": NOT_SENT}


def test_relayed_messages_count_from_zero_and_direct_ones_do_not(joined: WsV0) -> None:
    assert joined.relayed(A, 0, b"first") == OK
    assert joined.direct(ALICE, A.key, b"between") == OK
    assert joined.relayed(A, 1, b"second") == OK
    assert [m.content for m in joined.received(GATEWAY)] == [b"first", b"between", b"second"]


@pytest.mark.parametrize("number", [1, 2**64 - 1])
def test_a_wrong_number_is_refused_and_the_right_one_still_expected(joined: WsV0, number: int) -> None:
    assert joined.relayed(A, number, b"x") == WRONG_NUMBER
    assert joined.relayed(A, 0, b"x") == OK
    assert joined.relayed(A, 0, b"again") == WRONG_NUMBER
    assert [m.content for m in joined.received(GATEWAY)] == [b"x"]


def test_a_relayed_message_needs_gateway_registration_connection_and_signature(joined: WsV0) -> None:
    content = A.message(0, b"x")
    assert joined.relayed_signed(content, A.sign(content), gateway=OTHER_GATEWAY) == NO_GATEWAY
    assert joined.relayed_signed(content, B.sign(content)) == UNVERIFIED
    assert joined.relayed_signed(content, bytes(65)) == {"Err": "Invalid signature"}
    assert joined.relayed(B, 0, b"x") == NOT_REGISTERED
    joined.register(BOB, B.key)
    assert joined.relayed(B, 0, b"x") == {"Err": "expected incoming message num not initialized for client"}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "missing field `client_key`"),
        ({"client_key": A.key}, "missing field `sequence_num`"),
        ({"client_key": A.key, "sequence_num": 0}, "missing field `timestamp`"),
        ({"client_key": A.key, "sequence_num": 0, "timestamp": 1}, "missing field `message`"),
    ],
)
def test_a_relayed_message_has_all_fields(joined: WsV0, fields: dict[str, Any], text: str) -> None:
    content = encode_cbor(fields)
    assert joined.relayed_signed(content, A.sign(content)) == {"Err": text}


@pytest.mark.parametrize(
    ("name", "content"), [("message", A.message(0, "text")), ("sequence_num", A.message(False, b"x"))]
)
def test_a_relayed_message_has_fields_of_the_right_types(joined: WsV0, name: str, content: bytes) -> None:
    refused = {"Err": f"malformed message: wrong type of field `{name}`"}
    assert joined.relayed_signed(content, A.sign(content)) == refused


def test_sending_to_who_is_not_there(ws: WsV0) -> None:
    env = Environment(principal("c"), principal("c"), START)
    with pytest.raises(WsError, match=NOT_SENT):
        ws.canister.send(env, A.key, b"x")
    with pytest.raises(WsError, match=NOT_SENT):
        ws.canister.close(env, A.key)


# --- polling ---


def test_only_the_gateway_of_the_installation_may_poll(joined: WsV0) -> None:
    for who in (OTHER_GATEWAY, ALICE, ANONYMOUS):
        assert joined.query("ws_get_messages", who, {"nonce": 0}) == NO_GATEWAY


def test_pages_have_ten_messages_from_the_nonce_on(joined: WsV0) -> None:
    empty = {"Ok": {"messages": [], "cert": b"", "tree": b""}}
    assert joined.query("ws_get_messages", GATEWAY, {"nonce": 0}) == empty
    for _ in range(12):
        joined.direct(ALICE, A.key, b"x")
    for first, nonces in ((0, range(10)), (1, range(1, 11)), (5, range(5, 12)), (12, range(0)), (100, range(0))):
        assert [m.nonce for m in joined.poll(GATEWAY, first).messages] == list(nonces)


def test_the_page_may_be_of_another_size() -> None:
    ws = WsV0(echo("v0", WsInitParams(max_number_of_returned_messages=2)))
    ws.join(A)
    for _ in range(3):
        ws.direct(ALICE, A.key, b"x")
    assert len(ws.poll(GATEWAY, 0).messages) == 2


def test_nothing_is_ever_deleted_and_no_timer_runs(joined: WsV0) -> None:
    joined.direct(ALICE, A.key, b"old")
    assert joined.timer_ns == 0
    joined.close(A.key)
    joined.advance(24 * 3600)
    joined.join(B)
    joined.direct(ALICE, B.key, b"new")
    assert [m.content for m in joined.received(GATEWAY)] == [b"old", b"new"]


def test_there_are_no_service_messages(joined: WsV0) -> None:
    connection = joined.canister._clients.connection_of(A.key)
    with pytest.raises(WsError, match="generation v0 has no service messages"):
        joined.canister._push_service(joined._env(CANISTER), connection, {})


# --- closing ---


def test_the_gateway_closes_and_the_registration_is_gone(joined: WsV0) -> None:
    assert joined.close(A.key) == OK
    assert joined.canister.events == [("open", A.key), ("close", A.key)]
    assert joined.open(A) == NOT_REGISTERED
    assert joined.close(A.key) == NOT_REGISTERED


def test_nobody_else_closes(joined: WsV0) -> None:
    assert joined.close(A.key, gateway=ALICE) == NO_GATEWAY
    assert joined.close(B.key) == NOT_REGISTERED
    assert joined.canister.events == [("open", A.key)]


def test_who_has_only_registered_can_be_closed_too(ws: WsV0) -> None:
    ws.register(ALICE, A.key)
    assert ws.close(A.key) == OK
    assert ws.canister.events == [("close", A.key)]
    assert ws.open(A) == NOT_REGISTERED


def test_the_application_closes_without_a_word(joined: WsV0) -> None:
    assert joined.direct(ALICE, A.key, b"close") == OK
    assert joined.canister.events[-1] == ("close", A.key)
    assert joined.received(GATEWAY) == []
    assert joined.relayed(A, 0, b"x") == NOT_REGISTERED


# --- clients that nobody here wrote ---


def test_the_first_message_of_the_reference_gateways_tests_is_understood(ws: WsV0) -> None:
    vector = vectors.load_json("websocket/first_messages.json")
    key, content, signature = (bytes.fromhex(vector[name]) for name in ("client_key", "content", "sig"))
    ws.register(ANONYMOUS, key)
    answer = ws.open_signed(content, signature)
    assert answer == {"Ok": {"client_key": key, "canister_id": bytes.fromhex(vector["canister_id"]), "nonce": 0}}


def test_what_the_real_sdk_sent_is_understood(ws: WsV0) -> None:
    frames = vectors.load_json("websocket/session_62dcec3.json")["frames"]
    first = next(frame for frame in frames if frame.get("what") == "first message")
    calls = [frame for frame in frames if "arg" in frame]
    assert [call["method"] for call in calls] == ["ws_register", "ws_message"]
    assert _replay(ws, calls[0]) == OK
    assert "Ok" in ws.open_signed(bytes.fromhex(first["content"]), bytes.fromhex(first["sig"]))
    assert _replay(ws, calls[1]) == OK
    (message,) = ws.received(GATEWAY)
    assert message.content.hex() == calls[1]["decoded"]["msg"]["DirectlyFromClient"]["message"]


def _replay(ws: WsV0, call: dict[str, Any]) -> object:
    env = ws._env(bytes.fromhex(call["sender"]))
    reply = ws.canister.update(call["method"], bytes.fromhex(call["arg"]), env)
    ws._keep(env)
    return CandidTypes("(variant {Ok; Err: text})").decode(reply)[0]
