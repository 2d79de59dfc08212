"""A canister that certifies messages for clients, and the replica below it: what the tests of messages are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from appliance import _native
from appliance.ic.principal import Principal

Generation = Literal[0, 1, 2]

CANISTER = Principal.from_text("bkyz2-fmaaa-aaaaa-qaaaq-cai")
GATEWAY = Principal.from_text("sqdfl-mr4km-2hfjy-gajqo-xqvh7-hf4mf-nra4i-3it6l-neaw4-soolw-tae")
CLIENT = Principal(b"\x11" * 28 + b"\x02")
NOW_NS = 1_700_000_000_000_000_000
SECRET = _native.BlsSecretKey.from_seed(b"the root key of a test replica..")

KEYED = "client_key: record {client_principal: principal; client_nonce: nat64}; key: text; content: blob"
REPLIES = {
    0: "messages: vec record {client_key: blob; key: text; val: blob}; cert: blob; tree: blob",
    1: f"messages: vec record {{{KEYED}}}; cert: blob; tree: blob",
    2: f"messages: vec record {{{KEYED}}}; cert: blob; tree: blob; is_end_of_queue: bool",
}
REPLY = {
    generation: _native.CandidTypes(f"(variant {{Ok: record {{{fields}}}; Err: text}})")
    for generation, fields in REPLIES.items()
}


def verifier() -> _native.Verifier:
    return _native.Verifier(SECRET.public_key)


def key_of(nonce: int, gateway: Principal = GATEWAY) -> str:
    return f"{gateway}_{nonce:020}"


def leb128(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def certificate(certified_data: bytes, *, canister: bytes = CANISTER, time_ns: int = NOW_NS) -> bytes:
    state = _native.StateTree()
    state.set([b"canister", canister, b"certified_data"], certified_data)
    state.set([b"canister", canister, b"module_hash"], b"\7" * 32)
    state.set([b"time"], leb128(time_ns))
    tree = state.witness([[b"canister", canister, b"certified_data"], [b"time"]])
    return _native.encode_certificate(tree, SECRET.sign_root(state.digest))


@dataclass
class Message:
    """What a canister says to one client."""

    nonce: int
    sequence_num: int = 1
    content: bytes = b"hello"
    is_service_message: bool = False
    client_nonce: int = 7
    tagged: bool = True
    gateway: Principal = GATEWAY

    @property
    def key(self) -> str:
        return key_of(self.nonce, self.gateway)

    def client_key(self, generation: Generation) -> bytes:
        return b"\5" * 32 if generation == 0 else CLIENT + self.client_nonce.to_bytes(8, "big")

    def certified(self, generation: Generation) -> bytes:
        counted: dict[str, Any] = {"sequence_num": self.sequence_num, "timestamp": NOW_NS + self.nonce}
        if generation == 0:
            return _native.encode_cbor({"client_key": self.client_key(0), **counted, "message": self.content})
        fields: dict[str, Any] = {
            "client_key": {"client_principal": CLIENT, "client_nonce": self.client_nonce},
            **counted,
            "is_service_message": self.is_service_message,
            "content": self.content,
        }
        return _native.encode_cbor(fields, tagged=self.tagged)

    def polled(self, generation: Generation) -> dict[str, object]:
        if generation == 0:
            return {"client_key": self.client_key(0), "key": self.key, "val": self.certified(0)}
        client_key = {"client_principal": CLIENT, "client_nonce": self.client_nonce}
        return {"client_key": client_key, "key": self.key, "content": self.certified(generation)}


@dataclass
class Reply:
    """The parts of an answer to a poll, to be changed at will before it is encoded."""

    generation: Generation
    messages: list[dict[str, object]]
    cert: bytes
    tree: bytes
    is_end_of_queue: bool = True

    @classmethod
    def of(cls, messages: Sequence[Message], generation: Generation = 2) -> Reply:
        tree = _native.StateTree()
        tree.set([b"http_assets", b"/index.html"], b"secret page")
        for message in messages:
            leaf = hashlib.sha256(message.certified(generation)).digest()
            tree.set([b"websocket", message.key.encode()], leaf)
        shown = tree.witness([[b"websocket"]])
        polled = [message.polled(generation) for message in messages]
        return cls(generation, polled, certificate(tree.digest), shown.to_cbor())

    def encode(self) -> bytes:
        fields: dict[str, object] = {"messages": self.messages, "cert": self.cert, "tree": self.tree}
        if self.generation == 2:
            fields["is_end_of_queue"] = self.is_end_of_queue
        return REPLY[self.generation].encode({"Ok": fields})


def open_reply(reply: Reply, *, gateway: Principal | None = GATEWAY, allow_holes: bool = False) -> _native.PollReply:
    return verifier().open_poll_reply(
        reply.encode(),
        CANISTER,
        generation=reply.generation,
        now_ns=NOW_NS,
        gateway=gateway,
        allow_holes=allow_holes,
    )
