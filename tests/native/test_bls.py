from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.crypto import BlsSecretKey, verify_bls
from appliance.errors import CertificateSignatureInvalid, KeyUnusable

KEY = BlsSecretKey.from_seed(b"a seed of 32 bytes, or more: tes")
PREFIX = bytes.fromhex("308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100")
ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001


def is_valid(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        verify_bls(public_key, signature, message)
    except CertificateSignatureInvalid:
        return False
    return True


def test_every_verdict_of_the_vectors_with_raw_keys_and_in_der(vectors: ModuleType) -> None:
    cases = vectors.load_json("signatures/bls.json")["verify"]
    assert len(cases) == 23
    for case in cases:
        key, signature, message = (bytes.fromhex(case[name]) for name in ("public_key", "signature", "message"))
        assert is_valid(key, signature, message) == case["valid"], case
        assert is_valid(PREFIX + key, signature, message) == case["valid"], case


def test_every_signature_of_the_vectors(vectors: ModuleType) -> None:
    cases = vectors.load_json("signatures/bls.json")["sign"]
    assert len(cases) == 129
    for case in cases:
        key = BlsSecretKey.from_scalar(bytes.fromhex(case["secret_scalar"]))
        message = bytes.fromhex(case["message"])
        assert key.public_key == PREFIX + bytes.fromhex(case["public_key"])
        assert key.sign(message).hex() == case["signature"]
        verify_bls(key.public_key, key.sign(message), message)


@settings(max_examples=25)
@given(st.binary(max_size=100), st.integers(0, 47), st.integers(0, 7))
def test_what_is_signed_verifies_and_no_bit_may_change(message: bytes, at: int, bit: int) -> None:
    signature = KEY.sign(message)
    verify_bls(KEY.public_key, signature, message)
    bent = bytearray(signature)
    bent[at] ^= 1 << bit
    assert not is_valid(KEY.public_key, bytes(bent), message)
    assert not is_valid(KEY.public_key, signature, message + b"!")


def test_a_root_is_signed_behind_its_separator() -> None:
    assert KEY.sign_root(bytes(32)) == KEY.sign(b"\x0dic-state-root" + bytes(32))
    with pytest.raises(ValueError, match="32 bytes"):
        KEY.sign_root(bytes(31))


@pytest.mark.parametrize("key", [b"", PREFIX, PREFIX + bytes(96), PREFIX + b"\xc0" + bytes(95), bytes(133)])
def test_keys_that_are_none(key: bytes) -> None:
    with pytest.raises(CertificateSignatureInvalid, match="key"):
        verify_bls(key, KEY.sign(b""), b"")


def test_secrets_have_their_length_and_range() -> None:
    assert len(KEY.public_key) == 133
    assert BlsSecretKey.from_scalar((ORDER - 1).to_bytes(32, "big")).public_key
    for scalar in (0, ORDER, 2**256 - 1):
        with pytest.raises(KeyUnusable):
            BlsSecretKey.from_scalar(scalar.to_bytes(32, "big"))
    with pytest.raises(KeyUnusable):
        BlsSecretKey.from_seed(bytes(31))
