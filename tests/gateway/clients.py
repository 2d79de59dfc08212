"""Clients of each generation as the tests need them: real keys, real envelopes, real signatures."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from appliance.crypto import CandidTypes, SigningKey, encode_cbor, encode_content, encode_envelope, hash_of_value
from appliance.ic.principal import Principal

GATEWAY = Principal.self_authenticating(b"the gateway of the tests")
CANISTER = Principal.from_text("bkyz2-fmaaa-aaaaa-qaaaq-cai")
OTHER_CANISTER = Principal.from_text("ryjl3-tyaaa-aaaaa-aaaba-cai")

OPEN = CandidTypes("(record {client_nonce: nat64; gateway_principal: principal})")
OPEN_V1 = CandidTypes("(record {client_nonce: nat64})")
MESSAGE = CandidTypes("(record {msg: blob})")
_TAG = b"\xd9\xd9\xf7"
_numbers = itertools.count(1)


@dataclass
class Client:
    """A client of v1 or v2: a key and a client nonce. ``open`` and ``message`` make the frames' payloads."""

    nonce: int = field(default_factory=lambda: next(_numbers))
    key: SigningKey = field(default_factory=lambda: SigningKey.generate("ed25519"))
    clock: Callable[[], int] = time.time_ns
    generation: str = "v2"

    @property
    def principal(self) -> Principal:
        return Principal.self_authenticating(self.key.public_key)

    @property
    def client_key(self) -> bytes:
        return self.principal + self.nonce.to_bytes(8, "big")

    def open(self, *, gateway=GATEWAY, canister=CANISTER, **changes) -> bytes:
        if self.generation == "v1":
            arg = OPEN_V1.encode({"client_nonce": self.nonce})
        else:
            arg = OPEN.encode({"client_nonce": self.nonce, "gateway_principal": gateway})
        return self.call("ws_open", arg, canister=canister, **changes)

    def message(self, payload: bytes = b"hello", *, canister=CANISTER, **changes) -> bytes:
        return self.call("ws_message", MESSAGE.encode({"msg": payload}), canister=canister, **changes)

    def call(self, method, arg, *, canister=CANISTER, expiry_ns=None, sender=None, break_signature=False) -> bytes:
        content, request_id = encode_content(
            "call",
            sender=sender or self.principal,
            ingress_expiry_ns=expiry_ns or self.clock() + 240 * 10**9,
            canister_id=canister,
            method_name=method,
            arg=arg,
            nonce=next(_numbers).to_bytes(16, "big"),
        )
        envelope = self.envelope(content, request_id, break_signature=break_signature)
        return _TAG + b"\xa1\x68envelope" + envelope.removeprefix(_TAG)

    def envelope(self, content: bytes, request_id: bytes, *, break_signature: bool) -> bytes:
        signature = bytearray(self.key.sign(b"\x0aic-request" + request_id))
        signature[7] ^= break_signature
        return encode_envelope(content, public_key=self.key.public_key, signature=bytes(signature))


@dataclass
class DelegatedClient(Client):
    """A client whose key has handed its messages on to a session key, as Internet Identity does. ``links`` delegations
    are between them.
    """

    links: int = 1

    def __post_init__(self) -> None:
        keys = [self.key, *(SigningKey.generate("ed25519") for _ in range(self.links))]
        expiry_ns = self.clock() + 3600 * 10**9
        self.session_key = keys[-1]
        self.chain = [
            (after.public_key, expiry_ns, None, before.sign(_DELEGATION + hash_of_value(_link(after, expiry_ns))))
            for before, after in pairwise(keys)
        ]

    def envelope(self, content: bytes, request_id: bytes, *, break_signature: bool) -> bytes:
        signature = bytearray(self.session_key.sign(b"\x0aic-request" + request_id))
        signature[7] ^= break_signature
        return encode_envelope(
            content, public_key=self.key.public_key, signature=bytes(signature), delegations=self.chain
        )


_DELEGATION = b"\x1aic-request-auth-delegation"


def _link(key: SigningKey, expiry_ns: int) -> dict[str, object]:
    return {"pubkey": key.public_key, "expiration": expiry_ns}


@dataclass
class ClientV0:
    """A client of v0: an Ed25519 key. ``first`` and ``message`` make the frames' payloads."""

    key: SigningKey = field(default_factory=lambda: SigningKey.generate("ed25519"))
    clock: Callable[[], int] = time.time_ns
    sent: int = 0

    @property
    def client_key(self) -> bytes:
        return self.key.public_key[-32:]

    def first(self, *, canister=CANISTER, **changes) -> bytes:
        return self.signed({"canister_id": canister, "client_key": self.client_key}, **changes)

    def message(self, payload: bytes = b"hello", *, number=None, at_ns=None, client_key=None, **changes) -> bytes:
        content = {
            "client_key": client_key or self.client_key,
            "sequence_num": self.sent if number is None else number,
            "timestamp": at_ns or self.clock(),
            "message": payload,
        }
        self.sent += number is None
        return self.signed(content, **changes)

    def signed(self, content, *, break_signature=False) -> bytes:
        data = encode_cbor(content)
        signature = bytearray(self.key.sign(data))
        if break_signature:
            signature[7] ^= 1
        return encode_cbor({"content": data, "sig": bytes(signature)})


def greeting(gateway: Principal = GATEWAY) -> bytes:
    return encode_cbor({"gateway_principal": gateway})


def payload_of(frame: bytes) -> bytes:
    """The payload of a server's frame, checked by hand."""
    assert frame[0] == 0x82
    size = frame[1]
    assert size < 128
    start = {126: 4, 127: 10}.get(size, 2)
    length = size if start == 2 else int.from_bytes(frame[2:start], "big")
    assert len(frame) == start + length
    return frame[start:]
