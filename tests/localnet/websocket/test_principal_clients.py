"""What ic-websocket-cdk 0.1 and 0.2 do (wire generation v1), machine to machine.

That of v2 is in test_canister.py.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.crypto import CandidTypes
from appliance.ic.principal import ANONYMOUS
from appliance.localnet.canisters.canister import Environment, Trap
from appliance.localnet.websocket.canister import WsError, WsInitParams
from appliance.localnet.websocket.wire import SERVICE_MESSAGE
from tests import vectors
from tests.localnet.machine import START, principal
from tests.localnet.websocket.conversation import ALICE, BOB, GATEWAY, NO_GATEWAY, OK, OTHER_GATEWAY, Ws, echo

ACK_S, KEEP_ALIVE_S = 60, 10
NOT_OPEN = {"Err": f"client with principal {ALICE} doesn't have an open connection"}
OTHER_KEY = {"Err": f"client with principal {ALICE} has a different key than the one used in the message"}


@pytest.fixture
def ws() -> Ws:
    return Ws(echo("v1"))


# --- opening ---


def test_the_first_message_is_the_open_message(ws: Ws) -> None:
    assert ws.open(ALICE, 7) == OK
    (message,) = ws.received(GATEWAY)
    assert ws.service(message) == {"OpenMessage": {"client_key": {"client_principal": ALICE, "client_nonce": 7}}}
    assert (message.sequence_num, message.timestamp_ns) == (1, START)
    assert message.key == f"{GATEWAY}_{0:020}"
    assert message.client_key == ALICE + (7).to_bytes(8, "big")
    assert ws.canister.events == [("open", ALICE)]


@pytest.mark.parametrize(
    ("who", "text"),
    [
        (ANONYMOUS, "anonymous principal cannot open a connection"),
        (GATEWAY, "caller is the registered gateway which can't open a connection for itself"),
    ],
)
def test_who_cannot_open(ws: Ws, who: Any, text: str) -> None:
    assert ws.open(who) == {"Err": text}
    assert len(ws.canister._clients) == 0
    assert ws.canister.events == []


def test_the_same_key_opens_once(ws: Ws) -> None:
    ws.open(ALICE, 7)
    assert ws.open(ALICE, 7) == {"Err": f"client with key {ALICE}_7 already has an open connection"}
    assert len(ws.received(GATEWAY)) == 1


def test_a_new_nonce_becomes_the_current_connection_and_the_old_one_stays_unheard(ws: Ws) -> None:
    ws.open(ALICE, 1)
    ws.message(ALICE, 1, b"before", nonce=1)
    assert ws.open(ALICE, 2) == OK
    assert ws.canister.events == [("open", ALICE), ("open", ALICE)]
    assert ws.message(ALICE, 2, b"old", nonce=1) == OTHER_KEY
    assert ws.message(ALICE, 1, b"new", nonce=2) == OK
    assert [m.client_key[-1] for m in ws.received(GATEWAY)] == [1, 1, 2, 2]
    assert ws.open(ALICE, 1) == {"Err": f"client with key {ALICE}_1 already has an open connection"}


@pytest.mark.parametrize("closed", [1, 2])
def test_whichever_of_two_connections_goes_the_principal_has_no_current_one_any_more(ws: Ws, closed: int) -> None:
    ws.open(ALICE, 1)
    ws.open(ALICE, 2)
    assert ws.close(GATEWAY, ALICE, closed) == OK
    assert ws.message(ALICE, 1, b"x", nonce=2) == NOT_OPEN
    assert len(ws.canister._clients) == 1
    assert ws.close(GATEWAY, ALICE, 3 - closed) == OK
    assert len(ws.canister._clients) == 0


def test_the_interval_of_acknowledgements_must_exceed_the_keep_alive_timeout() -> None:
    for interval_ms in (0, 10_000):
        with pytest.raises(Trap, match="send_ack_interval_ms must be greater than keep_alive_timeout_ms"):
            Ws(echo("v1", WsInitParams(send_ack_interval_ms=interval_ms)))
    Ws(echo("v1", WsInitParams(send_ack_interval_ms=10_001)))
    Ws(echo("v1", WsInitParams(send_ack_interval_ms=2, keep_alive_timeout_ms=1)))


# --- messages ---


def test_a_message_is_answered(ws: Ws) -> None:
    ws.open(ALICE)
    assert ws.message(ALICE, 1, b"hello") == OK
    message = ws.received(GATEWAY, 1)[0]
    assert (message.content, message.sequence_num, message.is_service_message) == (b"hello", 2, False)


def test_a_second_argument_as_sdk_0_2_sends_it_is_overlooked(ws: Ws) -> None:
    ws.open(ALICE)
    message = "record {client_key: record {client_principal: principal; client_nonce: nat64}; sequence_num: nat64; "
    types = CandidTypes(
        f"(record {{msg: {message} timestamp: nat64; is_service_message: bool; content: blob}}}}, opt nat)"
    )
    key = {"client_principal": ALICE, "client_nonce": 1}
    content = {"client_key": key, "sequence_num": 1, "timestamp": 1, "is_service_message": False, "content": b"x"}
    reply = ws.canister.update("ws_message", types.encode({"msg": content}, None), ws._env(ALICE))
    assert CandidTypes("(variant {Ok; Err: text})").decode(reply) == (OK,)


def test_a_stranger_has_no_connection(ws: Ws) -> None:
    ws.open(BOB)
    assert ws.message(ALICE, 1, b"x") == NOT_OPEN


@pytest.mark.parametrize("number", [0, 2, 2**64 - 1])
def test_a_wrong_sequence_number_removes_the_client_without_a_word(ws: Ws, number: int) -> None:
    ws.open(ALICE)
    assert ws.message(ALICE, number, b"x") == {
        "Err": "incoming client's message does not have the expected sequence number. "
        f"Expected: 1, actual: {number}. Client removed."
    }
    assert ws.canister.events[-1] == ("close", ALICE)
    assert len(ws.received(GATEWAY)) == 1
    assert ws.message(ALICE, 1, b"x") == NOT_OPEN


def test_a_client_may_only_say_keep_alive_and_stays_connected(ws: Ws) -> None:
    ws.open(ALICE)
    ack = ws.service_message("AckMessage", 1)
    assert ws.message(ALICE, 1, ack, service=True) == {"Err": "Invalid received service message"}
    assert ws.message(ALICE, 2, b"the number was used") == OK


def test_there_is_no_close_message_in_this_generation(ws: Ws) -> None:
    ws.open(ALICE)
    close = SERVICE_MESSAGE.encode({"CloseMessage": {"reason": {"ClosedByApplication": None}}})
    answer = ws.message(ALICE, 1, close, service=True)
    assert answer["Err"].startswith("Error decoding service message content: ")
    assert ws.message(ALICE, 2, b"x") == OK


def test_sending_to_who_is_not_there(ws: Ws) -> None:
    env = Environment(principal("c"), principal("c"), START)
    text = f"client with principal {BOB} doesn't have an open connection"
    with pytest.raises(WsError, match=text):
        ws.canister.send(env, BOB, b"x")
    with pytest.raises(WsError, match=text):
        ws.canister.close(env, BOB)


def test_clients_have_no_key_to_register(ws: Ws) -> None:
    with pytest.raises(WsError, match="clients of generation v1 do not register"):
        ws.canister.ws_register(ws._env(ALICE), {"client_key": bytes(32)})


# --- polling ---


def test_only_the_gateway_of_the_installation_may_poll(ws: Ws) -> None:
    ws.open(ALICE)
    for who in (OTHER_GATEWAY, ALICE, ANONYMOUS):
        assert ws.query("ws_get_messages", who, {"nonce": 0}) == NO_GATEWAY


def test_a_reply_does_not_say_whether_more_wait(ws: Ws) -> None:
    empty = {"messages": [], "cert": b"", "tree": b""}
    for nonce in (0, 1, 2**64 - 1):
        assert ws.query("ws_get_messages", GATEWAY, {"nonce": nonce}) == {"Ok": empty}
    ws.open(ALICE)
    assert set(ws.query("ws_get_messages", GATEWAY, {"nonce": 0})["Ok"]) == set(empty)


@settings(max_examples=20)
@given(sent=st.integers(0, 25), limit=st.integers(1, 12), first=st.integers(0, 30))
def test_a_page_begins_at_the_nonce_but_from_zero_it_is_the_newest(sent: int, limit: int, first: int) -> None:
    ws = Ws(echo("v1", WsInitParams(max_number_of_returned_messages=limit)))
    ws.open(ALICE)
    for number in range(1, sent + 1):
        ws.message(ALICE, number, b"x")
    everything = list(range(sent + 1))
    expected = everything[-limit:] if first == 0 else everything[first : first + limit]
    assert [message.nonce for message in ws.poll(GATEWAY, first).messages] == expected


def test_the_default_page_has_10_messages(ws: Ws) -> None:
    ws.open(ALICE)
    for number in range(1, 21):
        ws.message(ALICE, number, b"x")
    assert [m.nonce for m in ws.poll(GATEWAY, 0).messages] == list(range(11, 21))
    assert [m.nonce for m in ws.poll(GATEWAY, 1).messages] == list(range(1, 11))


def test_nothing_is_ever_deleted(ws: Ws) -> None:
    ws.open(ALICE)
    ws.message(ALICE, 1, b"old")
    ws.close(GATEWAY, ALICE)
    ws.advance(24 * 3600)
    ws.open(BOB)
    ws.message(BOB, 1, b"new")
    assert [m.content for m in ws.received(GATEWAY, 1) if not m.is_service_message] == [b"old", b"new"]


# --- closing ---


def test_the_gateway_closes(ws: Ws) -> None:
    ws.open(ALICE)
    assert ws.close(GATEWAY, ALICE) == OK
    assert ws.canister.events == [("open", ALICE), ("close", ALICE)]
    assert len(ws.received(GATEWAY)) == 1


def test_nobody_else_closes_and_only_what_is_open(ws: Ws) -> None:
    ws.open(ALICE)
    assert ws.close(OTHER_GATEWAY, ALICE) == NO_GATEWAY
    assert ws.close(ALICE, ALICE) == NO_GATEWAY
    no_connection = {"Err": f"client with key {ALICE}_2 doesn't have an open connection"}
    assert ws.close(GATEWAY, ALICE, 2) == no_connection
    assert ws.canister.events == [("open", ALICE)]


def test_the_application_closes_without_a_word(ws: Ws) -> None:
    ws.open(ALICE)
    assert ws.message(ALICE, 1, b"close") == OK
    assert ws.canister.events[-1] == ("close", ALICE)
    assert len(ws.received(GATEWAY)) == 1
    assert ws.message(ALICE, 2, b"x") == NOT_OPEN


# --- time ---


def test_every_connection_is_acknowledged_every_interval(ws: Ws) -> None:
    ws.open(ALICE)
    ws.open(BOB, 1)
    ws.open(BOB, 2)
    ws.message(ALICE, 1, b"x")
    ws.advance(ACK_S - 1)
    assert len(ws.received(GATEWAY)) == 4
    ws.advance(1)
    acknowledged = {m.client_key: ws.service(m)["AckMessage"] for m in ws.received(GATEWAY, 4)}
    numbers = {key[:-8] + key[-1:]: ack["last_incoming_sequence_num"] for key, ack in acknowledged.items()}
    assert numbers == {ALICE + b"\1": 1, BOB + b"\1": 0, BOB + b"\2": 0}


def test_who_is_silent_after_an_acknowledgement_is_removed_without_a_word(ws: Ws) -> None:
    ws.open(ALICE)
    ws.open(BOB)
    ws.advance(ACK_S)
    assert ws.keep_alive(ALICE, 1) == OK
    queued = len(ws.received(GATEWAY))
    ws.advance(KEEP_ALIVE_S)
    assert len(ws.received(GATEWAY)) == queued
    assert ws.canister.events[-1] == ("close", BOB)
    assert ws.message(BOB, 1, b"x")["Err"].endswith("doesn't have an open connection")
    assert ws.message(ALICE, 2, b"still here") == OK


def test_a_client_that_answers_stays_for_ever(ws: Ws) -> None:
    ws.open(ALICE)
    for number in range(1, 6):
        ws.advance(ACK_S)
        assert ws.keep_alive(ALICE, number) == OK
    assert ws.message(ALICE, 6, b"x") == OK


# --- clients that nobody here wrote ---


def test_what_the_real_sdk_sent_is_understood(ws: Ws) -> None:
    sent = [f for f in vectors.load_json("websocket/session_0.1.2.json")["frames"] if "arg" in f]
    assert [frame["what"] for frame in sent] == ["ws_open", "ws_message", "ws_message"]
    for frame in sent:
        env = ws._env(bytes.fromhex(frame["sender"]))
        reply = ws.canister.update(frame["what"], bytes.fromhex(frame["arg"]), env)
        assert CandidTypes("(variant {Ok; Err: text})").decode(reply) == (OK,)
        ws._keep(env)
    assert [m.content for m in ws.received(GATEWAY) if not m.is_service_message] == [b"ping"]
