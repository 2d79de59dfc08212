"""The sessions against what was recorded: with unmodified JavaScript SDKs, and of canisters on real replicas."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest

from appliance.client.errors import ClosedByApplication, MessageUntrusted
from appliance.client.sessions.enveloped import EnvelopedSession
from appliance.client.sessions.session import Event, Opened, Received
from appliance.client.sessions.v0 import MESSAGE, REGISTER, SessionV0, registration
from appliance.client.sessions.v1 import SessionV1
from appliance.client.sessions.v2 import SessionV2
from appliance.crypto import CandidTypes, SigningKey, Verifier, decode_cbor, encode_cbor, read_envelope_unverified
from appliance.errors import (
    CertificateSignatureInvalid,
    CertifiedDataMismatch,
    Malformed,
    MessageNotCertified,
    PathAbsent,
    PathUnknown,
)
from appliance.ic.identity import Delegation, KeyIdentity
from appliance.ic.principal import Principal
from tests.client.canister import SERVICE, WS_MESSAGE, WS_OPEN, frame_of

APPLICATION = CandidTypes("(record {text: text})")
WS_OPEN_V1 = CandidTypes("(record {client_nonce: nat64})")
VERDICTS = {
    "path_absent": PathAbsent,
    "content_hash_mismatch": MessageNotCertified,
    "tree_mismatch": CertifiedDataMismatch,
    "certified_data_unknown": PathUnknown,
    "bad_certificate_encoding": Malformed,
    "bad_certificate_signature": CertificateSignatureInvalid,
}


class RecordedIdentity:
    """Has a recorded client's principal, but not its key: the signatures of these frames are another's."""

    delegations: Sequence[Delegation] = ()

    def __init__(self, principal: Principal, public_key: bytes | None = None) -> None:
        self.public_key = public_key
        self.principal = principal
        self._inner = KeyIdentity(SigningKey.generate("ed25519"))

    def sign(self, message: bytes) -> bytes:
        return self._inner.sign(message)


# --- v1 and v2, with JavaScript SDKs --------------------------------------------------------------------------------


class Recording:
    """A session of one SDK. `greeting` is what its gateway sends first."""

    def __init__(self, session: type[SessionV1] | type[SessionV2], open_type: CandidTypes, data: Any) -> None:
        self._session = session
        self.open_type = open_type
        self.root_key = bytes.fromhex(data["root_key_der"])
        self.frames = {frame["what"]: bytes.fromhex(frame["hex"]) for frame in data["frames"] if "what" in frame}
        sent = [frame for frame in data["frames"] if frame["dir"] == "client->gateway" and "what" in frame]
        self.opening, self.ping, self.keep_alive = sent
        self.client_nonce = int(self.opening["decoded"]["client_nonce"])
        self.now_ns = int(self.ping["decoded"]["timestamp"])
        public_key = bytes.fromhex(self.opening["sender_pubkey"])
        self.identity = RecordedIdentity(Principal.self_authenticating(public_key), public_key)
        self.canister_id = Principal(read_envelope_unverified(bytes.fromhex(self.opening["hex"])).canister_id)

    def session(self) -> EnvelopedSession:
        verifier = Verifier(self.root_key)
        nonce, now_ns = self.client_nonce, self.now_ns
        return self._session(self.canister_id, self.identity, verifier, client_nonce=nonce, now_ns=now_ns)


RECORDINGS: dict[str, tuple[type[SessionV1] | type[SessionV2], CandidTypes]] = {
    "0.1.2": (SessionV1, WS_OPEN_V1),
    "0.4.1": (SessionV2, WS_OPEN),
    "0.5.0": (SessionV2, WS_OPEN),
}


@pytest.fixture(params=RECORDINGS)
def recording(request: pytest.FixtureRequest, vectors: ModuleType) -> Recording:
    return Recording(*RECORDINGS[request.param], vectors.load_json(f"websocket/session_{request.param}.json"))


def argument(frame: bytes, types: CandidTypes) -> Any:
    return types.decode(read_envelope_unverified(frame).arg)[0]


def comparable(message: dict[str, Any]) -> dict[str, Any]:
    """Without the time, and with the content decoded: encoders order their types differently."""
    return {**message, "timestamp": 0, "content": SERVICE.decode(message["content"])}


def test_the_recorded_session_is_lived_again(recording: Recording) -> None:
    session, now_ns = recording.session(), recording.now_ns

    events = session.start(now_ns=now_ns)
    if "handshake" in recording.frames:
        assert events == []
        events = session.receive(recording.frames["handshake"], now_ns=now_ns)
    opening = argument(frame_of(events), recording.open_type)
    assert opening == recording.open_type.decode(bytes.fromhex(recording.opening["arg"]))[0]

    assert session.receive(recording.frames["OpenMessage"], now_ns=now_ns) == [Opened()]
    content = bytes.fromhex(recording.ping["decoded"]["content"])
    ping = argument(session.send(content, now_ns=now_ns).frame, WS_MESSAGE)
    assert ping == WS_MESSAGE.decode(bytes.fromhex(recording.ping["arg"]))[0]

    (received,) = session.receive(recording.frames["application message"], now_ns=now_ns)
    assert isinstance(received, Received)
    assert received.sequence_num == 2
    assert decoded(received.content) == "pong"

    keep_alive = frame_of(session.receive(recording.frames["AckMessage"], now_ns=now_ns))
    ours = argument(keep_alive, WS_MESSAGE)["msg"]
    theirs: Any = WS_MESSAGE.decode(bytes.fromhex(recording.keep_alive["arg"]))[0]
    assert comparable(ours) == comparable(theirs["msg"])

    with pytest.raises(ClosedByApplication) as caught:
        session.receive(recording.frames["CloseMessage ClosedByApplication"], now_ns=now_ns)
    assert caught.value.close_code == 4001


def decoded(content: bytes) -> object:
    """The text of an application's message: raw with the SDK of v1, Candid with those of v2."""
    if not content.startswith(b"DIDL"):
        return content.decode()
    value: Any = APPLICATION.decode(content)[0]
    return value["text"]


