"""Signed messages of wire generation v0: Ed25519, without a domain separator."""

from dataclasses import dataclass
from typing import Any

from appliance.crypto import Verifier, decode_cbor, verify_signature
from appliance.errors import Malformed, SignatureInvalid

_ED25519 = bytes.fromhex("302a300506032b6570032100")
"""The DER prefix of a raw key of 32 bytes (RFC 8410)."""
KEY_LENGTH = 32
SIGNATURE_LENGTH = 64
_FIRST = "first message"
_MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class FirstMessage:
    """The opening of a session: the client's key, the canister, the signed content and its signature."""

    client_key: bytes
    canister_id: bytes
    content: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A message for the canister. ``sequence_num`` counts from 0, ``timestamp_ns`` is nanoseconds since 1970."""

    client_key: bytes
    sequence_num: int
    timestamp_ns: int
    content: bytes
    signature: bytes


def open_first(verifier: Verifier, frame: bytes) -> FirstMessage:
    """Decode and verify. Raises Malformed, TooLarge or SignatureInvalid."""
    return FirstMessage(*verifier.open_first_message(frame))


def read_first(frame: bytes) -> FirstMessage:
    """Decode only. Raises Malformed."""
    content, signature = _parts(frame, _FIRST)
    match decode_cbor(content, what=_FIRST):
        case {"client_key": bytes(client_key), "canister_id": bytes(canister_id)} if len(client_key) == KEY_LENGTH:
            return FirstMessage(client_key, canister_id, content, signature)
    raise Malformed(_FIRST, "client_key or canister_id is missing")


def open_message(frame: bytes) -> SignedMessage:
    """Decode and verify against the key that the message names. Raises Malformed or SignatureInvalid."""
    message = read_message(frame)
    if len(message.signature) != SIGNATURE_LENGTH:
        raise SignatureInvalid(f"an Ed25519 signature has {SIGNATURE_LENGTH} bytes, not {len(message.signature)}")
    verify_signature(_ED25519 + message.client_key, message.signature, message.content)
    return message


def read_message(frame: bytes) -> SignedMessage:
    """Decode only. Raises Malformed."""
    content, signature = _parts(frame, _MESSAGE)
    match decode_cbor(content, what=_MESSAGE):
        case {
            "client_key": bytes(client_key),
            "sequence_num": int(number),
            "timestamp": int(timestamp_ns),
            "message": bytes(),
        } if len(client_key) == KEY_LENGTH and _are_nat64(number, timestamp_ns):
            return SignedMessage(client_key, number, timestamp_ns, content, signature)
    raise Malformed(_MESSAGE, "it needs client_key, sequence_num, timestamp and message")


def _parts(frame: bytes, what: str) -> tuple[bytes, bytes]:
    match decode_cbor(frame, what=what):
        case {"content": bytes(content), "sig": bytes(signature)}:
            return content, signature
    raise Malformed(what, "it needs content and sig")


def _are_nat64(*numbers: Any) -> bool:
    return all(not isinstance(number, bool) and 0 <= number < 1 << 64 for number in numbers)
