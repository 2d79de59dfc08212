"""Signs requests (IC interface specification, "Authentication" and "Request: Call")."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from appliance.crypto import encode_content, encode_envelope
from appliance.ic.identity import Identity

REQUEST_SEPARATOR = b"\x0aic-request"
LIFETIME_NS = 240 * 10**9  # the IC accepts up to 5 min ahead; a minute of that is left for clocks that differ
NONCE_LENGTH = 16

RequestType = Literal["call", "query", "read_state"]


class SignedCall(Protocol):
    """A complete call, for ``Agent.submit``. A client's envelope is one, too."""

    @property
    def body(self) -> bytes:
        """The envelope as CBOR."""

    @property
    def request_id(self) -> bytes:
        """32 bytes."""

    @property
    def canister_id(self) -> bytes:
        """The callee."""

    @property
    def method_name(self) -> str:
        """The method, for error messages."""

    @property
    def ingress_expiry_ns(self) -> int:
        """Nanoseconds since 1970."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request of one of our identities. ``canister_id`` and ``method_name`` are empty for read_state."""

    body: bytes
    request_id: bytes
    canister_id: bytes
    method_name: str
    ingress_expiry_ns: int


def sign_request(
    identity: Identity,
    request_type: RequestType,
    *,
    now_ns: int,
    canister_id: bytes | None = None,
    method_name: str | None = None,
    arg: bytes | None = None,
    paths: Sequence[Sequence[bytes]] | None = None,
    nonce: bytes | None = None,
    lifetime_ns: int = LIFETIME_NS,
) -> SignedRequest:
    """Write and sign a request: call and query take canister, method and argument, read_state takes paths.

    It expires ``lifetime_ns`` after ``now_ns``. A call gets a random nonce unless it is given one, so that two equal
    calls are two.
    """
    if nonce is None and request_type == "call":
        nonce = os.urandom(NONCE_LENGTH)
    content, request_id = encode_content(
        request_type,
        sender=identity.principal,
        ingress_expiry_ns=now_ns + lifetime_ns,
        canister_id=canister_id,
        method_name=method_name,
        arg=arg,
        paths=paths,
        nonce=nonce,
    )
    return SignedRequest(
        encode_envelope(
            content,
            public_key=identity.public_key,
            signature=identity.sign(REQUEST_SEPARATOR + request_id),
            delegations=identity.delegations,
        ),
        request_id,
        canister_id or b"",
        method_name or "",
        now_ns + lifetime_ns,
    )
