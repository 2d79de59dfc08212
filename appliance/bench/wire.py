"""What the stub IC and the load generator exchange in wire generation v2 (IC-PROTOCOL D.2), written fast.

Both are ours, so the content of an application message is a layout of our own: padding, and a tail of 16 bytes that
says which message it is and when it was due. The tail is the last thing in a frame's ``content``.
"""

import hashlib
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from appliance.crypto import CandidTypes, SigningKey, encode_cbor
from appliance.errors import Malformed
from appliance.ic.envelope import SignedRequest, sign_request
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal

CLIENT_KEY = "record {client_principal: principal; client_nonce: nat64}"
OPEN_ARG = CandidTypes("(record {client_nonce: nat64; gateway_principal: principal})")
MESSAGE_ARG = CandidTypes(
    f"(record {{msg: record {{client_key: {CLIENT_KEY}; sequence_num: nat64; timestamp: nat64; "
    "is_service_message: bool; content: blob}}, opt null)"
)
CLOSE_ARG = CandidTypes(f"(record {{client_key: {CLIENT_KEY}}})")
SERVICE = CandidTypes(f"(variant {{OpenMessage: record {{client_key: {CLIENT_KEY}}}}})")
PAGE = CandidTypes(
    f"(variant {{Ok: record {{messages: vec record {{client_key: {CLIENT_KEY}; key: text; content: blob}}; "
    "cert: blob; tree: blob; is_end_of_queue: bool}; Err: text})"
)
DONE = CandidTypes("(variant {Ok; Err: text})").encode({"Ok": None})

_SELF_DESCRIBED = b"\xd9\xd9\xf7"
_ENVELOPE_HEAD = _SELF_DESCRIBED + b"\xa1\x68envelope"
_TAIL = struct.Struct(">QQ")
TAIL = _TAIL.size
_KEY_HEAD = b"\xa4\x63key"
_CONTENT_NAME = b"\x67content"
_SEQUENCE_NAME = b"\x6csequence_num"
_BEFORE_SEQUENCE = 192
"""Bytes of a content in which the sequence number must come: client key and number are its first two fields."""


class Tail(NamedTuple):
    """What an application message says of itself: a number, and when it was due (ns of the monotonic clock)."""

    number: int
    due_ns: int

    def content(self, size: int) -> bytes:
        """As an application message of ``size`` bytes, at least the tail."""
        return bytes(max(0, size - TAIL)) + _TAIL.pack(self.number, self.due_ns)

    @classmethod
    def of(cls, content: bytes | memoryview) -> "Tail":
        """Read it off the end of a content. Raises Malformed where that is too short."""
        if len(content) < TAIL:
            raise Malformed("application message", f"{len(content)} bytes are no tail")
        return cls(*_TAIL.unpack(content[-TAIL:]))


@dataclass(frozen=True)
class LoadIdentity:
    """A client of the load generator. Its key follows from seed and number, so that the stub knows it, too."""

    seed: bytes
    number: int

    @cached_property
    def identity(self) -> KeyIdentity:
        """What it signs with."""
        secret = hashlib.sha256(b"load client " + self.number.to_bytes(8, "big") + self.seed).digest()
        return KeyIdentity(SigningKey.from_secret("ed25519", secret))

    @cached_property
    def key_bytes(self) -> bytes:
        """The client key as gateways and verifiers write it: principal and nonce."""
        return bytes(self.identity.principal) + self.number.to_bytes(8, "big")

    @cached_property
    def client_key(self) -> dict[str, object]:
        """The Candid value."""
        return {"client_principal": self.identity.principal, "client_nonce": self.number}


def opening_frame(client: LoadIdentity, canister_id: Principal, gateway: Principal, now_ns: int) -> bytes:
    """The signed ``ws_open``, as a complete WebSocket frame."""
    arg = OPEN_ARG.encode({"client_nonce": client.number, "gateway_principal": gateway})
    return masked_frame(_enveloped(_signed(client, canister_id, "ws_open", arg, now_ns)))


def message_frame(
    client: LoadIdentity, canister_id: Principal, sequence_num: int, content: bytes, now_ns: int
) -> bytes:
    """A signed ``ws_message``, as a complete WebSocket frame."""
    message = {
        "client_key": client.client_key,
        "sequence_num": sequence_num,
        "timestamp": now_ns,
        "is_service_message": False,
        "content": content,
    }
    arg = MESSAGE_ARG.encode({"msg": message}, None)
    return masked_frame(_enveloped(_signed(client, canister_id, "ws_message", arg, now_ns)))


def _signed(client: LoadIdentity, canister_id: Principal, method: str, arg: bytes, now_ns: int) -> SignedRequest:
    return sign_request(client.identity, "call", now_ns=now_ns, canister_id=canister_id, method_name=method, arg=arg)


def _enveloped(request: SignedRequest) -> bytes:
    return _ENVELOPE_HEAD + request.body.removeprefix(_SELF_DESCRIBED)


def masked_frame(payload: bytes) -> bytes:
    """A binary frame of a client. The mask is zero, which RFC 6455 allows and which costs nothing to apply."""
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", 0x82, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", 0x82, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", 0x82, 0x80 | 127, size)
    return head + bytes(4) + payload


def certified_content(
    client_key: object, sequence_num: int, content: bytes, timestamp_ns: int, *, service: bool
) -> bytes:
    """What the canister certifies for a client, its fields in the order of the CDK: the application's part is last."""
    return encode_cbor(
        {
            "client_key": client_key,  # type: ignore[dict-item]  # principal and number
            "sequence_num": sequence_num,
            "timestamp": timestamp_ns,
            "is_service_message": service,
            "content": content,
        }
    )


def content_of(payload: bytes) -> memoryview:
    """The certified content in a message of a gateway, without decoding the rest.

    Raises Malformed where the message does not have the layout that gateways of v2 write (key, content, cert, tree):
    another gateway may order its map otherwise, and is then measured with full decoding by the caller.
    """
    at = len(_KEY_HEAD)
    if payload[:at] != _KEY_HEAD:
        raise Malformed("message", "it does not begin with its key")
    at, size = _head(payload, at)
    at += size
    if payload[at : at + len(_CONTENT_NAME)] != _CONTENT_NAME:
        raise Malformed("message", "its content does not follow its key")
    at, size = _head(payload, at + len(_CONTENT_NAME))
    return memoryview(payload)[at : at + size]


def sequence_of(content: bytes | memoryview) -> int:
    """The sequence number in a certified content, without decoding the rest. Raises Malformed where there is none."""
    head = bytes(content[:_BEFORE_SEQUENCE])
    at = head.find(_SEQUENCE_NAME)
    if at < 0:
        raise Malformed("message", "its content has no sequence number")
    at += len(_SEQUENCE_NAME)
    short = head[at] & 0x1F
    return short if short < 24 else int.from_bytes(head[at + 1 : at + 1 + (1 << (short - 24))], "big")


def _head(data: bytes, at: int) -> tuple[int, int]:
    """Where the item that begins here has its bytes, and how many."""
    short = data[at] & 0x1F
    if short < 24:
        return at + 1, short
    width = 1 << (short - 24)
    return at + 1 + width, int.from_bytes(data[at + 1 : at + 1 + width], "big")
