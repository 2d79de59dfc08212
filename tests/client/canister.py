"""A canister and its subnet in a few lines: certifies whatever a test wants a gateway to pass on, lies included."""

import hashlib
from dataclasses import dataclass, field

from appliance.client.session import Event, Opened
from appliance.client.v2 import SessionV2
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


def certified(content: bytes, *, nonce: int, now_ns: int = NOW_NS, root: BlsSecretKey = ROOT) -> bytes:
    """A frame with this content as the gateway writes it, certified at `now_ns`."""
    key = f"{GATEWAY}_{nonce:020}"
    tree = StateTree()
    tree.set([b"websocket", key.encode()], hashlib.sha256(content).digest())
    state = StateTree()
    state.set([b"canister", CANISTER_ID, b"certified_data"], tree.digest)
    state.set([b"time"], leb128(now_ns))
    certificate = encode_certificate(state.witness([[b"canister"], [b"time"]]), root.sign_root(state.digest))
    witness = tree.witness([[b"websocket", key.encode()]])
    return encode_cbor({"key": key, "content": content, "cert": certificate, "tree": witness.to_cbor()}, tagged=False)


@dataclass
class Canister:
    """Sends to one client, and counts as the CDK does. Each method makes a frame."""

    principal: Principal = CLIENT.principal
    client_nonce: int = NONCE
    now_ns: int = NOW_NS
    root: BlsSecretKey = field(default_factory=lambda: ROOT)
    sequence_num: int = 0

    @property
    def client_key(self) -> dict[str, object]:
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


def verifier() -> Verifier:
    return Verifier(ROOT.public_key)


def opened_session(canister: Canister | None = None) -> SessionV2:
    """A client's session that is open; `canister` has sent its first message to it."""
    session = SessionV2(CANISTER_ID, CLIENT, verifier(), client_nonce=NONCE, now_ns=NOW_NS)
    session.receive(HANDSHAKE, now_ns=NOW_NS)
    events: list[Event] = session.receive((canister or Canister()).open(), now_ns=NOW_NS)
    assert events == [Opened()]
    return session


def sent(frame: bytes, now_ns: int = NOW_NS) -> Request:
    """What a frame of the client says, once its signature is verified."""
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
