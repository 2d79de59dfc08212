"""The laws that v1 and v2 share: everything is legal or a violation, and nothing joins that did not verify."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import Verifier, encode_cbor
from appliance.errors import (
    CandidError,
    CanisterRefused,
    EnvelopeExpired,
    EnvelopeTooFarAhead,
    GatewayError,
    Malformed,
    ReplayedEnvelope,
    ReplyMalformed,
    SenderMismatch,
    SessionError,
    SignatureInvalid,
    TextFrame,
    WrongCanister,
    WrongGeneration,
    WrongMethod,
    WrongSender,
)
from appliance.protocol.enveloped import REMEMBERED
from appliance.protocol.envelopes import Envelopes
from appliance.protocol.events import Join, Opened, Poll, Relay, Send, VerificationFailed
from appliance.protocol.frames import Delivery
from appliance.protocol.session import Input, SessionContext, State, draw
from appliance.protocol.v1 import V1
from appliance.protocol.v2 import V2
from tests.gateway.clients import CANISTER, GATEWAY, OTHER_CANISTER, Client, greeting
from tests.gateway.fake_ic import OK, ROOT, err

NOW = time.time_ns()
"""The time of every test here: what is signed at the beginning must not expire while others run."""
DELIVERY = Delivery(b"frame", 7, 1)
KINDS = [V1, V2]
CLIENTS = {kind: Client(clock=lambda: NOW, generation=kind.name) for kind in KINDS}
OPENINGS = {kind: client.open() for kind, client in CLIENTS.items()}
BOTH = pytest.mark.parametrize("kind", KINDS)


def at(kind, state, mode="enforce"):
    """A session in this state."""
    it = kind(SessionContext(GATEWAY, Envelopes(Verifier(ROOT.public_key), mode)))
    steps = [it.connect, lambda: receive(it, OPENINGS[kind]), lambda: it.delivered(DELIVERY)]
    for step in steps[: list(State).index(state)]:
        step()
    assert it.state is state
    return it


def receive(it, frame):
    return it.receive(frame, now_ns=NOW)


@BOTH
def test_an_opening_message_joins_then_is_relayed_as_it_came(kind):
    it, client = at(kind, State.HELLO), CLIENTS[kind]
    join, poll, relay = receive(it, OPENINGS[kind])
    assert isinstance(join, Join)
    assert poll == Poll(None)
    assert isinstance(relay, Relay)
    assert join.generation == kind.name
    assert (join.canister_id, join.client_key) == (CANISTER, client.client_key)
    assert join.client == f"{client.principal}_{client.nonce}"
    assert join.after == (relay.call.sender if kind is V1 else b"")
    assert relay.call is join.opening
    assert relay.call.body.removeprefix(b"\xd9\xd9\xf7") in OPENINGS[kind]
    assert it.state is State.OPENING


@BOTH
@pytest.mark.parametrize("state", [State.OPENING, State.OPEN])
def test_messages_are_relayed_from_the_opening_on(kind, state):
    it = at(kind, state)
    (relay,) = receive(it, CLIENTS[kind].message(b"x"))
    assert isinstance(relay, Relay)
    assert relay.call.method_name == "ws_message"
    assert it.state is state


@BOTH
def test_the_first_delivery_opens_and_only_that(kind):
    it = at(kind, State.OPENING)
    assert it.answered("ws_open", OK) == []
    assert not it.is_open
    assert it.delivered(DELIVERY) == [Send(b"frame"), Opened()]
    assert it.is_open
    assert it.delivered(DELIVERY) == [Send(b"frame")]


def forgeries(kind):
    client = CLIENTS[kind]
    return {
        "signature": (client.open(break_signature=True), SignatureInvalid),
        "sender": (client.open(sender=Client().principal), SenderMismatch),
        "expired": (client.open(expiry_ns=NOW - 10**9), EnvelopeExpired),
        "too far ahead": (client.open(expiry_ns=NOW + 3600 * 10**9), EnvelopeTooFarAhead),
        "anonymous": (client.open(sender=b"\x04"), Malformed),
        "wrong method": (client.message(), WrongMethod),
        "method of the gateway": (client.call("ws_close", b"DIDL\x00\x00"), WrongMethod),
        "argument": (client.call("ws_open", b"DIDL\x00\x00"), CandidError),
        "opening of v0": (encode_cbor({"content": b"content", "sig": b"signature"}), WrongGeneration),
        "garbage": (b"garbage", Malformed),
        "nothing": (b"", Malformed),
        "trailing byte": (OPENINGS[kind] + b"\x00", Malformed),
        "greeting": (greeting(), Malformed),
    }


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in forgeries(kind)])
def test_what_does_not_verify_as_an_opening_joins_nothing(kind, name):
    frame, error = forgeries(kind)[name]
    it = at(kind, State.HELLO)
    with pytest.raises(error):
        receive(it, frame)
    assert it.state is State.HELLO
    assert it.close_call() is None


@pytest.mark.parametrize(("kind", "other"), [(V1, V2), (V2, V1)])
def test_a_client_of_the_other_generation_is_told_so(kind, other):
    it = at(kind, State.HELLO)
    with pytest.raises(
        WrongGeneration, match=f"serves clients of {kind.name}; connect to /{other.name} for {other.name}"
    ):
        receive(it, OPENINGS[other])
    assert it.close_call() is None


@BOTH
@pytest.mark.parametrize("state", [State.HELLO, State.OPENING, State.OPEN])
@pytest.mark.parametrize("method", ["ws_open", "ws_message", "ws_close", "transfer"])
def test_a_wrong_method_is_named_with_the_one_that_was_expected(kind, state, method):
    client, expected = CLIENTS[kind], "ws_open" if state is State.HELLO else "ws_message"
    if method == expected:
        return
    frame = {"ws_open": client.open, "ws_message": client.message}.get(
        method, lambda: client.call(method, b"DIDL\x00\x00")
    )()
    with pytest.raises(WrongMethod) as caught:
        receive(at(kind, state), frame)
    assert (caught.value.method, caught.value.expected) == (method, expected)


@BOTH
@pytest.mark.parametrize("state", [State.OPENING, State.OPEN])
def test_later_messages_are_only_the_sessions_own(kind, state):
    client, it = CLIENTS[kind], at(kind, state)
    for frame, error in [
        (client.message(canister=OTHER_CANISTER), WrongCanister),
        (Client(clock=lambda: NOW).message(), WrongSender),
        (OPENINGS[kind], WrongMethod),
        (client.open(), WrongMethod),
        (client.call("transfer", b"DIDL\x00\x00"), WrongMethod),
        (client.message(break_signature=True), SignatureInvalid),
        (client.message(expiry_ns=NOW - 10**9), EnvelopeExpired),
    ]:
        with pytest.raises(error):
            receive(it, frame)
        assert it.state is state


@BOTH
@pytest.mark.parametrize("state", [State.OPENING, State.OPEN])
def test_a_replayed_message_is_refused(kind, state):
    client, it = CLIENTS[kind], at(kind, state)
    frames = [client.message() for _ in range(REMEMBERED)]
    for frame in frames:
        receive(it, frame)
    for frame in (frames[0], frames[-1]):
        with pytest.raises(ReplayedEnvelope):
            receive(it, frame)


@given(st.sampled_from(KINDS), st.sampled_from(State), st.sampled_from(Input))
def test_every_input_is_legal_or_a_violation(kind, state, what):
    it, client = at(kind, state), CLIENTS[kind]
    feed = {
        Input.CONNECT: it.connect,
        Input.OPENING: lambda: receive(it, OPENINGS[kind]),
        Input.MESSAGE: lambda: receive(it, client.message()),
        Input.OTHER: lambda: receive(it, client.call("other", b"DIDL\x00\x00")),
        Input.TEXT: it.receive_text,
        Input.ACCEPTED: lambda: it.answered("ws_open", OK),
        Input.DELIVERY: lambda: it.delivered(DELIVERY),
    }[what]
    if (state, what) in kind.table:
        assert isinstance(feed(), list)
        assert it.state is kind.table[state, what].then
    else:
        with pytest.raises(TextFrame if what is Input.TEXT else SessionError):
            feed()
        assert it.state is state


@given(st.sampled_from(KINDS), st.binary(max_size=300), st.sampled_from([State.HELLO, State.OPENING, State.OPEN]))
def test_any_bytes_raise_an_error_of_ours_and_change_nothing(kind, data, state):
    it = at(kind, state)
    with pytest.raises(GatewayError):
        receive(it, data)
    assert it.state is state


@given(st.sampled_from(KINDS), st.data())
def test_any_change_of_a_byte_of_an_opening_joins_nothing(kind, data):
    opening = OPENINGS[kind]
    index = data.draw(st.integers(0, len(opening) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != opening[index]))
    it = at(kind, State.HELLO)
    with pytest.raises(GatewayError):
        receive(it, opening[:index] + bytes([value]) + opening[index + 1 :])
    assert it.state is State.HELLO


@BOTH
def test_report_lets_through_and_says_what_was_wrong(kind):
    it, client = at(kind, State.HELLO, mode="report"), CLIENTS[kind]
    doubted, join, _, relay = receive(it, client.open(break_signature=True))
    assert isinstance(doubted, VerificationFailed)
    assert isinstance(doubted.error, SignatureInvalid)
    assert isinstance(join, Join)
    assert isinstance(relay, Relay)
    assert not any(isinstance(event, VerificationFailed) for event in receive(it, client.message()))


@BOTH
def test_report_still_wants_an_envelope(kind):
    it = at(kind, State.HELLO, mode="report")
    with pytest.raises(Malformed):
        receive(it, b"garbage")


@BOTH
def test_off_does_not_look_at_signatures(kind):
    events = receive(at(kind, State.HELLO, mode="off"), CLIENTS[kind].open(break_signature=True))
    assert [type(event) for event in events] == [Join, Poll, Relay]


@BOTH
def test_answers(kind):
    it = at(kind, State.OPENING)
    assert it.answered("ws_open", OK) == it.answered("ws_open", None) == it.answered("ws_message", OK) == []
    with pytest.raises(CanisterRefused, match="ws_message: no such client"):
        it.answered("ws_message", err("no such client"))
    with pytest.raises(ReplyMalformed, match="answer of ws_open"):
        it.answered("ws_open", b"nonsense")
    assert it.refused() == []


@BOTH
def test_the_canister_is_told_who_left(kind):
    call, client = at(kind, State.OPEN).close_call(), CLIENTS[kind]
    assert call is not None
    assert (call.canister_id, call.method_name) == (CANISTER, "ws_close")
    assert bytes(client.principal) in call.arg
    assert client.nonce.to_bytes(8, "little") in call.arg


@BOTH
def test_the_drawing_has_every_transition(kind):
    lines = draw(kind).splitlines()
    assert len(lines) == 2 + len(kind.table)
    assert "    hello --> opening: opening message / join" in lines
