"""A canister and its subnet in a few lines: certifies whatever a test wants a gateway to pass on, lies included.

`WIRES` says for each wire generation how a session of it is made and opened, for the laws that hold for all of them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from appliance.client.sessions.session import Event, Generation, Opened, Send
from appliance.client.sessions.v0 import SessionV0, client_key_of
from appliance.client.sessions.v1 import SessionV1
from appliance.client.sessions.v2 import SessionV2
from appliance.crypto import (
    BlsSecretKey,
    CandidTypes,
    Request,
    SigningKey,
    StateTree,
    Verifier,
    encode_cbor,
    encode_certificate,
)
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal

SECOND_NS = 10**9
NOW_NS = 1_800_000_000 * SECOND_NS
CANISTER_ID = Principal.from_text("bkyz2-fmaaa-aaaaa-qaaaq-cai")
GATEWAY = Principal.self_authenticating(b"the gateway of these tests")
HANDSHAKE = encode_cbor({"gateway_principal": GATEWAY})
ROOT = BlsSecretKey.from_seed(b"the root key of the client tests")
CLIENT = KeyIdentity(SigningKey.from_secret("ed25519", bytes(range(32))))
NONCE = 0xFEDC_BA98_7654_3210
KEY = SigningKey.from_secret("ed25519", bytes(range(32, 64)))
STRANGER = Principal.self_authenticating(b"another client of these tests")

SERVICE = CandidTypes(
    "(variant {OpenMessage: record {client_key: record {client_principal: principal; client_nonce: nat64}}; "
    "AckMessage: record {last_incoming_sequence_num: nat64}; "
    "KeepAliveMessage: record {last_incoming_sequence_num: nat64}; "
    "CloseMessage: record {reason: variant {WrongSequenceNumber; InvalidServiceMessage; KeepAliveTimeout; "
    "ClosedByApplication}}})"
)
WS_OPEN = CandidTypes("(record {client_nonce: nat64; gateway_principal: principal})")
WS_MESSAGE = CandidTypes(
    "(record {msg: record {client_key: record {client_principal: principal; client_nonce: nat64}; "
    "sequence_num: nat64; timestamp: nat64; is_service_message: bool; content: blob}}, opt null)"
)


def leb128(number: int) -> bytes:
    """Unsigned, shortest."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def certified(
    content: bytes, *, nonce: int, now_ns: int = NOW_NS, root: BlsSecretKey = ROOT, name: str = "content"
) -> bytes:
    """A frame with this content as the gateway writes it, certified at `now_ns`. v0 has another `name` for it."""
    key = f"{GATEWAY}_{nonce:020}"
    tree = StateTree()
    tree.set([b"websocket", key.encode()], hashlib.sha256(content).digest())
    state = StateTree()
    state.set([b"canister", CANISTER_ID, b"certified_data"], tree.digest)
    state.set([b"time"], leb128(now_ns))
    certificate = encode_certificate(state.witness([[b"canister"], [b"time"]]), root.sign_root(state.digest))
    witness = tree.witness([[b"websocket", key.encode()]])
    return encode_cbor({"key": key, name: content, "cert": certificate, "tree": witness.to_cbor()}, tagged=False)


@dataclass
class Canister:
    """One of v1 or v2. Sends to one client, and counts as the CDK does. Each method makes a frame."""

    principal: Principal = CLIENT.principal
    client_nonce: int = NONCE
    now_ns: int = NOW_NS
    root: BlsSecretKey = field(default_factory=lambda: ROOT)
    sequence_num: int = 0

    @property
    def client_key(self) -> dict[str, bytes | int]:
        return {"client_principal": self.principal, "client_nonce": self.client_nonce}

    def message(self, content: bytes, *, service: bool = False, timestamp_ns: int | None = None) -> bytes:
        self.sequence_num += 1
        inner = encode_cbor(
            {
                "client_key": self.client_key,
                "sequence_num": self.sequence_num,
                "timestamp": self.now_ns if timestamp_ns is None else timestamp_ns,
                "is_service_message": service,
                "content": content,
            }
        )
        return certified(inner, nonce=self.sequence_num - 1, now_ns=self.now_ns, root=self.root)

    def service(self, value: dict[str, object]) -> bytes:
        return self.message(SERVICE.encode(value), service=True)

    def open(self) -> bytes:
        return self.service({"OpenMessage": {"client_key": self.client_key}})

    def ack(self, number: int) -> bytes:
        return self.service({"AckMessage": {"last_incoming_sequence_num": number}})

    def close(self, reason: str) -> bytes:
        return self.service({"CloseMessage": {"reason": {reason: None}}})


