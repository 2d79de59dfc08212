"""The session against sessions that were recorded with unmodified JavaScript SDKs."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest

from appliance.client.errors import ClosedByApplication
from appliance.client.session import Opened, Received, Send
from appliance.client.v2 import SessionV2
from appliance.crypto import CandidTypes, SigningKey, Verifier, read_envelope_unverified
from appliance.ic.identity import Delegation, KeyIdentity
from appliance.ic.principal import Principal
from tests.client.canister import SERVICE, WS_MESSAGE, WS_OPEN

APPLICATION = CandidTypes("(record {text: text})")


class RecordedIdentity:
    """Has the recorded client's principal, but not its key: the signatures of these frames are another's."""

    delegations: Sequence[Delegation] = ()

    def __init__(self, public_key: bytes) -> None:
        self.public_key = public_key
        self.principal = Principal.self_authenticating(public_key)
        self._inner = KeyIdentity(SigningKey.generate("ed25519"))

    def sign(self, message: bytes) -> bytes:
        return self._inner.sign(message)


class Recording:
    def __init__(self, data: Any) -> None:
        self.root_key = bytes.fromhex(data["root_key_der"])
        self.frames = {frame["what"]: bytes.fromhex(frame["hex"]) for frame in data["frames"] if "what" in frame}
        sent = [frame for frame in data["frames"] if frame["dir"] == "client->gateway" and "what" in frame]
        self.opening, self.ping, self.keep_alive = sent
        self.client_nonce = int(self.opening["decoded"]["client_nonce"])
        self.now_ns = int(self.ping["decoded"]["timestamp"])
        self.identity = RecordedIdentity(bytes.fromhex(self.opening["sender_pubkey"]))
        self.canister_id = Principal(read_envelope_unverified(bytes.fromhex(self.opening["hex"])).canister_id)

    def session(self) -> SessionV2:
        return SessionV2(
            self.canister_id, self.identity, Verifier(self.root_key), client_nonce=self.client_nonce, now_ns=self.now_ns
        )


@pytest.fixture(params=["0.4.1", "0.5.0"])
def recording(request: pytest.FixtureRequest, vectors: ModuleType) -> Recording:
    return Recording(vectors.load_json(f"websocket/session_sdk_{request.param}.json"))


def argument(frame: bytes, types: CandidTypes) -> Any:
    return types.decode(read_envelope_unverified(frame).arg)[0]


def comparable(message: dict[str, Any]) -> dict[str, Any]:
    """Without the time, and with the content decoded: encoders order their types differently."""
    return {**message, "timestamp": 0, "content": SERVICE.decode(message["content"])}


def test_the_recorded_session_is_lived_again(recording: Recording) -> None:
    session, now_ns = recording.session(), recording.now_ns

    (opening,) = session.receive(recording.frames["handshake"], now_ns=now_ns)
    assert isinstance(opening, Send)
    assert argument(opening.frame, WS_OPEN) == WS_OPEN.decode(bytes.fromhex(recording.opening["arg"]))[0]

    assert session.receive(recording.frames["OpenMessage"], now_ns=now_ns) == [Opened()]
    content = bytes.fromhex(recording.ping["decoded"]["content"])
    ping = argument(session.send(content, now_ns=now_ns).frame, WS_MESSAGE)
    assert ping == WS_MESSAGE.decode(bytes.fromhex(recording.ping["arg"]))[0]

    (received,) = session.receive(recording.frames["application message"], now_ns=now_ns)
    assert isinstance(received, Received)
    assert received.sequence_num == 2
    assert APPLICATION.decode(received.content)[0]

    (keep_alive,) = session.receive(recording.frames["AckMessage"], now_ns=now_ns)
    assert isinstance(keep_alive, Send)
    ours = argument(keep_alive.frame, WS_MESSAGE)["msg"]
    theirs: Any = WS_MESSAGE.decode(bytes.fromhex(recording.keep_alive["arg"]))[0]
    assert comparable(ours) == comparable(theirs["msg"])

    with pytest.raises(ClosedByApplication) as caught:
        session.receive(recording.frames["CloseMessage ClosedByApplication"], now_ns=now_ns)
    assert caught.value.close_code == 4001


def test_the_recorded_client_frames_verify(recording: Recording) -> None:
    verifier = Verifier(recording.root_key)
    for frame in (recording.opening, recording.ping, recording.keep_alive):
        request = verifier.open_envelope(bytes.fromhex(frame["hex"]), now_ns=recording.now_ns)
        assert request.request_id.hex() == frame["request_id"]
