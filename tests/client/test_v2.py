"""The session of wire generation v2, with a canister that signs whatever a lying gateway would need."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.client.errors import (
    AckInvalid,
    AckTimeout,
    ClosedByApplication,
    ClosedByCanister,
    MessageError,
    MessageForOther,
    MessageLate,
    MessageUntrusted,
    NotOpen,
    SequenceGap,
    SequenceRepeated,
    ServiceMessageInvalid,
)
from appliance.client.session import Limits, Opened, Received, Send, State
from appliance.client.v2 import SessionV2
from appliance.crypto import BlsSecretKey, decode_cbor, encode_cbor
from appliance.errors import (
    CertificateSignatureInvalid,
    CertificateStale,
    Malformed,
    MessageNotCertified,
    OpenTimeout,
)
from appliance.ic.principal import Principal
from tests.client.canister import (
    CANISTER_ID,
    CLIENT,
    GATEWAY,
    HANDSHAKE,
    NONCE,
    NOW_NS,
    SECOND_NS,
    SERVICE,
    WS_OPEN,
    Canister,
    certified,
    message_of,
    opened_session,
    sent,
    verifier,
)


def new_session(limits: Limits | None = None) -> SessionV2:
    return SessionV2(CANISTER_ID, CLIENT, verifier(), client_nonce=NONCE, now_ns=NOW_NS, limits=limits)


def frame_of(events: list[object]) -> bytes:
    (event,) = events
    assert isinstance(event, Send)
    return event.frame


# --- opening --------------------------------------------------------------------------------------------------------


def test_the_handshake_is_answered_with_a_signed_ws_open() -> None:
    session = new_session()
    request = sent(frame_of([*session.receive(HANDSHAKE, now_ns=NOW_NS)]))
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
    session = new_session()
    with pytest.raises(Malformed):
        session.receive(frame, now_ns=NOW_NS)
    assert session.state is State.CLOSED


def test_nothing_is_sent_before_the_canister_opened() -> None:
    session = new_session()
    with pytest.raises(NotOpen):
        session.send(b"DIDL\x00\x00", now_ns=NOW_NS)
    session.receive(HANDSHAKE, now_ns=NOW_NS)
    with pytest.raises(NotOpen):
        session.send(b"DIDL\x00\x00", now_ns=NOW_NS)
    assert session.receive(Canister().open(), now_ns=NOW_NS) == [Opened()]
    assert message_of(session.send(b"DIDL\x00\x00", now_ns=NOW_NS).frame)["sequence_num"] == 1


@pytest.mark.parametrize("make", [lambda c: c.message(b"DIDL\x00\x00"), lambda c: c.ack(0)])
def test_the_first_message_must_be_the_open_message(make: Callable[[Canister], bytes]) -> None:
    session = new_session()
    session.receive(HANDSHAKE, now_ns=NOW_NS)
    with pytest.raises(ServiceMessageInvalid):
        session.receive(make(Canister()), now_ns=NOW_NS)


def test_the_open_message_must_name_this_client() -> None:
    session, canister = new_session(), Canister()
    session.receive(HANDSHAKE, now_ns=NOW_NS)
    other = {"client_principal": GATEWAY, "client_nonce": NONCE}
    with pytest.raises(ServiceMessageInvalid, match="another client"):
        session.receive(canister.service({"OpenMessage": {"client_key": other}}), now_ns=NOW_NS)


def test_a_canister_that_does_not_open_in_time_is_given_up() -> None:
    session = new_session(Limits(open_ns=5 * SECOND_NS))
    session.receive(HANDSHAKE, now_ns=NOW_NS + SECOND_NS)
    assert session.deadline_ns == NOW_NS + 6 * SECOND_NS
    session.check(now_ns=NOW_NS + 6 * SECOND_NS - 1)
    with pytest.raises(OpenTimeout, match="canister"):
        session.check(now_ns=NOW_NS + 6 * SECOND_NS)
    assert session.state is State.CLOSED


def test_a_gateway_that_does_not_greet_in_time_is_given_up() -> None:
    session = new_session(Limits(open_ns=5 * SECOND_NS))
    session.check(now_ns=NOW_NS + 5 * SECOND_NS - 1)
    with pytest.raises(OpenTimeout, match="handshake"):
        session.check(now_ns=NOW_NS + 5 * SECOND_NS)
    assert session.state is State.CLOSED


# --- the lies of a gateway ------------------------------------------------------------------------------------------


def deliver(session: SessionV2, frame: bytes, now_ns: int = NOW_NS) -> None:
    """The session must not take the frame as a message."""
    session.receive(frame, now_ns=now_ns)


def test_a_dropped_message_is_a_gap() -> None:
    canister = Canister()
    session = opened_session(canister)
    canister.message(b"lost")
    with pytest.raises(SequenceGap) as caught:
        deliver(session, canister.message(b"next"))
    assert (caught.value.expected, caught.value.received) == (2, 3)
    assert "1 lost" in str(caught.value)


def test_a_repeated_message_is_refused() -> None:
    canister = Canister()
    session = opened_session(canister)
    frame = canister.message(b"once")
    session.receive(frame, now_ns=NOW_NS)
    with pytest.raises(SequenceRepeated) as caught:
        deliver(session, frame)
    assert (caught.value.expected, caught.value.received) == (3, 2)


def test_messages_in_another_order_are_refused() -> None:
    canister = Canister()
    session = opened_session(canister)
    first, second = canister.message(b"first"), canister.message(b"second")
    with pytest.raises(SequenceGap):
        deliver(session, second)
    with pytest.raises(NotOpen):
        deliver(session, first)


def test_a_message_held_back_is_late() -> None:
    canister = Canister()
    session = opened_session(canister)
    later = NOW_NS + 301 * SECOND_NS
    canister.now_ns = later  # the canister certifies old messages anew as long as it keeps them
    with pytest.raises(MessageLate) as caught:
        deliver(session, canister.message(b"old", timestamp_ns=NOW_NS), later)
    assert caught.value.age_ns == 301 * SECOND_NS


def test_a_message_with_an_old_certificate_is_not_trusted() -> None:
    canister = Canister()
    session = opened_session(canister)
    with pytest.raises(MessageUntrusted) as caught:
        deliver(session, canister.message(b"old"), NOW_NS + 301 * SECOND_NS)
    assert isinstance(caught.value.cause, CertificateStale)


def test_a_message_signed_by_another_network_is_not_trusted() -> None:
    forger = Canister(root=BlsSecretKey.from_seed(b"the root key of somebody else entirely"), sequence_num=1)
    with pytest.raises(MessageUntrusted) as caught:
        deliver(opened_session(), forger.message(b"forged"))
    assert isinstance(caught.value.cause, CertificateSignatureInvalid)


def test_a_message_of_another_canister_is_not_trusted() -> None:
    other = Principal.from_text("ryjl3-tyaaa-aaaaa-aaaba-cai")
    session = SessionV2(other, CLIENT, verifier(), client_nonce=NONCE, now_ns=NOW_NS)
    session.receive(HANDSHAKE, now_ns=NOW_NS)
    with pytest.raises(MessageUntrusted):
        deliver(session, Canister().open())


def test_an_altered_content_is_not_trusted() -> None:
    canister = Canister()
    session = opened_session(canister)
    fields = decode_cbor(canister.message(b"pay 1"))
    assert isinstance(fields, dict)
    fields["content"] = fields["content"].replace(b"pay 1", b"pay 9")
    with pytest.raises(MessageUntrusted) as caught:
        deliver(session, encode_cbor(fields))
    assert isinstance(caught.value.cause, MessageNotCertified)


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_changed_bit_gets_through(position: int, bit: int) -> None:
    canister = Canister()
    session = opened_session(canister)
    frame = bytearray(canister.message(b"genuine"))
    frame[position % len(frame)] ^= 1 << bit
    try:
        events = session.receive(bytes(frame), now_ns=NOW_NS)
    except MessageError:
        assert session.state is State.CLOSED
    else:
        # CBOR may spell the same thing twice; then the same thing is what must come out.
        assert [event.content for event in events if isinstance(event, Received)] == [b"genuine"]


@pytest.mark.parametrize("other", [{"principal": GATEWAY}, {"client_nonce": NONCE + 1}])
def test_a_message_for_another_client_is_refused(other: dict[str, object]) -> None:
    foreign = Canister(sequence_num=1, **other)  # type: ignore[arg-type]
    with pytest.raises(MessageForOther):
        deliver(opened_session(), foreign.message(b"for somebody else"))


@given(st.binary(max_size=200))
def test_garbage_is_refused(frame: bytes) -> None:
    session = opened_session()
    with pytest.raises(MessageUntrusted):
        deliver(session, frame)
    with pytest.raises(NotOpen):
        session.send(b"", now_ns=NOW_NS)


@pytest.mark.parametrize(
    "inner",
    [
        b"no cbor",
        encode_cbor({"sequence_num": 2}),
        encode_cbor({"client_key": CLIENT.principal, "sequence_num": 2, "timestamp": NOW_NS, "content": b""}),
    ],
)
def test_certified_nonsense_is_refused(inner: bytes) -> None:
    with pytest.raises(MessageUntrusted) as caught:
        deliver(opened_session(), certified(inner, nonce=1))
    assert isinstance(caught.value.cause, Malformed)


# --- messages -------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=64), max_size=5))
def test_messages_arrive_as_sent_and_in_order(contents: list[bytes]) -> None:
    canister = Canister()
    session = opened_session(canister)
    events = [event for c in contents for event in session.receive(canister.message(c), now_ns=NOW_NS)]
    assert events == [Received(c, n, NOW_NS, NOW_NS) for n, c in enumerate(contents, start=2)]


def test_what_is_sent_says_what_the_canister_checks() -> None:
    session = opened_session()
    request = sent(session.send(b"DIDL\x00\x01q\x02hi", now_ns=NOW_NS).frame)
    assert (request.sender, request.canister_id) == (CLIENT.principal, CANISTER_ID)
    assert message_of(session.send(b"DIDL\x00\x01q\x02hi", now_ns=NOW_NS).frame) == {
        "client_key": {"client_principal": CLIENT.principal, "client_nonce": NONCE},
        "sequence_num": 2,
        "timestamp": NOW_NS,
        "is_service_message": False,
        "content": b"DIDL\x00\x01q\x02hi",
    }


@given(st.lists(st.sampled_from(["send", "ack", "receive"]), max_size=30))
def test_sequence_numbers_are_consecutive_whatever_happens(steps: list[str]) -> None:
    canister = Canister()
    session = opened_session(canister)
    frames: list[bytes] = []
    for step in steps:
        if step == "send":
            frames.append(session.send(b"", now_ns=NOW_NS).frame)
        elif step == "ack":
            events = session.receive(canister.ack(len(frames)), now_ns=NOW_NS)
            assert session.unacknowledged == 1  # the answer to the acknowledgement
            frames.append(frame_of([*events]))
        else:
            session.receive(canister.message(b""), now_ns=NOW_NS)
    assert [message_of(frame)["sequence_num"] for frame in frames] == [*range(1, len(frames) + 1)]


# --- service messages -----------------------------------------------------------------------------------------------


def test_an_acknowledgement_is_answered_with_a_sign_of_life() -> None:
    canister = Canister()
    session = opened_session(canister)
    session.receive(canister.message(b""), now_ns=NOW_NS)
    session.send(b"", now_ns=NOW_NS)
    message = message_of(frame_of([*session.receive(canister.ack(1), now_ns=NOW_NS)]))
    assert (message["sequence_num"], message["is_service_message"]) == (2, True)
    content = message["content"]
    assert isinstance(content, bytes)
    assert SERVICE.decode(content) == ({"KeepAliveMessage": {"last_incoming_sequence_num": 3}},)


@pytest.mark.parametrize(("first", "second"), [(3, None), (2, 1)])
def test_an_acknowledgement_of_what_was_not_sent_or_of_less_is_refused(first: int, second: int | None) -> None:
    canister = Canister()
    session = opened_session(canister)
    session.send(b"", now_ns=NOW_NS)
    session.send(b"", now_ns=NOW_NS)
    if second is None:
        with pytest.raises(AckInvalid):
            session.receive(canister.ack(first), now_ns=NOW_NS)
        return
    session.receive(canister.ack(first), now_ns=NOW_NS)
    with pytest.raises(AckInvalid):
        session.receive(canister.ack(second), now_ns=NOW_NS)


def test_messages_must_be_acknowledged_in_time() -> None:
    canister = Canister()
    session = opened_session(canister)
    limit_ns = Limits().ack_ns
    assert session.deadline_ns is None
    for at in (0, 1, 2):
        session.send(b"", now_ns=NOW_NS + at)
    assert session.deadline_ns == NOW_NS + limit_ns
    canister.now_ns = NOW_NS + 3
    session.receive(canister.ack(1), now_ns=NOW_NS + 3)
    assert session.deadline_ns == NOW_NS + 1 + limit_ns
    session.check(now_ns=NOW_NS + limit_ns)
    with pytest.raises(AckTimeout) as caught:
        session.check(now_ns=NOW_NS + 2 + limit_ns)
    assert caught.value.sequence_nums == [2, 3]


@pytest.mark.parametrize("why", ["WrongSequenceNumber", "InvalidServiceMessage", "KeepAliveTimeout"])
def test_a_canister_that_closes_says_why(why: str) -> None:
    canister = Canister()
    session = opened_session(canister)
    with pytest.raises(ClosedByCanister, match=why) as caught:
        session.receive(canister.close(why), now_ns=NOW_NS)
    assert (caught.value.close_code, caught.value.orderly) == (4000, False)


def test_an_application_that_closes_ends_the_session_in_good_order() -> None:
    canister = Canister()
    session = opened_session(canister)
    with pytest.raises(ClosedByApplication) as caught:
        session.receive(canister.close("ClosedByApplication"), now_ns=NOW_NS)
    assert (caught.value.close_code, caught.value.orderly) == (4001, True)
    assert session.deadline_ns is None


@pytest.mark.parametrize(
    "make",
    [
        lambda c: c.open(),
        lambda c: c.service({"KeepAliveMessage": {"last_incoming_sequence_num": 0}}),
        lambda c: c.message(b"no candid", service=True),
        lambda c: c.message(b"DIDL\x00\x01q\x02hi", service=True),
    ],
)
def test_other_service_messages_are_refused(make: Callable[[Canister], bytes]) -> None:
    canister = Canister()
    session = opened_session(canister)
    with pytest.raises(ServiceMessageInvalid):
        session.receive(make(canister), now_ns=NOW_NS)


def test_a_closed_session_stays_closed() -> None:
    session = opened_session()
    session.close()
    with pytest.raises(NotOpen):
        session.receive(HANDSHAKE, now_ns=NOW_NS)
    with pytest.raises(NotOpen):
        session.send(b"", now_ns=NOW_NS)
    session.check(now_ns=NOW_NS * 2)
