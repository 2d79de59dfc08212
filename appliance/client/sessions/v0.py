"""The client's side of wire generation v0 (the SDK of July 2023): an Ed25519 key signs every message,
the gateway answers the first one with a text frame, and messages are CBOR.

The key is registered by an update call of `ws_register` over HTTP, before the session. What the session sends goes
through the gateway; `SessionV0.direct` is for clients that call the canister themselves, as the SDK of that time did.
"""

from collections.abc import Mapping
from typing import ClassVar

from appliance.client.errors import OpeningRefused, OutOfTurn, shown
from appliance.client.sessions.certified import CertifiedSession
from appliance.client.sessions.session import Event, Generation, Limits, Opened, Received, Send, State
from appliance.client.sessions.wrong_generation import detect_wrong_generation
from appliance.crypto import CandidTypes, CertifiedMessage, SigningKey, Verifier, encode_cbor
from appliance.errors import KeyUnusable
from appliance.ic.principal import Principal

REGISTER = CandidTypes("(record {client_key: blob})")
"""The argument of `ws_register`."""
MESSAGE = CandidTypes(
    "(record {msg: variant {DirectlyFromClient: record {client_key: blob; message: blob}; "
    "RelayedByGateway: record {content: blob; sig: blob}; IcWebSocketEstablished: blob}})"
)
"""The argument of `ws_message`."""
ANSWER = CandidTypes("(variant {Ok; Err: text})")
"""The answer of both."""

_KEY_LENGTH = 32  # of a raw Ed25519 key, which its DER form ends with (RFC 8410)
_ANSWERS = 'the text "1" or "0"'


def client_key_of(key: SigningKey) -> bytes:
    """The raw public key by which the canister knows the client. Raises KeyUnusable for a key of another scheme."""
    if key.scheme != "ed25519":
        raise KeyUnusable(f"clients of v0 have an Ed25519 key, this one is of {key.scheme}")
    return key.public_key[-_KEY_LENGTH:]


def registration(key: SigningKey) -> bytes:
    """The Candid argument of `ws_register` for this key. Raises KeyUnusable."""
    return REGISTER.encode({"client_key": client_key_of(key)})


class SessionV0(CertifiedSession):
    """One connection of a client of v0."""

    generation: ClassVar[Generation] = "v0"
    limits = Limits()
    _wire = 0
    _awaited: ClassVar[Mapping[State, str]] = {State.OPENING: "answer of the gateway to the first message"}

    def __init__(
        self, canister_id: Principal, key: SigningKey, verifier: Verifier, *, now_ns: int, limits: Limits | None = None
    ) -> None:
        """`key` is the one that was registered. `now_ns` is when the socket was opened. Raises KeyUnusable."""
        super().__init__(canister_id, verifier, client_key_of(key), now_ns=now_ns, limits=limits)
        self._key = key
        self._sent = 0

    def direct(self, content: bytes) -> bytes:
        """The Candid argument of `ws_message` for a message that does not go through the gateway: to be called by the
        identity that registered the key. The canister does not count such messages. Raises NotOpen."""
        self._refuse_unless_open()
        return MESSAGE.encode({"msg": {"DirectlyFromClient": {"client_key": self._client_key, "message": content}}})

    def _opening_events(self, now_ns: int) -> list[Event]:
        return [self._signed(encode_cbor({"canister_id": self._canister_id, "client_key": self._client_key}))]

    def _text(self, text: str) -> list[Event]:
        if self._state is State.OPEN:
            raise OutOfTurn(f"the text {shown(text)}", f"message {self._received + 1}")
        if text == "0":
            raise OpeningRefused
        if text != "1":
            raise OutOfTurn(f"the text {shown(text)}", _ANSWERS)
        self._state = State.OPEN
        return [Opened()]

    def _binary(self, frame: bytes, now_ns: int) -> list[Event]:
        if self._state is State.OPENING:
            detect_wrong_generation(frame, self.generation)
            raise OutOfTurn("a binary message", _ANSWERS)
        return super()._binary(frame, now_ns)

    def _take(self, message: CertifiedMessage, now_ns: int) -> list[Event]:
        return [Received(message.content, message.sequence_num, message.timestamp_ns, message.certified_at_ns)]

    def _message(self, content: bytes, now_ns: int) -> Send:
        message = encode_cbor(
            {"client_key": self._client_key, "sequence_num": self._sent, "timestamp": now_ns, "message": content}
        )
        self._sent += 1
        return self._signed(message)

    def _signed(self, content: bytes) -> Send:
        # The signature is over the content alone: v0 has no domain separator.
        return Send(encode_cbor({"content": content, "sig": self._key.sign(content)}))

    @staticmethod
    def _readable(client_key: bytes) -> str:
        return client_key.hex()
