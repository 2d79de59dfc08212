"""What only v0 has: a registered key, the answer as a text frame, CBOR, and no acknowledgements."""

from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.client.errors import NotOpen, OpeningRefused, OutOfTurn
from appliance.client.sessions.session import Opened, Received, State
from appliance.client.sessions.v0 import ANSWER, MESSAGE, REGISTER, SessionV0, client_key_of, registration
from appliance.crypto import SigningKey, decode_cbor, encode_cbor, verify_signature
from appliance.errors import KeyUnusable, OpenTimeout, SignatureInvalid
from tests.client.canister import CANISTER_ID, KEY, NOW_NS, SECOND_NS, V0, SeedCanister, frame_of, verifier


def relayed(frame: bytes) -> Any:
    """What a frame says, once its signature is verified."""
    fields: Any = decode_cbor(frame)
    assert set(fields) == {"content", "sig"}
    verify_signature(KEY.public_key, fields["sig"], fields["content"])
    return decode_cbor(fields["content"])


# --- opening --------------------------------------------------------------------------------------------------------


def test_the_first_message_is_signed_and_names_client_and_canister() -> None:
    session = V0.session()
    frame = frame_of(session.start(now_ns=NOW_NS))
    client_key, canister_id, _, _ = verifier().open_first_message(frame)
    assert (client_key, canister_id) == (client_key_of(KEY), CANISTER_ID)
    assert session.client_key == client_key
    with pytest.raises(SignatureInvalid):
        verifier().open_first_message(frame[:-1] + bytes([frame[-1] ^ 1]))


def test_the_answer_one_opens_the_session() -> None:
    session = V0.session()
    session.start(now_ns=NOW_NS)
    assert session.receive("1", now_ns=NOW_NS) == [Opened()]
    assert session.state is State.OPEN


def test_the_answer_zero_says_that_the_canister_refused() -> None:
    session = V0.session()
    session.start(now_ns=NOW_NS)
    with pytest.raises(OpeningRefused):
        session.receive("0", now_ns=NOW_NS)
    with pytest.raises(NotOpen):
        session.receive("1", now_ns=NOW_NS)


@given(st.text().filter(lambda text: text not in ("0", "1")))
def test_another_answer_is_no_answer(text: str) -> None:
    session = V0.session()
    with pytest.raises(OutOfTurn, match='expected the text "1" or "0", got the text '):
        session.receive(text, now_ns=NOW_NS)
    assert session.state is State.CLOSED


@pytest.mark.parametrize("frame", [SeedCanister().message(b""), b"", b"1", encode_cbor({})])
def test_nothing_may_come_before_the_answer(frame: bytes) -> None:
    session = V0.session()
    with pytest.raises(OutOfTurn, match=r"expected the text .*, got a binary message"):
        session.receive(frame, now_ns=NOW_NS)
    assert session.state is State.CLOSED


@pytest.mark.parametrize("text", ["1", "0"])
def test_an_answer_comes_once(text: str) -> None:
    canister = SeedCanister()
    session = V0.opened(canister)
    session.receive(canister.message(b""), now_ns=NOW_NS)
    with pytest.raises(OutOfTurn, match="expected message 2, got the text "):
        session.receive(text, now_ns=NOW_NS)
    assert session.state is State.CLOSED


def test_a_gateway_that_does_not_answer_in_time_is_given_up() -> None:
    session = V0.session()
    session.start(now_ns=NOW_NS)
    with pytest.raises(OpenTimeout, match="no answer of the gateway to the first message within 60 s"):
        session.check(now_ns=NOW_NS + 60 * SECOND_NS)


@pytest.mark.parametrize("scheme", ["secp256k1", "prime256v1"])
def test_a_client_key_is_of_ed25519(scheme: Any) -> None:
    with pytest.raises(KeyUnusable, match=scheme):
        SessionV0(CANISTER_ID, SigningKey.generate(scheme), verifier(), now_ns=NOW_NS)


# --- messages -------------------------------------------------------------------------------------------------------


def test_the_first_message_of_the_canister_has_number_one() -> None:
    canister = SeedCanister()
    events = V0.opened(canister).receive(canister.message(b"hello"), now_ns=NOW_NS)
    assert events == [Received(b"hello", 1, NOW_NS, NOW_NS)]


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_what_is_sent_is_signed_and_counted_from_zero(contents: list[bytes]) -> None:
    session = V0.opened()
    frames = [session.send(content, now_ns=NOW_NS + number).frame for number, content in enumerate(contents)]
    assert [relayed(frame) for frame in frames] == [
        {"client_key": client_key_of(KEY), "sequence_num": number, "timestamp": NOW_NS + number, "message": content}
        for number, content in enumerate(contents)
    ]


def test_nothing_is_waited_for_where_nothing_is_acknowledged() -> None:
    session = V0.opened()
    session.send(b"", now_ns=NOW_NS)
    assert (session.unacknowledged, session.deadline_ns) == (0, None)
    session.check(now_ns=NOW_NS * 2)
    assert session.state is State.OPEN


@given(st.binary(max_size=64))
def test_a_direct_message_is_an_argument_of_ws_message_and_is_not_counted(content: bytes) -> None:
    session = V0.opened()
    direct = {"DirectlyFromClient": {"client_key": client_key_of(KEY), "message": content}}
    assert MESSAGE.decode(session.direct(content)) == ({"msg": direct},)
    assert relayed(session.send(b"", now_ns=NOW_NS).frame)["sequence_num"] == 0


def test_nothing_is_sent_directly_before_the_session_is_open() -> None:
    session = V0.session()
    with pytest.raises(NotOpen):
        session.direct(b"")


# --- Candid ---------------------------------------------------------------------------------------------------------


def test_a_key_is_registered_by_its_raw_bytes() -> None:
    assert REGISTER.decode(registration(KEY)) == ({"client_key": KEY.public_key[12:]},)
    with pytest.raises(KeyUnusable):
        registration(SigningKey.generate("secp256k1"))


def test_the_types_are_those_of_the_canisters_of_that_time(vectors: ModuleType) -> None:
    known = {
        v["name"]: (bytes.fromhex(v["candid_hex"]), v["value"])
        for v in vectors.load_json("websocket/candid_messages.json")["messages"]
        if v["generation"] == "v0"
    }
    arg, (value,) = known["ws_register arguments"]
    assert REGISTER.decode(arg) == (plain(value),)
    assert ANSWER.decode(known["ws_close results Ok"][0]) == ({"Ok": None},)
    for variant in ("DirectlyFromClient", "RelayedByGateway", "IcWebSocketEstablished"):
        arg, (value,) = known[f"ws_message arguments {variant}"]
        assert MESSAGE.decode(arg) == (plain(value),)


def plain(value: Any) -> Any:
    """A value of the vectors as our Candid has it."""
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"]) if set(value) == {"hex"} else {k: plain(v) for k, v in value.items()}
    return value
