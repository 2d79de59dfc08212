"""Identities that sign requests (IC interface specification, "Authentication"), with delegations and adapters."""

import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from appliance.crypto import SigningKey, hash_of_value
from appliance.errors import KeyUnusable
from appliance.ic.principal import ANONYMOUS, Principal

Scheme = Literal["ed25519", "secp256k1", "prime256v1"]

DELEGATION_SEPARATOR = b"\x1aic-request-auth-delegation"


class Delegation(NamedTuple):
    """One link of a delegation chain: the key that may sign, until when (ns since 1970), for which canisters (None for
    all), and the signature of the key before it. The order is the one ``crypto.encode_envelope`` takes."""

    public_key: bytes
    expiration_ns: int
    targets: Sequence[bytes] | None
    signature: bytes


@runtime_checkable
class Identity(Protocol):
    """The sender of requests."""

    @property
    def principal(self) -> Principal:
        """The sender."""

    @property
    def public_key(self) -> bytes | None:
        """The DER key the principal is made of; None for the anonymous identity."""

    @property
    def delegations(self) -> Sequence[Delegation]:
        """From that key to the one that signs."""

    def sign(self, message: bytes) -> bytes | None:
        """Sign bytes that begin with their domain separator. None: requests of this identity carry no signature."""


class AnonymousIdentity:
    """The anonymous identity."""

    principal = ANONYMOUS
    public_key = None
    delegations: Sequence[Delegation] = ()

    def sign(self, message: bytes) -> None:
        """None: anonymous requests have no signature."""

    def __repr__(self) -> str:
        return "AnonymousIdentity()"


class KeyIdentity:
    """The holder of a private key."""

    delegations: Sequence[Delegation] = ()

    def __init__(self, key: SigningKey) -> None:
        self.key = key
        self.public_key: bytes = key.public_key
        self.principal = Principal.self_authenticating(self.public_key)

    @property
    def scheme(self) -> Scheme:
        """The kind of the key."""
        return self.key.scheme

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self.key.sign(message)

    def to_pem(self) -> bytes:
        """The private key as PKCS#8. Secret."""
        return self.key.to_pem()

    def derive(self, purpose: bytes) -> bytes:
        """32 secret bytes for something else than signing, others for each purpose. They say nothing of the key.

        HMAC-SHA256 with the key as PKCS#8, which is the same text whatever form the key was read from.
        """
        return hmac.digest(self.key.to_pem(), purpose, "sha256")

    def __repr__(self) -> str:
        return f"KeyIdentity({self.scheme}, {self.principal})"


class DelegatedIdentity:
    """A session key that signs for another identity, by a chain of delegations.

    ``inner`` signs; ``public_key`` (DER) is the one the principal is made of; ``delegations`` lead from that key to
    the key of ``inner``. Raises KeyUnusable for a chain that ends at another key.
    """

    def __init__(self, inner: Identity, public_key: bytes, delegations: Sequence[Delegation]) -> None:
        if (delegations[-1].public_key if delegations else public_key) != inner.public_key:
            raise KeyUnusable("the delegation chain does not lead to the key that signs")
        self._inner = inner
        self.public_key: bytes = public_key
        self.delegations = tuple(delegations)
        self.principal = Principal.self_authenticating(public_key)

    def sign(self, message: bytes) -> bytes | None:
        """As the inner identity does."""
        return self._inner.sign(message)

    def __repr__(self) -> str:
        return f"DelegatedIdentity({self.principal}, {len(self.delegations)} delegations)"


def delegate(
    identity: Identity, public_key: bytes, *, expiration_ns: int, targets: Sequence[bytes] | None = None
) -> Delegation:
    """Let the holder of ``public_key`` (DER) sign for ``identity`` until ``expiration_ns``, for all canisters or for
    ``targets`` only. Raises KeyUnusable where the identity is anonymous."""
    content: dict[str, Any] = {"pubkey": public_key, "expiration": expiration_ns}
    if targets is not None:
        content["targets"] = list(targets)
    signature = identity.sign(DELEGATION_SEPARATOR + hash_of_value(content))
    if signature is None:
        raise KeyUnusable("the anonymous identity cannot delegate")
    return Delegation(public_key, expiration_ns, targets, signature)


# --- identities of other libraries ----------------------------------------------------------------------------------


class _Adapted:
    """An identity object of ic-py or icp-py-core: ``sign`` answers key and signature."""

    def __init__(self, foreign: Any, public_key: bytes) -> None:
        self._foreign = foreign
        self.public_key = public_key
        self.principal = Principal.self_authenticating(public_key)
        self.delegations = tuple(_adapted_delegation(link) for link in getattr(foreign, "delegations", ()))

    def sign(self, message: bytes) -> bytes:
        return bytes(self._foreign.sign(message)[1])


def _adapted_delegation(link: Mapping[str, Any]) -> Delegation:
    content = link["delegation"]
    targets = content.get("targets")
    return Delegation(content["pubkey"], content["expiration"], targets, link["signature"])


def adapt(identity: object) -> Identity:
    """Use an identity of another library here: an object with ``sender()`` and ``sign(bytes) -> (DER key, signature)``,
    as ic-py and icp-py-core have them, with or without delegations. Our own are returned as they are.

    Raises KeyUnusable for anything else.
    """
    if isinstance(identity, Identity):
        return identity
    sender, sign = getattr(identity, "sender", None), getattr(identity, "sign", None)
    if not callable(sender) or not callable(sign):
        raise KeyUnusable(f"{type(identity).__name__} has no sender() and sign()")
    principal = sender()
    principal = Principal(getattr(principal, "bytes", principal))
    if principal == ANONYMOUS:
        return AnonymousIdentity()
    adapted = _Adapted(identity, getattr(identity, "der_pubkey", None) or sign(b"\x00")[0])
    if adapted.principal != principal:
        raise KeyUnusable(f"its sender {principal} is not the principal of its key, {adapted.principal}")
    return adapted