def test_the_recorded_client_frames_verify(recording: Recording) -> None:
    verifier = Verifier(recording.root_key)
    for frame in (recording.opening, recording.ping, recording.keep_alive):
        request = verifier.open_envelope(bytes.fromhex(frame["hex"]), now_ns=recording.now_ns)
        assert request.request_id.hex() == frame["request_id"]


# --- v0, with the SDK of its time -----------------------------------------------------------------------------------

RFC_8032_TEST_1 = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
"""The published key that the recorded client had."""


def test_the_recorded_session_of_v0_is_lived_again(vectors: ModuleType) -> None:
    data = vectors.load_json("websocket/session_62dcec3.json")
    key = SigningKey.from_secret("ed25519", RFC_8032_TEST_1)
    register, direct = [frame for frame in data["frames"] if "arg" in frame]
    first, accepted, hello, pong = [frame for frame in data["frames"] if "what" in frame]
    canister_id = Principal(bytes.fromhex(first["canister_id"]))
    now_ns = timestamp_of(hello)
    session = SessionV0(canister_id, key, Verifier(bytes.fromhex(data["root_key_der"])), now_ns=now_ns)

    assert REGISTER.decode(registration(key)) == REGISTER.decode(bytes.fromhex(register["arg"]))
    assert frame_of(session.start(now_ns=now_ns)).hex() == first["hex"]
    assert session.receive(bytes.fromhex(accepted["hex"]).decode(), now_ns=now_ns) == [Opened()]
    assert texts(session.receive(bytes.fromhex(hello["hex"]), now_ns=now_ns)) == [(1, {"text": "hello"})]
    theirs = MESSAGE.decode(bytes.fromhex(direct["arg"]))
    assert MESSAGE.decode(session.direct(encode_cbor({"text": "ping"}))) == theirs
    assert texts(session.receive(bytes.fromhex(pong["hex"]), now_ns=now_ns)) == [(2, {"text": "pong"})]


def timestamp_of(frame: Any) -> int:
    message: Any = decode_cbor(bytes.fromhex(frame["hex"]))
    inner: Any = decode_cbor(message["val"])
    return int(inner["timestamp"])


def texts(events: list[Event]) -> list[tuple[int, object]]:
    return [(event.sequence_num, decode_cbor(event.content)) for event in events if isinstance(event, Received)]


# --- messages of canisters on real replicas -------------------------------------------------------------------------


class RecordedKey:
    """Has the public half only."""

    scheme = "ed25519"

    def __init__(self, raw: bytes) -> None:
        self.public_key = bytes.fromhex("302a300506032b6570032100") + raw

    def sign(self, _: bytes) -> bytes:
        return bytes(64)


