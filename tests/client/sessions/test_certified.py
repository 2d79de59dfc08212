"""What every wire generation holds a gateway to: one law for each lie."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.client.errors import (
    MessageForOther,
    MessageLate,
    MessageUntrusted,
    NotOpen,
    SequenceGap,
    SequenceRepeated,
)
from appliance.client.sessions.certified import CertifiedSession
from appliance.client.sessions.session import Limits, Received, Session, State
from appliance.crypto import BlsSecretKey, decode_cbor, encode_cbor
from appliance.errors import (
    CertificateSignatureInvalid,
    CertificateStale,
    CertifiedDataMismatch,
    GatewayError,
    Malformed,
    MessageNotCertified,
    OpenTimeout,
)
from appliance.ic.principal import Principal
from tests.client.canister import GATEWAY, NOW_NS, SECOND_NS, WIRES, Wire, certified

pytestmark = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.generation)


def refused(session: CertifiedSession, frame: bytes | str, now_ns: int = NOW_NS) -> GatewayError:
    """What the session says of a frame that it must not take, and that it has ended."""
    with pytest.raises(GatewayError) as caught:
        session.receive(frame, now_ns=now_ns)
    assert session.state is State.CLOSED
    assert session.deadline_ns is None
    return caught.value


# --- what arrives ---------------------------------------------------------------------------------------------------


@given(contents=st.lists(st.binary(max_size=64), max_size=5))
def test_messages_arrive_as_sent_and_in_order(wire: Wire, contents: list[bytes]) -> None:
    canister = wire.canister()
    session = wire.opened(canister)
    first = canister.sequence_num + 1
    events = [event for content in contents for event in session.receive(canister.message(content), now_ns=NOW_NS)]
    assert events == [Received(content, number, NOW_NS, NOW_NS) for number, content in enumerate(contents, first)]


def test_a_dropped_message_is_a_gap(wire: Wire) -> None:
    canister = wire.canister()
    session = wire.opened(canister)
    due = canister.sequence_num + 1
    canister.message(b"lost")
    error = refused(session, canister.message(b"next"))
    assert isinstance(error, SequenceGap)
    assert (error.expected, error.received) == (due, due + 1)
    assert str(error) == f"expected sequence number {due}, got {due + 1}: messages were lost or overtaken"


def test_a_repeated_message_is_refused(wire: Wire) -> None:
    canister = wire.canister()
    session = wire.opened(canister)
    frame = canister.message(b"once")
    session.receive(frame, now_ns=NOW_NS)
    error = refused(session, frame)
    assert isinstance(error, SequenceRepeated)
    assert (error.expected, error.received) == (canister.sequence_num + 1, canister.sequence_num)


def test_messages_in_another_order_are_refused(wire: Wire) -> None:
    canister = wire.canister()
    session = wire.opened(canister)
    first, second = canister.message(b"first"), canister.message(b"second")
    assert isinstance(refused(session, second), SequenceGap)
    assert isinstance(refused(session, first), NotOpen)


@given(data=st.data())
def test_whatever_is_left_out_repeated_or_moved_nothing_wrong_comes_out(wire: Wire, data: st.DataObject) -> None:
    canister = wire.canister()
    session = wire.opened(canister)
    frames = [canister.message(bytes([number])) for number in range(4)]
    delivered = data.draw(st.lists(st.sampled_from(range(4)), max_size=6))
    taken: list[bytes] = []
    try:
        for number in delivered:
            taken += [event.content for event in session.receive(frames[number], now_ns=NOW_NS)]
    except (SequenceGap, SequenceRepeated):
        assert delivered[: len(taken) + 1] != [*range(len(taken) + 1)]
    else:
        assert delivered == [*range(len(delivered))]
    assert taken == [bytes([number]) for number in range(len(taken))]


def test_a_message_held_back_is_late(wire: Wire) -> None:
    canister = wire.canister()
    session = wire.opened(canister)
    later = NOW_NS + 301 * SECOND_NS
    canister.now_ns = later  # the canister certifies old messages anew as long as it keeps them
    error = refused(session, canister.message(b"old", timestamp_ns=NOW_NS), later)
    assert isinstance(error, MessageLate)
    assert (error.expected, error.age_ns) == (canister.sequence_num, 301 * SECOND_NS)


@given(age_s=st.integers(0, 20))
def test_the_age_of_messages_has_the_limit_that_was_set(wire: Wire, age_s: int) -> None:
    session, canister = wire.session(limits=Limits(message_age_ns=10 * SECOND_NS)), wire.canister()
    for frame in wire.opening(canister):
        session.receive(frame, now_ns=NOW_NS)
    frame = canister.message(b"", timestamp_ns=NOW_NS - age_s * SECOND_NS)
    if age_s > 10:
        assert isinstance(refused(session, frame), MessageLate)
    else:
        assert len(session.receive(frame, now_ns=NOW_NS)) == 1


def test_a_message_with_an_old_certificate_is_not_trusted(wire: Wire) -> None:
    canister = wire.canister()
    error = refused(wire.opened(canister), canister.message(b"old"), NOW_NS + 301 * SECOND_NS)
    assert isinstance(error, MessageUntrusted)
    assert error.expected == canister.sequence_num
    assert isinstance(error.cause, CertificateStale)


def test_a_message_signed_by_another_network_is_not_trusted(wire: Wire) -> None:
    canister = wire.canister()
    session = wire.opened(canister)
    canister.root = BlsSecretKey.from_seed(b"the root key of somebody else entirely")
    error = refused(session, canister.message(b"forged"))
    assert isinstance(error, MessageUntrusted)
    assert isinstance(error.cause, CertificateSignatureInvalid)


def test_a_message_of_another_canister_is_not_trusted(wire: Wire) -> None:
    session = wire.session(canister_id=Principal.from_text("ryjl3-tyaaa-aaaaa-aaaba-cai"))
    for frame in wire.greeting:
        session.receive(frame, now_ns=NOW_NS)
    assert isinstance(refused(session, wire.canister().message(b"")), MessageUntrusted)


@pytest.mark.parametrize("part", ["key", "content", "cert", "tree"])
@given(position=st.integers(0, 10**6), change=st.integers(1, 255))
def test_no_altered_part_is_trusted(wire: Wire, part: str, position: int, change: int) -> None:
    canister = wire.canister()
    session = wire.opened(canister)
    fields = decode_cbor(canister.message(b"pay 1"))
    assert isinstance(fields, dict)
    name = wire.content_name if part == "content" else part
    value = fields[name]
    altered = bytearray(value.encode("latin-1") if isinstance(value, str) else value)
    altered[position % len(altered)] ^= change
    fields[name] = altered.decode("latin-1") if isinstance(value, str) else bytes(altered)
    error = refused(session, encode_cbor(fields, tagged=False))
    assert isinstance(error, MessageUntrusted)
    assert error.expected == canister.sequence_num


@settings(max_examples=300)
@given(position=st.integers(0, 10**6), change=st.integers(1, 255))
def test_no_changed_byte_of_a_frame_gets_through(wire: Wire, position: int, change: int) -> None:
    canister = wire.canister()
    session = wire.opened(canister)
    frame = bytearray(canister.message(b"genuine"))
    frame[position % len(frame)] ^= change
    assert isinstance(refused(session, bytes(frame)), MessageUntrusted)


def test_a_content_under_the_proof_of_another_is_not_trusted(wire: Wire) -> None:
    canister = wire.canister()
    session = wire.opened(canister)
    genuine, other = decode_cbor(canister.message(b"pay 1")), decode_cbor(canister.message(b"pay 9"))
    assert isinstance(genuine, dict)
    assert isinstance(other, dict)
    error = refused(session, encode_cbor({**genuine, wire.content_name: other[wire.content_name]}))
    assert isinstance(error, MessageUntrusted)
    assert isinstance(error.cause, MessageNotCertified)


def test_a_tree_that_the_canister_did_not_certify_is_not_trusted(wire: Wire) -> None:
    canister = wire.canister()
    session = wire.opened(canister)
    genuine, other = decode_cbor(canister.message(b"pay 1")), decode_cbor(canister.message(b"pay 9"))
    assert isinstance(genuine, dict)
    assert isinstance(other, dict)
    error = refused(session, encode_cbor({**other, "cert": genuine["cert"]}))
    assert isinstance(error, MessageUntrusted)
    assert isinstance(error.cause, CertifiedDataMismatch)


@pytest.mark.parametrize("which", [0, 1])
def test_a_message_for_another_client_is_refused(wire: Wire, which: int) -> None:
    canister = wire.canister()
    session = wire.opened(canister)
    foreign = wire.canister(sequence_num=canister.sequence_num, **wire.strangers[which])
    error = refused(session, foreign.message(b"for somebody else"))
    assert isinstance(error, MessageForOther)
    assert error.expected == foreign.sequence_num
    assert error.client != error.this_client


@given(frame=st.binary(max_size=200))
def test_garbage_is_refused(wire: Wire, frame: bytes) -> None:
    session = wire.opened()
    assert isinstance(refused(session, frame), MessageUntrusted)
    with pytest.raises(NotOpen):
        session.send(b"", now_ns=NOW_NS)


@pytest.mark.parametrize(
    "inner", [b"no cbor", encode_cbor({"sequence_num": 2}), encode_cbor({"client_key": GATEWAY, "sequence_num": 2})]
)
def test_certified_nonsense_is_refused(wire: Wire, inner: bytes) -> None:
    error = refused(wire.opened(), certified(inner, nonce=1, name=wire.content_name))
    assert isinstance(error, MessageUntrusted)
    assert isinstance(error.cause, Malformed)


@pytest.mark.parametrize("text", ["", "1", "0", "hello"])
def test_a_text_frame_in_an_open_session_ends_it(wire: Wire, text: str) -> None:
    assert repr(text) in str(refused(wire.opened(), text))


# --- before and after -----------------------------------------------------------------------------------------------


def test_nothing_is_sent_before_the_session_is_open(wire: Wire) -> None:
    session, canister = wire.session(), wire.canister()
    with pytest.raises(NotOpen):
        session.send(b"", now_ns=NOW_NS)
    session.start(now_ns=NOW_NS)
    for frame in wire.opening(canister):
        with pytest.raises(NotOpen):
            session.send(b"", now_ns=NOW_NS)
        session.receive(frame, now_ns=NOW_NS)
    assert session.send(b"", now_ns=NOW_NS).frame


def test_a_session_that_is_not_answered_in_time_is_given_up(wire: Wire) -> None:
    session = wire.session(limits=Limits(open_ns=5 * SECOND_NS))
    session.start(now_ns=NOW_NS + SECOND_NS)
    assert session.deadline_ns == NOW_NS + 5 * SECOND_NS
    session.check(now_ns=NOW_NS + 5 * SECOND_NS - 1)
    with pytest.raises(OpenTimeout, match="within 5 s"):
        session.check(now_ns=NOW_NS + 5 * SECOND_NS)
    assert session.state is State.CLOSED


def test_an_open_session_without_messages_waits_for_ever(wire: Wire) -> None:
    session = wire.opened()
    assert session.deadline_ns is None
    session.check(now_ns=NOW_NS * 2)
    assert session.state is State.OPEN


def test_a_closed_session_stays_closed(wire: Wire) -> None:
    canister = wire.canister()
    session = wire.opened(canister)
    session.close()
    for frame in (canister.message(b"late"), "1"):
        with pytest.raises(NotOpen):
            session.receive(frame, now_ns=NOW_NS)
    with pytest.raises(NotOpen):
        session.send(b"", now_ns=NOW_NS)
    with pytest.raises(NotOpen):
        session.start(now_ns=NOW_NS)
    session.check(now_ns=NOW_NS * 2)
    assert session.state is State.CLOSED


def test_each_generation_has_a_patience_of_its_own(wire: Wire) -> None:
    session: Session = wire.session()
    assert session.limits == type(session).limits
    assert session.generation == wire.generation
    assert session.state in (State.HANDSHAKE, State.OPENING)
    assert session.deadline_ns == NOW_NS + session.limits.open_ns
