"""Ed25519 of libsodium: the same keys and signatures, and the same verdict on those that somebody has changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import SigningKey, verify_signature
from appliance.errors import SignatureInvalid
from tests.oracles.packages import package

signing = package("nacl.signing")
BadSignatureError = package("nacl.exceptions").BadSignatureError
SECRETS, MESSAGES = st.binary(min_size=32, max_size=32), st.binary(max_size=200)


@given(SECRETS, MESSAGES)
def test_keys_and_signatures_are_the_same(secret: bytes, message: bytes) -> None:
    ours, theirs = SigningKey.from_secret("ed25519", secret), signing.SigningKey(secret)
    assert ours.public_key[-32:] == bytes(theirs.verify_key)
    assert ours.sign(message) == theirs.sign(message).signature


@given(SECRETS, MESSAGES, st.integers(0, 511))
def test_a_changed_signature_is_refused_by_both(secret: bytes, message: bytes, bit: int) -> None:
    ours, theirs = SigningKey.from_secret("ed25519", secret), signing.SigningKey(secret)
    signature = bytearray(theirs.sign(message).signature)
    verify_signature(ours.public_key, bytes(signature), message)
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureInvalid):
        verify_signature(ours.public_key, bytes(signature), message)
    with pytest.raises(BadSignatureError):
        theirs.verify_key.verify(message, bytes(signature))
