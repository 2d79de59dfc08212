"""The laws of v0: a key that shows itself, the gateway's own calls, and nothing that is not the client's."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import CandidTypes, Verifier, encode_cbor
from appliance.errors import (
    CanisterRefused,
    GatewayError,
    Malformed,
    NotOpenYet,
    OutOfOrder,
    ReplyMalformed,
    SessionError,
    SignatureInvalid,
    TextFrame,
    UntimelyMessage,
    WrongGeneration,
    WrongSender,
)
from appliance.protocol import v0
from appliance.protocol.envelopes import Envelopes
from appliance.protocol.events import Deliver, Join, Opened, Poll, Relay, Send, VerificationFailed
from appliance.protocol.frames import Delivery, text_frame
from appliance.protocol.session import Input, SessionContext, State, draw
from appliance.protocol.v0 import V0
from tests import vectors
from tests.gateway.clients import CANISTER, GATEWAY, Client, ClientV0, greeting
from tests.gateway.fake_ic import ROOT, err

OK = CandidTypes("(variant {Ok; Err: text})").encode({"Ok": None})
OPENED = CandidTypes("(variant {Ok: record {client_key: blob; canister_id: principal; nonce: nat64}; Err: text})")
OPEN = CandidTypes("(record {msg: blob; sig: blob})")
MESSAGE = CandidTypes(
    "(record {msg: variant {RelayedByGateway: record {content: blob; sig: blob}; IcWebSocketEstablished: blob}})"
)
ERR = CandidTypes("(variant {Ok; Err: text})")
NOW = time.time_ns()
CLIENT = ClientV0(clock=lambda: NOW)
FIRST = CLIENT.first()
NONCE = 40
STATES = st.sampled_from(State)


def opened(nonce=NONCE, client=CLIENT):
    return OPENED.encode({"Ok": {"client_key": client.client_key, "canister_id": CANISTER, "nonce": nonce}})


def at(state, mode="enforce", verifier=None):
    """A session of CLIENT in this state."""
    it = V0(SessionContext(GATEWAY, Envelopes(verifier or Verifier(ROOT.public_key), mode)))
    steps = [it.connect, lambda: receive(it, FIRST), lambda: it.answered("ws_open", opened())]
    for step in steps[: list(State).index(state)]:
        step()
    assert it.state is state
    return it


def receive(it, frame, now_ns=NOW):
    return it.receive(frame, now_ns=now_ns)


def msg_of(call):
    assert call.canister_id == CANISTER
    assert call.method_name == "ws_message"
    return MESSAGE.decode(call.arg)[0]["msg"]


def test_says_nothing_first():
    assert V0(SessionContext(GATEWAY, Envelopes(Verifier(ROOT.public_key)))).connect() == []


def test_the_first_message_joins_and_the_gateway_opens_with_what_was_signed():
    it = at(State.HELLO)
    join, relay = receive(it, FIRST)
    assert isinstance(join, Join)
    assert isinstance(relay, Relay)
    assert (join.generation, join.canister_id, join.client_key) == ("v0", CANISTER, CLIENT.client_key)
    assert join.client == CLIENT.client_key.hex()
    assert relay.call is join.opening
    assert (relay.call.canister_id, relay.call.method_name) == (CANISTER, "ws_open")
    (arg,) = OPEN.decode(relay.call.arg)
    assert encode_cbor({"content": arg["msg"], "sig": arg["sig"]}) == FIRST
    assert it.state is State.OPENING


def test_the_canisters_yes_opens_polls_from_its_nonce_and_announces_the_client():
    it = at(State.OPENING)
    poll, one, established, is_open = it.answered("ws_open", opened())
    assert (poll, one, is_open) == (Poll(NONCE), Send(text_frame("1")), Opened())
    assert msg_of(established.call) == {"IcWebSocketEstablished": CLIENT.client_key}
    assert it.is_open


@pytest.mark.parametrize(
    ("reply", "error"),
    [(OPENED.encode({"Err": "who?"}), CanisterRefused), (b"nonsense", ReplyMalformed), (None, ReplyMalformed)],
)
def test_anything_but_yes_opens_nothing(reply, error):
    it = at(State.OPENING)
    with pytest.raises(error):
        it.answered("ws_open", reply)
    assert not it.is_open
    assert it.refused() == [Send(text_frame("0"))]


@pytest.mark.parametrize("method", ["ws_open", "ws_message", "ws_close"])
def test_a_refusal_names_the_method_that_was_refused(method):
    it = at(State.OPENING if method == "ws_open" else State.OPEN)
    with pytest.raises(CanisterRefused) as caught:
        it.answered(method, (OPENED if method == "ws_open" else ERR).encode({"Err": "no"}))
    assert str(caught.value) == f"{method}: no"


def test_messages_go_on_as_they_were_signed():
    it, client = at(State.OPEN), ClientV0(key=CLIENT.key, clock=lambda: NOW)
    for _ in range(3):
        frame = client.message(b"payload")
        (relay,) = receive(it, frame)
        relayed = msg_of(relay.call)["RelayedByGateway"]
        assert encode_cbor({"content": relayed["content"], "sig": relayed["sig"]}) == frame


FORGERIES = {
    "signature": (CLIENT.first(break_signature=True), SignatureInvalid),
    "another's key": (ClientV0().signed({"canister_id": CANISTER, "client_key": CLIENT.client_key}), SignatureInvalid),
    "short key": (CLIENT.signed({"canister_id": CANISTER, "client_key": b"short"}), Malformed),
    "no canister": (CLIENT.signed({"client_key": CLIENT.client_key}), Malformed),
    "a message": (CLIENT.message(number=0), Malformed),
    "opening of v1": (Client(generation="v1").open(), WrongGeneration),
    "opening of v2": (Client().open(), WrongGeneration),
    "garbage": (b"garbage", Malformed),
    "nothing": (b"", Malformed),
    "greeting": (greeting(), Malformed),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_does_not_verify_as_a_first_message_joins_nothing(name):
    frame, error = FORGERIES[name]
    it = at(State.HELLO)
    with pytest.raises(error):
        receive(it, frame)
    assert it.state is State.HELLO
    assert it.close_call() is None


STRANGER = ClientV0(clock=lambda: NOW)
LATER = [
    (CLIENT.message(number=0, break_signature=True), SignatureInvalid),
    (STRANGER.message(number=0), WrongSender),
    (STRANGER.message(number=0, client_key=CLIENT.client_key), SignatureInvalid),
    (CLIENT.message(number=1), OutOfOrder),
    (CLIENT.message(number=0, at_ns=NOW - v0.MAX_AGE_NS - 1), UntimelyMessage),
    (CLIENT.message(number=0, at_ns=NOW + v0.MAX_AGE_NS + 1), UntimelyMessage),
    (FIRST, Malformed),
    (CLIENT.signed({"client_key": CLIENT.client_key, "sequence_num": -1, "timestamp": NOW, "message": b""}), Malformed),
    (CLIENT.signed({"client_key": CLIENT.client_key, "sequence_num": 0, "timestamp": NOW, "message": "x"}), Malformed),
    (encode_cbor({"content": b"", "sig": b""}), Malformed),
    (Client().message(), Malformed),
]


@pytest.mark.parametrize(("frame", "error"), LATER)
def test_later_messages_are_only_the_sessions_own(frame, error):
    it = at(State.OPEN)
    with pytest.raises(error):
        receive(it, frame)
    assert receive(it, CLIENT.message(number=0))


def test_a_repeated_message_is_refused_and_one_that_overtakes():
    it = at(State.OPEN)
    first = CLIENT.message(number=0)
    receive(it, first)
    for frame in (first, CLIENT.message(number=2)):
        with pytest.raises(OutOfOrder):
            receive(it, frame)
    receive(it, CLIENT.message(number=1))


@given(st.integers(-v0.MAX_AGE_NS, v0.MAX_AGE_NS))
def test_messages_are_timely_within_the_limit_either_way(off_ns):
    assert receive(at(State.OPEN), CLIENT.message(number=0, at_ns=NOW + off_ns))


def test_no_message_is_taken_before_the_answer():
    it = at(State.OPENING)
    with pytest.raises(NotOpenYet):
        receive(it, CLIENT.message(number=0))
    assert it.state is State.OPENING


@given(st.lists(st.integers(NONCE - 5, NONCE + 5), unique=True).map(sorted))
def test_what_comes_before_the_answer_is_held_and_what_is_of_an_earlier_session_dropped(nonces):
    it = at(State.OPENING)
    for nonce in nonces:
        assert it.delivered(Delivery(b"%d" % nonce, nonce, 1)) == []
    _, one, *kept, _, _ = it.answered("ws_open", opened())
    assert one == Send(text_frame("1"))
    assert kept == [Deliver(Delivery(b"%d" % nonce, nonce, 1)) for nonce in nonces if nonce >= NONCE]
    assert it.delivered(Delivery(b"next", NONCE + 6, 1)) == [Send(b"next")]


@given(STATES, st.sampled_from(Input))
def test_every_input_is_legal_or_a_violation(state, what):
    it = at(state)
    feed = {
        Input.CONNECT: it.connect,
        Input.OPENING: lambda: receive(it, FIRST),
        Input.MESSAGE: lambda: receive(it, CLIENT.message(number=0)),
        Input.OTHER: lambda: receive(it, Client().call("other", b"DIDL\x00\x00")),
        Input.TEXT: it.receive_text,
        Input.ACCEPTED: lambda: it.answered("ws_open", opened()),
        Input.DELIVERY: lambda: it.delivered(Delivery(b"", NONCE, 1)),
    }[what]
    if (state, what) in V0.table:
        assert isinstance(feed(), list)
        assert it.state is V0.table[state, what].then
    else:
        with pytest.raises(TextFrame if what is Input.TEXT else (SessionError, Malformed)):
            feed()
        assert it.state is state


@given(st.binary(max_size=300), st.sampled_from([State.HELLO, State.OPENING, State.OPEN]))
def test_any_bytes_raise_an_error_of_ours_and_change_nothing(data, state):
    it = at(state)
    with pytest.raises(GatewayError):
        receive(it, data)
    assert it.state is state


@given(st.data(), st.sampled_from([(State.HELLO, FIRST), (State.OPEN, CLIENT.message(number=0))]))
def test_any_change_of_a_byte_is_refused(data, subject):
    state, frame = subject
    index = data.draw(st.integers(0, len(frame) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != frame[index]))
    it = at(state)
    with pytest.raises(GatewayError):
        receive(it, frame[:index] + bytes([value]) + frame[index + 1 :])
    assert it.state is state


def test_report_lets_through_and_says_what_was_wrong():
    it = at(State.HELLO, mode="report")
    doubted, join, _ = receive(it, CLIENT.first(break_signature=True))
    assert isinstance(doubted.error, SignatureInvalid)
    assert isinstance(join, Join)
    it.answered("ws_open", opened())
    doubted, _ = receive(it, CLIENT.message(number=0, at_ns=1))
    assert isinstance(doubted, VerificationFailed)
    assert isinstance(doubted.error, UntimelyMessage)
    with pytest.raises(Malformed):
        receive(it, b"garbage")


def test_off_does_not_look_at_signatures_nor_times():
    it = at(State.HELLO, mode="off")
    assert [type(event) for event in receive(it, CLIENT.first(break_signature=True))] == [Join, Relay]
    it.answered("ws_open", opened())
    assert [type(event) for event in receive(it, CLIENT.message(number=0, at_ns=1, break_signature=True))] == [Relay]


def test_answers_to_messages():
    it = at(State.OPEN)
    assert it.answered("ws_message", OK) == it.answered("ws_message", None) == it.answered("ws_close", OK) == []
    with pytest.raises(CanisterRefused, match="ws_message: who"):
        it.answered("ws_message", err("who"))


def test_the_canister_is_told_who_left():
    call = at(State.OPENING).close_call()
    assert call is not None
    assert (call.canister_id, call.method_name) == (CANISTER, "ws_close")
    assert CandidTypes("(record {client_key: blob})").decode(call.arg) == ({"client_key": CLIENT.client_key},)


def test_the_drawing_has_every_transition():
    lines = draw(V0).splitlines()
    assert len(lines) == 2 + len(V0.table)
    assert "    opening --> open: canister accepts / establish" in lines


def test_the_first_messages_of_the_vectors():
    for case in vectors.load_json("websocket/first_messages.json")["cases"]:
        it = at(State.HELLO)
        frame = case.get("frame_hex")
        if case["verdict"] == "accept":
            assert isinstance(receive(it, bytes.fromhex(frame))[0], Join)
        else:
            with pytest.raises(GatewayError):
                it.receive_text() if frame is None else receive(it, bytes.fromhex(frame))


def test_the_recorded_client_is_understood():
    recorded = vectors.load_json("websocket/session_62dcec3.json")
    (first,) = [f for f in recorded["frames"] if f["dir"] == "client->gateway" and f["kind"] == "WS binary"]
    it = at(State.HELLO, verifier=Verifier(bytes.fromhex(recorded["root_key_der"])))
    join, relay = receive(it, bytes.fromhex(first["hex"]))
    assert join.canister_id == CANISTER
    assert relay.call.method_name == "ws_open"