def frame_of_case(case: Any, content_name: str) -> bytes:
    parts = {name: bytes.fromhex(case[name]) for name in ("cert", "tree")}
    return encode_cbor({"key": case["key"], content_name: bytes.fromhex(case["content"]), **parts}, tagged=False)


class RealMessages:
    """The messages of the canister of a pingpong application to one client, in v1 and v2 alike."""

    def __init__(self, session: type[SessionV1] | type[SessionV2], data: Any) -> None:
        self.cases = {case["name"]: case for case in data["v2"]}
        opening = self.cases["open"]
        client = opening["decoded"]
        self.session = session(
            Principal.from_text(opening["canister_id"]),
            RecordedIdentity(Principal(bytes.fromhex(client["client_principal"]))),
            Verifier(bytes.fromhex(data["v2_root_key_der"])),
            client_nonce=client["client_nonce"],
            now_ns=int(opening["certificate_time_ns"]),
        )
        self.session.start(now_ns=int(opening["certificate_time_ns"]))
        if session is SessionV2:
            handshake = encode_cbor({"gateway_principal": Principal.from_text(data["gateway_principal"])})
            self.session.receive(handshake, now_ns=int(opening["certificate_time_ns"]))

    def deliver(self, name: str) -> list[Event]:
        case = self.cases[name]
        return self.session.receive(frame_of_case(case, "content"), now_ns=int(case["certificate_time_ns"]))


@pytest.fixture(params=[SessionV1, SessionV2], ids=["v1", "v2"])
def real(request: pytest.FixtureRequest, vectors: ModuleType) -> RealMessages:
    return RealMessages(request.param, vectors.load_json("websocket/certified_messages.json"))


def test_the_valid_messages_of_a_real_canister_are_a_session(real: RealMessages) -> None:
    assert real.deliver("open") == [Opened()]
    for _ in range(acknowledged(real)):
        real.session.send(b"", now_ns=int(real.cases["open"]["certificate_time_ns"]))
    assert frame_of(real.deliver("ack"))
    (received,) = real.deliver("application")
    assert isinstance(received, Received)
    expected = real.cases["application"]
    assert APPLICATION.decode(received.content) == ({"text": "Hello"},)
    assert received.timestamp_ns == int(expected["decoded"]["timestamp"])
    assert received.certified_at_ns == int(expected["certificate_time_ns"])
    with pytest.raises(ClosedByApplication):
        real.deliver("close")
    assert [name for name, case in real.cases.items() if case["verdict"] == "valid"] == [
        "open",
        "ack",
        "application",
        "close",
    ]


def acknowledged(real: RealMessages) -> int:
    """How many messages the recorded client had sent by then."""
    content = bytes.fromhex(real.cases["ack"]["decoded"]["content"])
    value: Any = SERVICE.decode(content)[0]
    return int(value["AckMessage"]["last_incoming_sequence_num"])


def test_the_invalid_message_of_a_real_canister_is_refused(real: RealMessages) -> None:
    real.deliver("open")
    with pytest.raises(MessageUntrusted) as caught:
        real.deliver("wrong_key")
    assert caught.value.expected == 2
    assert type(caught.value.cause) is VERDICTS[real.cases["wrong_key"]["verdict"]]


def test_every_message_of_a_real_canister_of_v0_gets_its_verdict(vectors: ModuleType) -> None:
    data = vectors.load_json("websocket/certified_messages.json")
    now_ns = int(data["v0_certificate_time_ns"])
    genuine: Any = decode_cbor(bytes.fromhex(data["v0"][0]["content"]))
    verdicts: list[str] = []
    for case in data["v0"]:
        key: Any = RecordedKey(genuine["client_key"])
        verifier = Verifier(bytes.fromhex(case["root_key_der"]))
        session = SessionV0(Principal.from_text(case["canister_id"]), key, verifier, now_ns=now_ns)
        session.receive("1", now_ns=now_ns)
        verdicts.append(case["verdict"])
        if case["verdict"] == "valid":
            (received,) = session.receive(frame_of_case(case, "val"), now_ns=now_ns)
            assert received == Received(genuine["message"], 1, genuine["timestamp"], now_ns)
            continue
        with pytest.raises(MessageUntrusted) as caught:
            session.receive(frame_of_case(case, "val"), now_ns=now_ns)
        assert type(caught.value.cause) is VERDICTS[case["verdict"]]
    assert sorted(verdicts) == sorted(["valid", *VERDICTS])