@dataclass
class SeedCanister:
    """One of v0."""

    client_key: bytes = field(default_factory=lambda: client_key_of(KEY))
    now_ns: int = NOW_NS
    root: BlsSecretKey = field(default_factory=lambda: ROOT)
    sequence_num: int = 0

    def message(self, content: bytes, *, timestamp_ns: int | None = None) -> bytes:
        self.sequence_num += 1
        inner = encode_cbor(
            {
                "client_key": self.client_key,
                "sequence_num": self.sequence_num,
                "timestamp": self.now_ns if timestamp_ns is None else timestamp_ns,
                "message": content,
            }
        )
        return certified(inner, nonce=self.sequence_num - 1, now_ns=self.now_ns, root=self.root, name="val")


def verifier() -> Verifier:
    return Verifier(ROOT.public_key)


@dataclass(frozen=True)
class Wire:
    """One generation, for laws that do not depend on which."""

    generation: Generation
    session: Callable[..., Any]
    """A new one; takes `canister_id` and `limits`."""
    canister: Callable[..., Any]
    strangers: tuple[dict[str, object], ...]
    """Fields of the canister with which it sends to other clients."""
    greeting: tuple[bytes | str, ...]
    """What the gateway sends of its own before the canister's messages."""
    has_open_message: bool = True
    content_name: str = "content"

    def opening(self, canister: Any) -> list[bytes | str]:
        """All that arrives until the session is open."""
        return [*self.greeting, *([canister.open()] if self.has_open_message else [])]

    def opened(self, canister: Any = None) -> Any:
        """A session that is open; `canister` has sent it what opens it."""
        session = self.session()
        session.start(now_ns=NOW_NS)
        events: list[Event] = []
        for frame in self.opening(canister or self.canister()):
            events = session.receive(frame, now_ns=NOW_NS)
        assert events == [Opened()]
        return session


def _v0(canister_id: Principal = CANISTER_ID, **options: Any) -> SessionV0:
    return SessionV0(canister_id, KEY, verifier(), now_ns=NOW_NS, **options)


def _v1(canister_id: Principal = CANISTER_ID, **options: Any) -> SessionV1:
    return SessionV1(canister_id, CLIENT, verifier(), client_nonce=NONCE, now_ns=NOW_NS, **options)


def _v2(canister_id: Principal = CANISTER_ID, **options: Any) -> SessionV2:
    return SessionV2(canister_id, CLIENT, verifier(), client_nonce=NONCE, now_ns=NOW_NS, **options)


OTHERS: tuple[dict[str, object], ...] = ({"principal": STRANGER}, {"client_nonce": NONCE + 1})
SEED_OTHERS: tuple[dict[str, object], ...] = ({"client_key": bytes(32)}, {"client_key": b""})
V0 = Wire("v0", _v0, SeedCanister, SEED_OTHERS, ("1",), has_open_message=False, content_name="val")
V1 = Wire("v1", _v1, Canister, OTHERS, ())
V2 = Wire("v2", _v2, Canister, OTHERS, (HANDSHAKE,))
WIRES = (V0, V1, V2)


def frame_of(events: list[Event]) -> bytes:
    """The frame of the only event."""
    (event,) = events
    assert isinstance(event, Send)
    return event.frame


def sent(frame: bytes, now_ns: int = NOW_NS) -> Request:
    """What a frame of a client of v1 or v2 says, once its signature is verified."""
    return verifier().open_envelope(frame, now_ns=now_ns)


def message_of(frame: bytes, now_ns: int = NOW_NS) -> dict[str, object]:
    """The `msg` of a ws_message frame."""
    request = sent(frame, now_ns)
    assert request.method_name == "ws_message"
    argument, _ = WS_MESSAGE.decode(request.arg)
    assert isinstance(argument, dict)
    message = argument["msg"]
    assert isinstance(message, dict)
    return message
