"""The keys of the local IC, which sign states, delegations and query responses (interface specification,
"Certification" and "Request: Query call").
"""

import hashlib
import secrets
from collections.abc import Mapping
from typing import Literal, TypeAlias

from appliance.crypto import (
    BlsSecretKey,
    HashTree,
    SigningKey,
    encode_cbor,
    encode_certificate,
    hash_of_value,
)
from appliance.ic.principal import Principal

Ranges: TypeAlias = Literal["flat", "sharded", "none"]
"""How a delegation shows the canister ranges: at ``/subnet/<id>/canister_ranges`` (v2 and v3 calls, v2 reads and
queries), at ``/canister_ranges/<id>/<shard>`` (later versions), or not (v3 subnet reads).

The version of a query decides about the data certificate that the canister gets in it, too, as on the mainnet: clients
whose agent is older than the shards can only verify what was polled by v2."""

SYSTEM_IDS = (0x0000000000000000, 0x00000000000FFFFF)
LOCAL_IDS = (0x8000000000100000, 0x80000000001FFFFF)
"""First and last number of the canister ids, as on other local networks; the first holds the well-known system ids."""

DELEGATION_LIFE_NS = 3_600 * 10**9
"""How long a delegation is served before it is signed again."""

SUBNET_TYPE = b"application"
QUERY_DOMAIN = b"\x0bic-response"


def canister_id(number: int) -> Principal:
    """The principal of a canister's number."""
    return Principal(number.to_bytes(8, "big") + b"\x01\x01")


RANGES = tuple((canister_id(first), canister_id(last)) for first, last in (SYSTEM_IDS, LOCAL_IDS))


def is_hosted(canister: Principal) -> bool:
    """Whether the id lies in the subnet's ranges."""
    return any(first <= canister <= last for first, last in RANGES)


def leb128(number: int) -> bytes:
    """Unsigned LEB128 of a natural number, as leaves of the state tree hold numbers."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class Authority:
    """The root key, with ``subnet`` the key of a subnet under it, and the keys of its ``nodes``.

    Equal seeds give equal keys; without a seed they are random.
    """

    def __init__(self, *, subnet: bool = False, seed: bytes | None = None, nodes: int = 1) -> None:
        seed = secrets.token_bytes(32) if seed is None else seed
        self.seed = seed
        self._root = BlsSecretKey.from_seed(derive(seed, "root"))
        self._subnet = BlsSecretKey.from_seed(derive(seed, "subnet")) if subnet else self._root
        self._nodes = [_node_key(seed, number) for number in range(nodes)]
        self.is_delegated = subnet
        self.root_key = self._root.public_key
        self.root_subnet_id = Principal.self_authenticating(self.root_key)
        self.subnet_id = Principal.self_authenticating(self._subnet.public_key)
        self.node_ids = [Principal.self_authenticating(key.public_key) for key in self._nodes]
        self._delegation: HashTree | None = None
        self._delegation_signature = b""
        self._delegation_time_ns = 0
        self._delegations: dict[Ranges, tuple[bytes, bytes]] = {}

    @property
    def state(self) -> Mapping[tuple[bytes, ...], bytes]:
        """The leaves of the state tree about the subnet itself, by path."""
        subnet = (b"subnet", self.subnet_id)
        return {
            (*subnet, b"public_key"): self._subnet.public_key,
            (*subnet, b"canister_ranges"): encode_cbor([list(pair) for pair in RANGES]),
            (*subnet, b"type"): SUBNET_TYPE,
            **{
                (*subnet, b"node", node_id, b"public_key"): key.public_key
                for node_id, key in zip(self.node_ids, self._nodes, strict=True)
            },
            (b"canister_ranges", self.subnet_id, RANGES[0][0]): encode_cbor([list(pair) for pair in RANGES]),
        }

    def sign_state(self, digest: bytes) -> bytes:
        """The subnet's signature over the digest of its state tree, 48 bytes."""
        return self._subnet.sign_root(digest)

    def sign_response(
        self, response: Mapping[str, object], request_id: bytes, timestamp_ns: int, *, node: int = 0
    ) -> dict[str, object]:
        """A node's signature over the response to a query, an item of ``signatures``."""
        signed = {**response, "timestamp": timestamp_ns, "request_id": request_id}
        message = QUERY_DOMAIN + hash_of_value(signed)  # type: ignore[arg-type]  # CBOR values only
        signature = self._nodes[node].sign(message)
        return {"timestamp": timestamp_ns, "signature": signature, "identity": self.node_ids[node]}

    def delegation(self, ranges: Ranges, *, now_ns: int) -> tuple[bytes, bytes] | None:
        """The delegation to the subnet as (subnet id, certificate); None where the root key signs states itself."""
        if not self.is_delegated:
            return None
        if self._delegation is None or now_ns - self._delegation_time_ns > DELEGATION_LIFE_NS:
            self._sign_delegation(now_ns)
        if ranges not in self._delegations:
            self._delegations[ranges] = (self.subnet_id, self._show(ranges))
        return self._delegations[ranges]

    def _sign_delegation(self, now_ns: int) -> None:
        encoded = encode_cbor([list(pair) for pair in RANGES])
        root_key, subnet_key = self.root_key, self._subnet.public_key
        self._delegation = HashTree.from_labels(
            {
                b"time": leb128(now_ns),
                b"subnet": {
                    self.root_subnet_id: {b"public_key": root_key, b"canister_ranges": encode_cbor([])},
                    self.subnet_id: {b"public_key": subnet_key, b"canister_ranges": encoded, b"type": SUBNET_TYPE},
                },
                b"canister_ranges": {self.subnet_id: {RANGES[0][0]: encoded}},
            }
        )
        self._delegation_signature = self._root.sign_root(self._delegation.digest)
        self._delegation_time_ns = now_ns
        self._delegations.clear()

    def _show(self, ranges: Ranges) -> bytes:
        if self._delegation is None:
            raise RuntimeError("the delegation is signed before it is shown")
        subnet = (b"subnet", self.subnet_id)
        paths: list[tuple[bytes, ...]] = [(b"time",), (*subnet, b"public_key"), (*subnet, b"type")]
        if ranges == "flat":
            paths.append((*subnet, b"canister_ranges"))
        if ranges == "sharded":
            paths.append((b"canister_ranges", self.subnet_id, RANGES[0][0]))
        return encode_certificate(self._delegation.witness(paths), self._delegation_signature)


def _node_key(seed: bytes, number: int) -> SigningKey:
    return SigningKey.from_secret("ed25519", derive(seed, f"node {number}" if number else "node"))


def derive(seed: bytes, use: str) -> bytes:
    """The secret of 32 bytes for one use, derived from a seed."""
    return hashlib.sha256(b"localnet " + use.encode() + b" " + seed).digest()
