"""Makes what clients and canisters sign, from the parts that a test wants to choose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from appliance._native import (
    BlsSecretKey,
    HashTree,
    SigningKey,
    Verifier,
    encode_cbor,
    encode_certificate,
    encode_content,
    encode_envelope,
    hash_of_value,
)
from appliance.ic.principal import Principal

NOW = 1_700_000_000_000_000_000
SECOND = 10**9
CANISTER = bytes([0, 0, 0, 0, 0, 0, 0, 7, 1, 1])
REQUEST = b"\x0aic-request"
DELEGATION = b"\x1aic-request-auth-delegation"
SENDER_INFO = b"\x0eic-sender-info"

Scheme = Literal["ed25519", "secp256k1", "prime256v1"]
SCHEMES: tuple[Scheme, ...] = ("ed25519", "secp256k1", "prime256v1")

ROOT = BlsSecretKey.from_seed(bytes(32))
VERIFIER = Verifier(ROOT.public_key)


def key(number: int, scheme: Scheme = "ed25519") -> SigningKey:
    """A test key by its number, from 1."""
    return SigningKey.from_secret(scheme, number.to_bytes(32, "big"))


Link = tuple[bytes, int, Sequence[bytes] | None, bytes]


def delegate(
    by: SigningKey, to: SigningKey, *, expiration_ns: int = NOW, targets: Sequence[bytes] | None = None
) -> Link:
    content: dict[str, Any] = {"pubkey": to.public_key, "expiration": expiration_ns}
    if targets is not None:
        content["targets"] = list(targets)
    return to.public_key, expiration_ns, targets, by.sign(DELEGATION + hash_of_value(content))


def content(sender: bytes, **changes: Any) -> tuple[bytes, bytes]:
    """The content of a call, or with ``request_type`` of another request, and its request id."""
    kind = changes.pop("request_type", "call")
    fields: dict[str, Any] = {"sender": sender, "ingress_expiry_ns": NOW + SECOND}
    if kind == "read_state":
        fields["paths"] = [[b"time"]]
    else:
        fields |= {"canister_id": CANISTER, "method_name": "ws_message", "arg": b"DIDL\x00\x00"}
    return encode_content(kind, **(fields | changes))


def signed(
    sender: SigningKey, *, signer: SigningKey | None = None, chain: Sequence[Link] = (), **changes: Any
) -> bytes:
    """A body: a content of ``sender``, signed by ``signer`` at the end of ``chain``."""
    body, request_id = content(Principal.self_authenticating(sender.public_key), **changes)
    signature = (signer or sender).sign(REQUEST + request_id)
    return encode_envelope(body, public_key=sender.public_key, signature=signature, delegations=chain)


def frame(body: bytes) -> bytes:
    """A body as a client's WebSocket frame."""
    return b"\xd9\xd9\xf7\xa1\x68envelope" + body.removeprefix(b"\xd9\xd9\xf7")


@dataclass(frozen=True)
class CanisterIdentity:
    """A user of a canister that signs for its users, certified by the root key of this module."""

    canister_id: bytes = CANISTER
    seed: bytes = b"user 1"
    subnet: "Subnet | None" = None

    @property
    def public_key(self) -> bytes:
        """DER, OID 1.3.6.1.4.1.56387.1.2."""
        raw = bytes([len(self.canister_id)]) + self.canister_id + self.seed
        bits = b"\x03" + bytes([len(raw) + 1]) + b"\x00" + raw
        inner = bytes.fromhex("300c060a2b0601040183b8430102") + bits
        return b"\x30" + bytes([len(inner)]) + inner

    def sign(self, message: bytes) -> bytes:
        seed, payload = sha256(self.seed).digest(), sha256(message).digest()
        tree = HashTree.from_labels({b"sig": {seed: {payload: b""}}})
        data: dict[bytes, Any] = {b"canister": {self.canister_id: {b"certified_data": tree.digest}}, b"time": b"\x01"}
        return canister_signature(self.certify(HashTree.from_labels(data)), tree)

    def certify(self, state: HashTree) -> bytes:
        if self.subnet is None:
            return encode_certificate(state, ROOT.sign_root(state.digest))
        return self.subnet.certify(state)


@dataclass(frozen=True)
class Subnet:
    """A subnet that the root key delegates to."""

    first: bytes = CANISTER
    last: bytes = CANISTER
    kind: bytes | None = None
    key: BlsSecretKey = field(default_factory=lambda: BlsSecretKey.from_seed(bytes([1]) * 32))

    def certify(self, state: HashTree) -> bytes:
        ranges = encode_cbor([[self.first, self.last]])
        facts = {b"public_key": self.key.public_key, b"canister_ranges": ranges}
        if self.kind is not None:
            facts[b"type"] = self.kind
        root: Mapping[bytes, Any] = {b"subnet": {b"subnet": facts}, b"time": b"\x01"}
        tree = HashTree.from_labels(root)
        delegation = encode_certificate(tree, ROOT.sign_root(tree.digest))
        return encode_certificate(state, self.key.sign_root(state.digest), (b"subnet", delegation))


def canister_signature(certificate: bytes, tree: HashTree) -> bytes:
    body = b"\xa2\x6bcertificate" + encode_cbor(certificate, tagged=False)
    return b"\xd9\xd9\xf7" + body + b"\x64tree" + tree.to_cbor(tagged=False)
