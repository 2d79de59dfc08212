"""WebAuthn signatures. The strict DER of ECDSA and the COSE keys alone are tested in the core."""

from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance._native import verify_signature
from appliance.errors import KeyUnusable, SignatureInvalid


def test_signatures_of_authenticators(vectors: ModuleType) -> None:
    for case in vectors.load_json("signatures/webauthn.json")["cases"]:
        public_key, signature, message = (
            bytes.fromhex(case[name]) for name in ("public_key_der", "signature", "message")
        )
        if case["verdict"] == "valid":
            verify_signature(public_key, signature, message)
            continue
        with pytest.raises(SignatureInvalid) as refused:
            verify_signature(public_key, signature, message)
        assert ("challenge" in refused.value.problem) == (case["verdict"] == "challenge_mismatch"), case


def test_every_byte_is_signed(vectors: ModuleType) -> None:
    valid = [case for case in vectors.load_json("signatures/webauthn.json")["cases"] if case["verdict"] == "valid"]
    for case in valid:
        public_key, signature, message = (
            bytes.fromhex(case[name]) for name in ("public_key_der", "signature", "message")
        )
        for at in range(len(signature)):
            forged = signature[:at] + bytes([signature[at] ^ 1 << at % 8]) + signature[at + 1 :]
            with pytest.raises(SignatureInvalid):
                verify_signature(public_key, forged, message)


@given(cose=st.binary(max_size=60))
def test_junk_is_no_cose_key(cose: bytes) -> None:
    inner = bytes.fromhex("300c060a2b0601040183b8430101") + b"\x03" + bytes([len(cose) + 1]) + b"\x00" + cose
    with pytest.raises(KeyUnusable):
        verify_signature(b"\x30" + bytes([len(inner)]) + inner, b"", b"message")
