from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance._native import verify_signature
from appliance.errors import KeyUnusable, SignatureInvalid
from tests.native.signing import SCHEMES, CanisterIdentity, Scheme, key

ED25519_DER = bytes.fromhex("302a300506032b6570032100")


def verifies(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        verify_signature(public_key, signature, message)
    except (SignatureInvalid, KeyUnusable):
        return False
    return True


# --- vectors --------------------------------------------------------------------------------------------------------


def test_ed25519_follows_zip_215(vectors: ModuleType) -> None:
    cases = vectors.load_json("signatures/ed25519.json")["cases"]
    row = ""
    for case in cases:
        public_key, signature, message = (bytes.fromhex(case[name]) for name in ("public_key", "signature", "message"))
        row += "V" if verifies(ED25519_DER + public_key, signature, message) else "X"
    assert row == "VVVVVVXXXVVV"


# Wycheproof judges by RFC 8032, the IC by ZIP-215. They differ in one case: R encodes y = 1 with the sign bit of an x
# that is zero, which RFC 8032 refuses to decode and ZIP-215 accepts, as the replica's own implementation does.
ACCEPTED_BY_ZIP_215 = ("ed25519", 151)


@pytest.mark.parametrize(("name", "count"), [("ed25519", 151), ("p256", 262)])
def test_wycheproof(vectors: ModuleType, name: str, count: int) -> None:
    signers = vectors.load_json(f"signatures/wycheproof_{name}.json")["keys"]
    wrong, seen = [], 0
    for signer in signers:
        for case in signer["cases"]:
            seen += 1
            public_key, signature, message = signer["public_key_der"], case["signature"], case["message"]
            verdict = verifies(bytes.fromhex(public_key), bytes.fromhex(signature), bytes.fromhex(message))
            expected = case["valid"] or (name, case["id"]) == ACCEPTED_BY_ZIP_215
            if verdict != expected:
                wrong.append(case)
    assert (wrong, seen) == ([], count)


def test_keys_of_browsers_and_openssl(vectors: ModuleType) -> None:
    for case in vectors.load_json("signatures/keys.json")["cases"]:
        parts = [bytes.fromhex(case[name]) for name in ("public_key_der", "signature", "message")]
        assert verifies(*parts) == case["valid"], case


# --- laws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@given(number=st.integers(1, 2**200), message=st.binary(), other=st.binary())
def test_a_signature_is_of_one_message(scheme: Scheme, number: int, message: bytes, other: bytes) -> None:
    signer = key(number, scheme)
    signature = signer.sign(message)
    verify_signature(signer.public_key, signature, message)
    assert verifies(signer.public_key, signature, other) == (message == other)
    assert not verifies(key(number + 1, scheme).public_key, signature, message)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(junk=st.binary(max_size=80))
def test_junk_is_no_signature(scheme: Scheme, junk: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        verify_signature(key(1, scheme).public_key, junk, b"message")


@given(junk=st.binary(max_size=120))
def test_junk_is_no_key(junk: bytes) -> None:
    with pytest.raises(KeyUnusable):
        verify_signature(junk, bytes(64), b"message")


def test_a_canister_signature_needs_a_verifier() -> None:
    with pytest.raises(KeyUnusable, match="root key"):
        verify_signature(CanisterIdentity().public_key, CanisterIdentity().sign(b"message"), b"message")
