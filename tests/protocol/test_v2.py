"""The laws of generation v2: everything is legal or a violation, and nothing joins that did not verify."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import CandidTypes, Verifier, encode_cbor
from appliance.errors import (
    CandidError,
    CanisterRefused,
    EnvelopeExpired,
    EnvelopeTooFarAhead,
    GatewayError,
    Malformed,
    ReplayedEnvelope,
    SenderMismatch,
    SessionError,
    SignatureInvalid,
    TextFrame,
    WrongCanister,
    WrongGateway,
    WrongGeneration,
    WrongMethod,
    WrongSender,
)
from appliance.ic.principal import Principal
from appliance.protocol.enveloped import REMEMBERED
from appliance.protocol.envelopes import Envelopes
from appliance.protocol.events import Doubted, Join, Opened, Poll, Relay, Send
from appliance.protocol.session import Delivery, Input, State, Terms, draw
from appliance.protocol.v2 import V2
from tests import vectors
from tests.gateway.clients import CANISTER, GATEWAY, OTHER_CANISTER, Client, greeting, payload_of
from tests.gateway.fake_ic import OK, ROOT, err

OPEN_V1 = CandidTypes("(record {client_nonce: nat64})")
VERIFIER = Verifier(ROOT.public_key)
NOW = time.time_ns()
"""The time of every test here: what is signed at the beginning must not expire while others run."""
CLIENT = Client(clock=lambda: NOW)
OPENING = CLIENT.open()
DELIVERY = Delivery(b"frame", 7)


def session(mode="enforce", gateway=GATEWAY, verifier=VERIFIER):
    return V2(Terms(gateway, Envelopes(verifier, mode)))


def at(state, **options):
    """A session of CLIENT in this state."""
    it = session(**options)
    steps = [it.connect, lambda: receive(it, OPENING), lambda: it.delivered(DELIVERY)]
    for step in steps[: list(State).index(state)]:
        step()
    assert it.state is state
    return it


def receive(it, frame, now_ns=None):
    return it.receive(frame, now_ns=now_ns or NOW)


def test_greets_with_the_gateways_principal():
    (send,) = session().connect()
    assert isinstance(send, Send)
    assert payload_of(send.frame) == greeting()


def test_opening_message_joins_then_is_relayed_as_it_came():
    it = at(State.HELLO)
    join, poll, relay = receive(it, OPENING)
    assert isinstance(join, Join)
    assert poll == Poll(None)
    assert isinstance(relay, Relay)
    assert join.generation == "v2"
    assert (join.canister_id, join.client_key) == (CANISTER, CLIENT.client_key)
    assert join.client == f"{CLIENT.principal}_{CLIENT.nonce}"
    assert relay.call is join.opening
    assert relay.call.body.removeprefix(b"\xd9\xd9\xf7") in OPENING
    assert it.state is State.OPENING


@pytest.mark.parametrize("state", [State.OPENING, State.OPEN])
def test_messages_are_relayed_from_the_opening_on(state):
    it = at(state)
    (relay,) = receive(it, CLIENT.message(b"x"))
    assert isinstance(relay, Relay)
    assert relay.call.method_name == "ws_message"
    assert it.state is state


def test_the_first_delivery_opens_and_only_that():
    it = at(State.OPENING)
    assert it.delivered(DELIVERY) == [Send(b"frame"), Opened()]
    assert it.is_open
    assert it.delivered(DELIVERY) == [Send(b"frame")]


FORGERIES = {
    "signature": (CLIENT.open(break_signature=True), SignatureInvalid),
    "sender": (CLIENT.open(sender=Client().principal), SenderMismatch),
    "expired": (CLIENT.open(expiry_ns=NOW - 10**9), EnvelopeExpired),
    "too far ahead": (CLIENT.open(expiry_ns=NOW + 3600 * 10**9), EnvelopeTooFarAhead),
    "anonymous": (CLIENT.open(sender=b"\x04"), Malformed),
    "other gateway": (CLIENT.open(gateway=Client().principal), WrongGateway),
    "wrong method": (CLIENT.message(), WrongMethod),
    "method of the gateway": (CLIENT.call("ws_close", b"DIDL\x00\x00"), WrongMethod),
    "argument": (CLIENT.call("ws_open", b"DIDL\x00\x00"), CandidError),
    "opening of v1": (CLIENT.call("ws_open", OPEN_V1.encode({"client_nonce": 1})), WrongGeneration),
    "opening of v0": (encode_cbor({"content": b"content", "sig": b"signature"}), WrongGeneration),
    "garbage": (b"garbage", Malformed),
    "nothing": (b"", Malformed),
    "trailing byte": (OPENING + b"\x00", Malformed),
    "greeting": (greeting(), Malformed),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_does_not_verify_as_an_opening_joins_nothing(name):
    frame, error = FORGERIES[name]
    it = at(State.HELLO)
    with pytest.raises(error):
        receive(it, frame)
    assert it.state is State.HELLO
    assert it.close_call() is None


@pytest.mark.parametrize("state", [State.OPENING, State.OPEN])
@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (CLIENT.message(canister=OTHER_CANISTER), WrongCanister),
        (Client(clock=lambda: NOW).message(), WrongSender),
        (OPENING, WrongMethod),
        (CLIENT.open(), WrongMethod),
        (CLIENT.call("transfer", b"DIDL\x00\x00"), WrongMethod),
        (CLIENT.message(break_signature=True), SignatureInvalid),
        (CLIENT.message(expiry_ns=NOW - 10**9), EnvelopeExpired),
    ],
)
def test_later_messages_are_only_the_sessions_own(state, frame, error):
    it = at(state)
    with pytest.raises(error):
        receive(it, frame)
    assert it.state is state


@given(st.sampled_from(State), st.sampled_from(Input))
def test_every_input_is_legal_or_a_violation(state, what):
    it = at(state)
    feed = {
        Input.CONNECT: it.connect,
        Input.OPENING: lambda: receive(it, OPENING),
        Input.MESSAGE: lambda: receive(it, CLIENT.message()),
        Input.OTHER: lambda: receive(it, CLIENT.call("other", b"DIDL\x00\x00")),
        Input.TEXT: it.receive_text,
        Input.ACCEPTED: lambda: it.answered("ws_open", OK),
        Input.DELIVERY: lambda: it.delivered(DELIVERY),
    }[what]
    if (state, what) in V2.table:
        assert isinstance(feed(), list)
        assert it.state is V2.table[state, what].then
    else:
        with pytest.raises(TextFrame if what is Input.TEXT else SessionError):
            feed()
        assert it.state is state


@given(st.binary(max_size=300), st.sampled_from([State.HELLO, State.OPENING, State.OPEN]))
def test_any_bytes_raise_an_error_of_ours_and_change_nothing(data, state):
    it = at(state)
    with pytest.raises(GatewayError):
        receive(it, data)
    assert it.state is state


@given(st.data())
def test_any_change_of_a_byte_of_an_opening_joins_nothing(data):
    index = data.draw(st.integers(0, len(OPENING) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != OPENING[index]))
    it = at(State.HELLO)
    with pytest.raises(GatewayError):
        receive(it, OPENING[:index] + bytes([value]) + OPENING[index + 1 :])
    assert it.state is State.HELLO


@pytest.mark.parametrize("state", [State.OPENING, State.OPEN])
def test_a_replayed_message_is_refused_and_the_session_goes_on(state):
    it = at(state)
    frames = [CLIENT.message() for _ in range(REMEMBERED)]
    for frame in frames:
        receive(it, frame)
    for frame in (frames[0], frames[-1]):
        with pytest.raises(ReplayedEnvelope):
            receive(it, frame)
    assert receive(it, CLIENT.message())


def test_report_lets_through_and_says_what_was_wrong():
    it = at(State.HELLO, mode="report")
    doubted, join, _, relay = receive(it, CLIENT.open(break_signature=True))
    assert isinstance(doubted, Doubted)
    assert isinstance(doubted.error, SignatureInvalid)
    assert isinstance(join, Join)
    assert isinstance(relay, Relay)
    assert not any(isinstance(event, Doubted) for event in receive(it, CLIENT.message()))


def test_report_still_wants_an_envelope():
    it = at(State.HELLO, mode="report")
    with pytest.raises(Malformed):
        receive(it, b"garbage")


def test_off_does_not_look_at_signatures():
    join, _, relay = receive(at(State.HELLO, mode="off"), CLIENT.open(break_signature=True))
    assert isinstance(join, Join)
    assert isinstance(relay, Relay)


def test_answers():
    it = at(State.OPENING)
    it.answered("ws_open", OK)
    it.answered("ws_open", None)
    with pytest.raises(CanisterRefused, match="ws_message: no such client"):
        it.answered("ws_message", err("no such client"))
    with pytest.raises(CandidError):
        it.answered("ws_open", b"nonsense")


def test_the_canister_is_told_who_left():
    call = at(State.OPEN).close_call()
    assert call is not None
    assert (call.canister_id, call.method_name) == (CANISTER, "ws_close")
    assert bytes(CLIENT.principal) in call.arg
    assert CLIENT.nonce.to_bytes(8, "little") in call.arg


def test_the_drawing_has_every_transition():
    lines = draw(V2).splitlines()
    assert len(lines) == 2 + len(V2.table)
    assert "    hello --> opening: opening message / join" in lines


@pytest.mark.parametrize("name", ["session_sdk_0.4.1.json", "session_sdk_0.5.0.json"])
def test_recorded_clients_are_understood(name):
    recorded = vectors.load_json(f"websocket/{name}")
    it = session(gateway=Principal(b"\x22" * 28 + b"\x02"), verifier=Verifier(bytes.fromhex(recorded["root_key_der"])))
    for frame in recorded["frames"]:
        if not frame["kind"].startswith("WS binary"):
            continue
        data = bytes.fromhex(frame["hex"])
        if frame["what"] == "handshake":
            assert payload_of(it.connect()[0].frame) == data
        elif frame["dir"] == "gateway->client":
            it.delivered(DELIVERY)
        else:
            relay = receive(it, data, now_ns=int(frame["ingress_expiry"]) - 60 * 10**9)[-1]
            assert relay.call.request_id.hex() == frame["request_id"]
            assert relay.call.sender.hex() == frame["sender"]
    assert it.is_open
