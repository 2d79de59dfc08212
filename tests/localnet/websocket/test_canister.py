"""The behaviour of ic-websocket-cdk 0.4, machine to machine; ``test_demo_canister`` asks that one."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.crypto import CandidTypes, CertifiedMessage
from appliance.ic.principal import ANONYMOUS, Principal
from appliance.localnet.canisters.canister import Environment, Trap
from appliance.localnet.websocket.canister import WsError, WsInitParams
from appliance.localnet.websocket.wire import SERVICE_MESSAGE
from tests import vectors
from tests.localnet.machine import START, principal
from tests.localnet.websocket.conversation import ALICE, BOB, GATEWAY, OK, OTHER_GATEWAY, Echo, Ws

ACK_S, KEEP_ALIVE_S = 300, 60


@pytest.fixture
def ws() -> Ws:
    return Ws(Echo())


def service(message: CertifiedMessage) -> Any:
    assert message.is_service_message
    return SERVICE_MESSAGE.decode(message.content)[0]


def closing(reason: str) -> dict[str, object]:
    return {"CloseMessage": {"reason": {reason: None}}}


# --- opening ---


def test_the_first_message_is_the_open_message(ws: Ws) -> None:
    assert ws.open(ALICE, 7) == OK
    (message,) = ws.received(GATEWAY)
    assert service(message) == {"OpenMessage": {"client_key": {"client_principal": ALICE, "client_nonce": 7}}}
    assert (message.sequence_num, message.timestamp_ns) == (1, START)
    assert message.key == f"{GATEWAY}_{0:020}"
    assert message.client_key == ALICE + (7).to_bytes(8, "big")
    assert ws.canister.events == [("open", ALICE)]


def test_anonymous_clients_are_refused(ws: Ws) -> None:
    assert ws.open(ANONYMOUS) == {"Err": "Anonymous principal is not allowed"}


def test_the_same_key_opens_once(ws: Ws) -> None:
    ws.open(ALICE, 7)
    assert ws.open(ALICE, 7) == {"Err": f"Client with key {ALICE}_7 already has an open connection"}
    assert len(ws.received(GATEWAY)) == 1


def test_a_new_nonce_replaces_the_old_connection_in_silence(ws: Ws) -> None:
    ws.open(ALICE, 1)
    assert ws.open(ALICE, 2) == OK
    assert [list(service(message)) for message in ws.received(GATEWAY)] == [["OpenMessage"], ["OpenMessage"]]
    assert ws.canister.events == [("open", ALICE), ("close", ALICE), ("open", ALICE)]
    assert ws.message(ALICE, 1, b"old", nonce=1) == {
        "Err": f"Client with principal {ALICE} has a different key than the one used in the message"
    }


@pytest.mark.parametrize("interval_ms", [0, 60_000])
def test_an_acknowledgement_interval_within_the_keep_alive_timeout_traps(interval_ms: int) -> None:
    with pytest.raises(Trap, match="send_ack_interval_ms must be greater than CLIENT_KEEP_ALIVE_TIMEOUT_MS"):
        Ws(Echo(WsInitParams(send_ack_interval_ms=interval_ms)))
    Ws(Echo(WsInitParams(send_ack_interval_ms=60_001)))


# --- messages ---


def test_a_message_is_answered(ws: Ws) -> None:
    ws.open(ALICE)
    assert ws.message(ALICE, 1, b"hello") == OK
    message = ws.received(GATEWAY, 1)[0]
    assert (message.content, message.sequence_num, message.is_service_message) == (b"hello", 2, False)


def test_a_stranger_has_no_connection(ws: Ws) -> None:
    ws.open(ALICE)
    assert ws.message(BOB, 1, b"x") == {"Err": f"Client with principal {BOB} doesn't have an open connection"}


@pytest.mark.parametrize("number", [0, 2, 2**64 - 1])
def test_a_wrong_sequence_number_ends_the_connection(ws: Ws, number: int) -> None:
    ws.open(ALICE)
    assert ws.message(ALICE, number, b"x") == {"Err": f"Expected incoming sequence number 1 but got {number}"}
    assert service(ws.received(GATEWAY)[-1]) == closing("WrongSequenceNumber")
    assert ws.canister.events[-1] == ("close", ALICE)
    assert ws.message(ALICE, 1, b"x") == {"Err": f"Client with principal {ALICE} doesn't have an open connection"}


@pytest.mark.parametrize(
    "message",
    [
        {"OpenMessage": {"client_key": {"client_principal": ALICE, "client_nonce": 1}}},
        {"AckMessage": {"last_incoming_sequence_num": 1}},
        closing("ClosedByApplication"),
    ],
)
def test_a_client_may_only_say_keep_alive_and_stays_connected(ws: Ws, message: dict[str, object]) -> None:
    ws.open(ALICE)
    refused = ws.message(ALICE, 1, SERVICE_MESSAGE.encode(message), service=True)
    assert refused == {"Err": "Invalid service message"}
    assert len(ws.received(GATEWAY)) == 1
    assert ws.message(ALICE, 2, b"the number was used") == OK


def test_a_service_message_that_does_not_decode(ws: Ws) -> None:
    ws.open(ALICE)
    answer = ws.message(ALICE, 1, b"nonsense", service=True)
    assert answer["Err"].startswith("Error decoding service message content: ")
    assert ws.message(ALICE, 2, b"x") == OK


def test_a_trapping_application_leaves_no_trace(ws: Ws) -> None:
    ws.open(ALICE)
    before = ws.state.get((b"canister", b"certified_data"))
    with pytest.raises(Trap, match="on purpose"):
        ws.message(ALICE, 1, b"trap")
    assert ws.state.get((b"canister", b"certified_data")) == before
    assert len(ws.received(GATEWAY)) == 1
    assert ws.message(ALICE, 1, b"the number is still free") == OK
    assert [message.sequence_num for message in ws.received(GATEWAY)] == [1, 2]


def test_sending_to_who_is_not_there(ws: Ws) -> None:
    env = Environment(principal("c"), principal("c"), START)
    text = f"Client with principal {BOB} doesn't have an open connection"
    with pytest.raises(WsError, match=text):
        ws.canister.send(env, BOB, b"x")
    with pytest.raises(WsError, match=text):
        ws.canister.close(env, BOB)


CLIENTS = [principal(f"client {number}") for number in range(4)]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(CLIENTS), st.sampled_from([GATEWAY, OTHER_GATEWAY]), st.binary(max_size=9))))
def test_nonces_count_per_gateway_and_sequence_numbers_per_client(
    script: list[tuple[Principal, Principal, bytes]],
) -> None:
    ws = Ws(Echo())
    home: dict[Principal, Principal] = {}
    said: dict[Principal, list[bytes]] = {}
    for client, gateway, content in script:
        if client not in home:
            home[client], said[client] = gateway, []
            assert ws.open(client, 1, gateway) == OK
        elif content not in (b"close", b"trap"):
            said[client].append(content)
            assert ws.message(client, len(said[client]), content) == OK
    for gateway in (GATEWAY, OTHER_GATEWAY):
        messages = ws.received(gateway)
        assert [m.key for m in messages] == [f"{gateway}_{nonce:020}" for nonce in range(len(messages))]
        for client in (c for c in home if home[c] == gateway):
            own = [m for m in messages if m.client_key[:-8] == client]
            assert [m.sequence_num for m in own] == list(range(1, len(own) + 1))
            assert [m.content for m in own[1:]] == said[client]


# --- polling ---


def test_a_stranger_gets_nothing_and_no_error(ws: Ws) -> None:
    ws.open(ALICE)
    empty = {"messages": [], "cert": b"", "tree": b"", "is_end_of_queue": True}
    for who, nonce in ((OTHER_GATEWAY, 0), (GATEWAY, 1), (GATEWAY, 2**64 - 1)):
        assert ws.query("ws_get_messages", who, {"nonce": nonce}) == {"Ok": empty}


@settings(max_examples=20)
@given(sent=st.integers(0, 25), limit=st.integers(1, 12), first=st.integers(0, 30))
def test_a_page_has_at_most_the_limit_and_says_whether_more_wait(sent: int, limit: int, first: int) -> None:
    ws = Ws(Echo(WsInitParams(max_number_of_returned_messages=limit)))
    ws.open(ALICE)
    for number in range(1, sent + 1):
        ws.message(ALICE, number, b"x")
    reply = ws.poll(GATEWAY, first)
    waiting = max(0, sent + 1 - first)
    assert [message.nonce for message in reply.messages] == list(range(first, first + min(limit, waiting)))
    assert reply.is_end_of_queue == (waiting <= limit)


def test_the_default_page_has_50_messages(ws: Ws) -> None:
    ws.open(ALICE)
    for number in range(1, 61):
        ws.message(ALICE, number, b"x")
    assert len(ws.poll(GATEWAY, 0).messages) == 50


def test_polling_replicated_traps(ws: Ws) -> None:
    ws.open(ALICE)
    with pytest.raises(Trap, match="data certificate"):
        ws.call("ws_get_messages", GATEWAY, {"nonce": 0})


# --- closing ---


def test_a_gateway_closes(ws: Ws) -> None:
    ws.open(ALICE)
    assert ws.close(GATEWAY, ALICE) == OK
    assert ws.canister.events == [("open", ALICE), ("close", ALICE)]
    assert len(ws.received(GATEWAY)) == 1


def test_a_gateway_closes_only_what_is_its_own(ws: Ws) -> None:
    assert ws.close(GATEWAY, ALICE) == {"Err": f"Gateway with principal {GATEWAY} is not registered"}
    ws.open(ALICE, 1, GATEWAY)
    ws.open(BOB, 1, OTHER_GATEWAY)
    no_connection = {"Err": f"Client with key {ALICE}_2 doesn't have an open connection"}
    assert ws.close(GATEWAY, ALICE, 2) == no_connection
    not_registered = {"Err": f"Client with key {ALICE}_1 was not registered to gateway {OTHER_GATEWAY}"}
    assert ws.close(OTHER_GATEWAY, ALICE) == not_registered
    assert ws.close(GATEWAY, ALICE) == OK


def test_the_application_closes(ws: Ws) -> None:
    ws.open(ALICE)
    assert ws.message(ALICE, 1, b"close") == OK
    assert service(ws.received(GATEWAY)[-1]) == closing("ClosedByApplication")
    assert ws.canister.events[-1] == ("close", ALICE)


# --- time ---


def test_every_client_is_acknowledged_every_interval(ws: Ws) -> None:
    ws.open(ALICE)
    ws.open(BOB)
    ws.message(ALICE, 1, b"x")
    ws.advance(ACK_S - 1)
    assert len(ws.received(GATEWAY)) == 3
    ws.advance(1)
    acknowledged = {m.client_key[:-8]: service(m) for m in ws.received(GATEWAY, 3)}
    assert acknowledged == {
        ALICE: {"AckMessage": {"last_incoming_sequence_num": 1}},
        BOB: {"AckMessage": {"last_incoming_sequence_num": 0}},
    }


def test_who_is_silent_after_an_acknowledgement_is_removed(ws: Ws) -> None:
    ws.open(ALICE)
    ws.open(BOB)
    ws.advance(ACK_S)
    assert ws.keep_alive(ALICE, 1) == OK
    ws.advance(KEEP_ALIVE_S)
    last = ws.received(GATEWAY)[-1]
    assert (last.client_key[:-8], service(last)) == (BOB, closing("KeepAliveTimeout"))
    assert ws.canister.events[-1] == ("close", BOB)
    assert ws.message(ALICE, 2, b"still here") == OK


def test_who_came_after_the_acknowledgement_is_not_expected_to_answer(ws: Ws) -> None:
    ws.advance(ACK_S)
    ws.open(ALICE)
    ws.advance(ACK_S - 1)
    assert ws.message(ALICE, 1, b"x") == OK


def test_a_client_that_answers_stays_for_ever(ws: Ws) -> None:
    ws.open(ALICE)
    for number in range(1, 6):
        ws.advance(ACK_S)
        assert ws.keep_alive(ALICE, number) == OK
    assert ws.message(ALICE, 6, b"x") == OK


def test_messages_older_than_an_interval_go_five_at_a_time(ws: Ws) -> None:
    ws.open(ALICE)
    for number in range(1, 10):
        ws.message(ALICE, number, b"old")
    ws.advance(ACK_S)
    assert ws.poll(GATEWAY, 0).messages[0].nonce == 0, "exactly one interval old is not older"
    ws.keep_alive(ALICE, 10)
    ws.advance(1)
    ws.message(ALICE, 11, b"new")
    assert ws.poll(GATEWAY, 0).messages[0].nonce == 5
    ws.message(ALICE, 12, b"newer")
    assert [m.content for m in ws.received(GATEWAY, 10)[1:]] == [b"new", b"newer"]
    assert ws.poll(GATEWAY, 0).messages[0].nonce == 10


def test_a_deserted_gateway_is_forgotten_with_its_messages(ws: Ws) -> None:
    ws.open(ALICE, 1, GATEWAY)
    ws.open(BOB, 1, OTHER_GATEWAY)
    ws.advance(1)
    ws.close(GATEWAY, ALICE)
    ws.advance(ACK_S - 1)
    ws.keep_alive(BOB, 1)
    ws.advance(KEEP_ALIVE_S - 1)
    assert len(ws.received(GATEWAY)) == 1
    ws.advance(1)
    assert ws.poll(GATEWAY, 0).messages == []
    assert ws.close(GATEWAY, ALICE) == {"Err": f"Gateway with principal {GATEWAY} is not registered"}
    assert ws.open(ALICE, 2, GATEWAY) == OK
    assert ws.received(GATEWAY)[0].key == f"{GATEWAY}_{0:020}", "the nonces begin again"
    assert len(ws.received(OTHER_GATEWAY)) == 2


def test_a_gateway_that_gets_a_client_again_in_time_keeps_its_nonces(ws: Ws) -> None:
    ws.open(ALICE)
    ws.close(GATEWAY, ALICE)
    ws.advance(ACK_S - 10)
    ws.open(ALICE, 2)
    ws.advance(KEEP_ALIVE_S + 10)
    assert ws.received(GATEWAY, 1)[0].key.endswith(f"_{1:020}")


def test_a_new_installation_forgets_everything(ws: Ws) -> None:
    ws.open(ALICE)
    ws.canister.install(b"", Environment(principal("c"), principal("c"), ws.now_ns))
    assert ws.poll(GATEWAY, 0).messages == []
    assert ws.open(ALICE) == OK


# --- clients that nobody here wrote ---


@pytest.mark.parametrize("session", ["session_0.4.1", "session_0.5.0"])
def test_what_the_real_sdk_sent_is_understood(ws: Ws, session: str) -> None:
    sent = [f for f in vectors.load_json(f"websocket/{session}.json")["frames"] if "arg" in f]
    assert {frame["what"] for frame in sent} == {"ws_open", "ws_message"}
    for frame in sent:
        env = ws._env(bytes.fromhex(frame["sender"]))
        reply = ws.canister.update(frame["what"], bytes.fromhex(frame["arg"]), env)
        assert CandidTypes("(variant {Ok; Err: text})").decode(reply) == (OK,)
