"""Laws of ``ic/identity.py``."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import SigningKey, hash_of_value, verify_signature
from appliance.errors import KeyUnusable
from appliance.ic.identity import (
    DELEGATION_SEPARATOR,
    AnonymousIdentity,
    DelegatedIdentity,
    Identity,
    KeyIdentity,
    Scheme,
    adapt,
    delegate,
)
from appliance.ic.principal import ANONYMOUS, Principal

SCHEMES: list[Scheme] = ["ed25519", "secp256k1", "prime256v1"]
TARGETS = [Principal(b"\x01"), Principal(b"\x02\x03")]


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> Scheme:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def session() -> KeyIdentity:
    return KeyIdentity(SigningKey.generate("ed25519"))


# --- who signs ------------------------------------------------------------------------------------------------------


def test_every_kind_is_an_identity(identity: KeyIdentity) -> None:
    assert isinstance(identity, Identity)
    assert isinstance(AnonymousIdentity(), Identity)
    assert isinstance(DelegatedIdentity(identity, identity.public_key, []), Identity)


def test_keys_have_the_principals_that_mainnet_gave_them(vectors: Any) -> None:
    for case in vectors.load_json("principals.json")["self_authenticating"]:
        key = SigningKey.from_secret("ed25519", bytes.fromhex(case["ed25519_seed"]))
        assert str(KeyIdentity(key).principal) == case["principal"]


def test_nobody_signs_nothing() -> None:
    nobody = AnonymousIdentity()
    assert (nobody.principal, nobody.public_key, nobody.delegations) == (ANONYMOUS, None, ())
    assert nobody.sign(b"anything") is None  # type: ignore[func-returns-value]


@given(st.binary(max_size=200))
def test_a_signature_holds_for_its_message(message: bytes) -> None:
    identity = KeyIdentity(SigningKey.from_secret("ed25519", bytes(32)))
    verify_signature(identity.public_key, identity.sign(message), message)


def test_nothing_secret_is_shown(scheme: Scheme) -> None:
    secret = bytes(range(1, 33))
    identity = KeyIdentity(SigningKey.from_secret(scheme, secret))
    for text in (repr(identity), str(identity), repr(vars(identity))):
        assert secret.hex() not in text
        assert repr(secret)[2:-1] not in text


# --- delegation -----------------------------------------------------------------------------------------------------


def test_a_delegation_is_signed_by_the_delegating_key(scheme: Scheme, session: KeyIdentity) -> None:
    identity = KeyIdentity(SigningKey.generate(scheme))
    link = delegate(identity, session.public_key, expiration_ns=17, targets=TARGETS)
    content: dict[str, Any] = {"pubkey": session.public_key, "expiration": 17, "targets": TARGETS}
    verify_signature(identity.public_key, link.signature, DELEGATION_SEPARATOR + hash_of_value(content))
    assert link[:3] == (session.public_key, 17, TARGETS)


def test_a_delegated_identity_has_the_principal_of_the_first_key(identity: KeyIdentity, session: KeyIdentity) -> None:
    middle = KeyIdentity(SigningKey.generate("secp256k1"))
    chain = [
        delegate(identity, middle.public_key, expiration_ns=9),
        delegate(middle, session.public_key, expiration_ns=9),
    ]
    delegated = DelegatedIdentity(session, identity.public_key, chain)
    assert delegated.principal == identity.principal
    verify_signature(session.public_key, delegated.sign(b"message") or b"", b"message")


def test_a_chain_to_another_key_is_refused(identity: KeyIdentity, session: KeyIdentity) -> None:
    link = delegate(identity, identity.public_key, expiration_ns=9)
    with pytest.raises(KeyUnusable):
        DelegatedIdentity(session, identity.public_key, [link])


def test_nobody_cannot_delegate(session: KeyIdentity) -> None:
    with pytest.raises(KeyUnusable):
        delegate(AnonymousIdentity(), session.public_key, expiration_ns=9)


# --- identities of other libraries ----------------------------------------------------------------------------------


class ForeignPrincipal:
    """As ic-py's: the bytes are an attribute."""

    def __init__(self, data: bytes) -> None:
        self.bytes = data


class ForeignIdentity:
    """As ic-py 1.0.1 and icp-py-core have it."""

    def __init__(self, key: SigningKey, sender: bytes | None = None) -> None:
        self._key = key
        self._sender = Principal.self_authenticating(key.public_key) if sender is None else sender

    def sender(self) -> ForeignPrincipal:
        return ForeignPrincipal(bytes(self._sender))

    def sign(self, message: bytes) -> tuple[bytes, bytes]:
        return self._key.public_key, self._key.sign(message)


class ForeignDelegate(ForeignIdentity):
    """As ic-py's DelegateIdentity."""

    def __init__(self, key: SigningKey, owner: KeyIdentity, expiration_ns: int) -> None:
        super().__init__(key, owner.principal)
        link = delegate(owner, key.public_key, expiration_ns=expiration_ns)
        content: dict[str, Any] = {"pubkey": link.public_key, "expiration": link.expiration_ns}
        self.der_pubkey = owner.public_key
        self.delegations = [{"delegation": content, "signature": link.signature}]


def test_identities_of_other_libraries_sign_here(scheme: Scheme) -> None:
    key = SigningKey.generate(scheme)
    identity = adapt(ForeignIdentity(key))
    assert isinstance(identity, Identity)
    assert identity.principal == Principal.self_authenticating(key.public_key)
    verify_signature(key.public_key, identity.sign(b"message") or b"", b"message")


def test_delegated_identities_of_other_libraries_keep_their_chain(identity: KeyIdentity) -> None:
    key = SigningKey.generate("ed25519")
    adapted = adapt(ForeignDelegate(key, identity, 17))
    assert adapted.principal == identity.principal
    assert adapted.public_key == identity.public_key
    assert [(link.public_key, link.expiration_ns, link.targets) for link in adapted.delegations] == [
        (key.public_key, 17, None)
    ]


def test_the_anonymous_identity_of_another_library_is_ours() -> None:
    assert isinstance(adapt(ForeignIdentity(SigningKey.generate("ed25519"), b"\x04")), AnonymousIdentity)


def test_our_own_identities_need_no_adapter(identity: KeyIdentity) -> None:
    assert adapt(identity) is identity


def test_what_is_no_identity_is_refused() -> None:
    with pytest.raises(KeyUnusable, match="object has no"):
        adapt(object())
    with pytest.raises(KeyUnusable, match="is not the principal of its key"):
        adapt(ForeignIdentity(SigningKey.generate("ed25519"), b"\x07"))
