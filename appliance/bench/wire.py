"""Wire generation v2 as the stub IC and the load generator write and read it, with little work per message.

The content of an application message is padding and a tail of 16 bytes: the number of the message and when it was due.
"""

import hashlib
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from appliance.crypto import CandidTypes, SigningKey, decode_cbor, encode_cbor
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
_ADDRESS = 192
"""Bytes at the beginning of a content that hold client key and sequence number, its first two fields."""


class Tail(NamedTuple):
    """The end of an application message: its number, and when it was due (ns of the monotonic clock)."""

    number: int
    due_ns: int

    def content(self, size: int) -> bytes:
        """Return an application message of ``size`` bytes, or of the tail alone if that is longer."""
        return bytes(max(0, size - TAIL)) + _TAIL.pack(self.number, self.due_ns)

    @classmethod
    def of(cls, content: bytes) -> "Tail":
        """Read it from the end of a content. Raises Malformed if that is too short."""
        if len(content) < TAIL:
            raise Malformed("application message", f"{len(content)} bytes are no tail")
        return cls(*_TAIL.unpack(content[-TAIL:]))


@dataclass(frozen=True)
class LoadIdentity:
    """A client of the load generator. Its key follows from seed and number; the number is its client nonce, too."""

    seed: bytes
    number: int

    @cached_property
    def identity(self) -> KeyIdentity:
        """The identity that signs its envelopes."""
        secret = hashlib.sha256(b"load client " + self.number.to_bytes(8, "big") + self.seed).digest()
        return KeyIdentity(SigningKey.from_secret("ed25519", secret))

    @cached_property
    def key_bytes(self) -> bytes:
        """The client key as ``CertifiedMessage.client_key`` has it: principal and nonce."""
        return bytes(self.identity.principal) + self.number.to_bytes(8, "big")

    @cached_property
    def client_key(self) -> dict[str, object]:
        """The client key as a Candid value."""
        return {"client_principal": self.identity.principal, "client_nonce": self.number}


def opening_frame(client: LoadIdentity, canister_id: Principal, gateway: Principal, now_ns: int) -> bytes:
    """Return a signed ``ws_open`` as a complete WebSocket frame."""
    arg = OPEN_ARG.encode({"client_nonce": client.number, "gateway_principal": gateway})
    return masked_frame(_enveloped(_signed(client, canister_id, "ws_open", arg, now_ns)))


def message_frame(
    client: LoadIdentity, canister_id: Principal, sequence_num: int, content: bytes, now_ns: int
) -> bytes:
    """Return a signed ``ws_message`` as a complete WebSocket frame."""
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
    """Return a binary frame of a client. Its masking key is zero: legal in RFC 6455, and nothing need be masked."""
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", 0x82, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", 0x82, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", 0x82, 0x80 | 127, size)
    return head + bytes(4) + payload


def certified_content(
    client_key: object, sequence_num: int, content: bytes, timestamp_ns: int, *, is_service: bool
) -> bytes:
    """Return the message that the canister certifies, with the fields in the order of the CDK."""
    return encode_cbor(
        {
            "client_key": client_key,  # type: ignore[dict-item]  # principal and number
            "sequence_num": sequence_num,
            "timestamp": timestamp_ns,
            "is_service_message": is_service,
            "content": content,
        }
    )


def content_of(payload: bytes) -> bytes:
    """Return the certified content in a message of a gateway. Raises Malformed or CborError if there is none.

    The layout that gateways write (key, content, cert, tree) is cut without decoding the rest, any other is decoded.
    """
    at = 3 if payload.startswith(_SELF_DESCRIBED) else 0
    if payload.startswith(_KEY_HEAD, at):
        at, size = _item(payload, at + len(_KEY_HEAD))
        at += size
        if payload.startswith(_CONTENT_NAME, at):
            at, size = _item(payload, at + len(_CONTENT_NAME))
            return payload[at : at + size]
    message = decode_cbor(payload, what="message")
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, bytes):
        raise Malformed("message", "it has no content")
    return content


def address_of(content: bytes) -> bytes:
    """Return the part of a certified content that has client key and sequence number."""
    return content[:_ADDRESS]


def sequence_of(address: bytes) -> int:
    """Read the sequence number without decoding the rest. Raises Malformed if there is none."""
    at = address.find(_SEQUENCE_NAME)
    if at < 0:
        raise Malformed("message", "its content has no sequence number")
    at += len(_SEQUENCE_NAME)
    short = address[at] & 0x1F
    return short if short < 24 else int.from_bytes(address[at + 1 : at + 1 + (1 << (short - 24))], "big")


def _item(data: bytes, at: int) -> tuple[int, int]:
    """Return where the bytes of the CBOR item that begins here begin, and how many there are."""
    short = data[at] & 0x1F
    if short < 24:
        return at + 1, short
    width = 1 << (short - 24)
    return at + 1 + width, int.from_bytes(data[at + 1 : at + 1 + width], "big")
