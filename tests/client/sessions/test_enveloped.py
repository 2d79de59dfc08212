"""What v1 and v2 share: signed calls, the open message, acknowledgements and signs of life."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.client.errors import (
    AckInvalid,
    AckTimeout,
    ClientError,
    ClosedByApplication,
    ClosedByCanister,
    NotOpen,
    ServiceMessageInvalid,
)
from appliance.client.sessions.enveloped import EnvelopedSession
from appliance.client.sessions.session import Limits, Opened, State
from appliance.errors import OpenTimeout
from tests.client.canister import (
    CANISTER_ID,
    CLIENT,
    NONCE,
    NOW_NS,
    SECOND_NS,
    SERVICE,
    STRANGER,
    V1,
    V2,
    Canister,
    Wire,
    frame_of,
    message_of,
    sent,
)

pytestmark = pytest.mark.parametrize("wire", [V1, V2], ids=lambda wire: wire.generation)


def opening_session(wire: Wire, limits: Limits | None = None) -> EnvelopedSession:
    """One that waits for the open message."""
    session = wire.session(limits=limits)
    session.start(now_ns=NOW_NS)
    for frame in wire.greeting:
        session.receive(frame, now_ns=NOW_NS)
    assert session.state is State.OPENING
    assert isinstance(session, EnvelopedSession)
    return session


def refused(session: EnvelopedSession, frame: bytes) -> ClientError:
    with pytest.raises(ClientError) as caught:
        session.receive(frame, now_ns=NOW_NS)
    assert session.state is State.CLOSED
    return caught.value


# --- opening --------------------------------------------------------------------------------------------------------


def test_the_open_message_opens_the_session(wire: Wire) -> None:
    session = opening_session(wire)
    assert session.receive(Canister().open(), now_ns=NOW_NS) == [Opened()]
    assert session.state is State.OPEN
    assert message_of(session.send(b"DIDL\x00\x00", now_ns=NOW_NS).frame)["sequence_num"] == 1


@pytest.mark.parametrize("make", [lambda c: c.message(b"DIDL\x00\x00"), lambda c: c.ack(0)])
def test_the_first_message_must_be_the_open_message(wire: Wire, make: Callable[[Canister], bytes]) -> None:
    assert isinstance(refused(opening_session(wire), make(Canister())), ServiceMessageInvalid)


@pytest.mark.parametrize(
    "other",
    [
        {"client_principal": STRANGER, "client_nonce": NONCE},
        {"client_principal": CLIENT.principal, "client_nonce": NONCE - 1},
    ],
)
def test_an_open_message_that_opens_another_client_is_refused(wire: Wire, other: dict[str, object]) -> None:
    error = refused(opening_session(wire), Canister().service({"OpenMessage": {"client_key": other}}))
    assert isinstance(error, ServiceMessageInvalid)
    assert "message 1" in str(error)
    assert "another client" in str(error)


def test_a_canister_that_does_not_open_in_time_is_given_up(wire: Wire) -> None:
    session = opening_session(wire, Limits(open_ns=5 * SECOND_NS))
    session.check(now_ns=NOW_NS + 5 * SECOND_NS - 1)
    with pytest.raises(OpenTimeout, match="no open message of the canister within 5 s"):
        session.check(now_ns=NOW_NS + 5 * SECOND_NS)


# --- messages -------------------------------------------------------------------------------------------------------


@given(content=st.binary(max_size=64))
def test_what_is_sent_says_what_the_canister_checks(wire: Wire, content: bytes) -> None:
    session = wire.opened()
    frame = session.send(content, now_ns=NOW_NS).frame
    request = sent(frame)
    assert (request.sender, request.canister_id) == (CLIENT.principal, CANISTER_ID)
    assert message_of(frame) == {
        "client_key": {"client_principal": CLIENT.principal, "client_nonce": NONCE},
        "sequence_num": 1,
        "timestamp": NOW_NS,
        "is_service_message": False,
        "content": content,
    }


@given(steps=st.lists(st.sampled_from(["send", "ack", "receive"]), max_size=30))
def test_sequence_numbers_are_consecutive_whatever_happens(wire: Wire, steps: list[str]) -> None:
    canister = Canister()
    session = wire.opened(canister)
    frames: list[bytes] = []
    for step in steps:
        if step == "send":
            frames.append(session.send(b"", now_ns=NOW_NS).frame)
        elif step == "ack":
            events = session.receive(canister.ack(len(frames)), now_ns=NOW_NS)
            assert session.unacknowledged == 1  # the answer to the acknowledgement
            frames.append(frame_of(events))
        else:
            session.receive(canister.message(b""), now_ns=NOW_NS)
    assert [message_of(frame)["sequence_num"] for frame in frames] == [*range(1, len(frames) + 1)]


# --- service messages -----------------------------------------------------------------------------------------------


def test_an_acknowledgement_is_answered_with_a_sign_of_life(wire: Wire) -> None:
    canister = Canister()
    session = wire.opened(canister)
    session.receive(canister.message(b""), now_ns=NOW_NS)
    session.send(b"", now_ns=NOW_NS)
    message = message_of(frame_of(session.receive(canister.ack(1), now_ns=NOW_NS)))
    assert (message["sequence_num"], message["is_service_message"]) == (2, True)
    content = message["content"]
    assert isinstance(content, bytes)
    assert SERVICE.decode(content) == ({"KeepAliveMessage": {"last_incoming_sequence_num": 3}},)


@pytest.mark.parametrize(("first", "second"), [(3, None), (2, 1)])
def test_an_acknowledgement_of_what_was_not_sent_or_of_less_is_refused(
    wire: Wire, first: int, second: int | None
) -> None:
    canister = Canister()
    session = wire.opened(canister)
    session.send(b"", now_ns=NOW_NS)
    session.send(b"", now_ns=NOW_NS)
    wrong = first
    if second is not None:
        session.receive(canister.ack(first), now_ns=NOW_NS)
        wrong = second
    error = refused(session, canister.ack(wrong))
    assert isinstance(error, AckInvalid)
    assert (error.expected, error.last_incoming) == (canister.sequence_num, wrong)


def test_messages_must_be_acknowledged_in_time(wire: Wire) -> None:
    canister = Canister()
    session = wire.opened(canister)
    limit_ns = session.limits.ack_ns
    for at in (0, 1, 2):
        session.send(b"", now_ns=NOW_NS + at)
    assert (session.unacknowledged, session.deadline_ns) == (3, NOW_NS + limit_ns)
    session.check(now_ns=NOW_NS + limit_ns - 1)
    canister.now_ns = NOW_NS + 3
    session.receive(canister.ack(1), now_ns=NOW_NS + 3)
    assert session.deadline_ns == NOW_NS + 1 + limit_ns
    session.check(now_ns=NOW_NS + limit_ns)
    with pytest.raises(AckTimeout) as caught:
        session.check(now_ns=NOW_NS + 2 + limit_ns)
    assert caught.value.sequence_nums == [2, 3]
    with pytest.raises(NotOpen):
        session.send(b"", now_ns=NOW_NS)


@pytest.mark.parametrize("why", ["WrongSequenceNumber", "InvalidServiceMessage", "KeepAliveTimeout"])
def test_a_canister_that_closes_says_why(wire: Wire, why: str) -> None:
    canister = Canister()
    error = refused(wire.opened(canister), canister.close(why))
    assert isinstance(error, ClosedByCanister)
    assert (error.why, error.close_code, error.orderly) == (why, 4000, False)


def test_an_application_that_closes_ends_the_session_in_good_order(wire: Wire) -> None:
    canister = Canister()
    session = wire.opened(canister)
    error = refused(session, canister.close("ClosedByApplication"))
    assert isinstance(error, ClosedByApplication)
    assert (error.close_code, error.orderly) == (4001, True)
    assert session.deadline_ns is None
    with pytest.raises(NotOpen):
        session.receive(canister.message(b"after the end"), now_ns=NOW_NS)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda c: c.open(), "OpenMessage has no place here"),
        (lambda c: c.service({"KeepAliveMessage": {"last_incoming_sequence_num": 0}}), "KeepAliveMessage has no place"),
        (lambda c: c.message(b"no candid", service=True), "Candid"),
        (lambda c: c.message(b"DIDL\x00\x01q\x02hi", service=True), "Candid"),
    ],
)
def test_other_service_messages_are_refused(wire: Wire, make: Callable[[Canister], bytes], problem: str) -> None:
    canister = Canister()
    error = refused(wire.opened(canister), make(canister))
    assert isinstance(error, ServiceMessageInvalid)
    assert (error.expected, problem in error.problem) == (2, True)
