from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import BlsSecretKey, CertifiedTree, HashTree, Verifier, decode_cbor, encode_cbor
from appliance.crypto import encode_certificate as encode
from appliance.errors import (
    CertificateError,
    CertificateFromFuture,
    CertificateNestedDelegation,
    CertificateNotAuthorized,
    CertificateRangesUnknown,
    CertificateSignatureInvalid,
    CertificateStale,
    GatewayError,
    KeyUnusable,
    Malformed,
    PathUnknown,
)
from appliance.ic.principal import Principal

MINUTE = 60 * 10**9
NOW = 1_700_000_000 * 10**9
ROOT = BlsSecretKey.from_seed(b"root" * 8)
SUBNET = BlsSecretKey.from_seed(b"subnet" * 8)
SUBNET_ID = Principal.self_authenticating(SUBNET.public_key)
CANISTER = bytes.fromhex("80000000001000010101")

VERDICTS: dict[str, type[CertificateError]] = {
    "not_authorized": CertificateNotAuthorized,
    "canister_ranges_unknown": CertificateRangesUnknown,
    "too_many_delegations": CertificateNestedDelegation,
    "bad_signature": CertificateSignatureInvalid,
}


def leb128(number: int) -> bytes:
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def signed(tree: HashTree, key: BlsSecretKey, delegation: tuple[bytes, bytes] | None = None) -> bytes:
    return encode(tree, key.sign_root(tree.digest), delegation)


def delegation() -> tuple[bytes, bytes]:
    ranges = encode_cbor([[CANISTER, CANISTER]])
    subnet = {b"public_key": SUBNET.public_key, b"canister_ranges": ranges}
    tree = HashTree.from_labels({b"subnet": {SUBNET_ID: subnet}, b"time": leb128(NOW)})
    return SUBNET_ID, signed(tree, ROOT)


def state(time_ns: int = NOW) -> HashTree:
    canister = {b"certified_data": b"data", b"module_hash": b"hash"}
    return HashTree.from_labels({b"canister": {CANISTER: canister}, b"time": leb128(time_ns)})


CERTIFICATE = signed(state(), SUBNET, delegation())


def verifier(**options: int) -> Verifier:
    return Verifier(ROOT.public_key, **options)


# --- mainnet --------------------------------------------------------------------------------------------------------


def certificate_of(case: dict[str, Any], vectors: ModuleType) -> bytes:
    data: bytes = vectors.load_bytes(f"certificates/{case['file']}")
    if not case["is_reply"]:
        return data
    reply = decode_cbor(data)
    assert isinstance(reply, dict)
    return bytes(reply["certificate"])


def check(verifier: Verifier, certificate: bytes, kind: str, subject: bytes, now_ns: int) -> CertifiedTree:
    verify = verifier.verify_subnet_certificate if kind == "subnet" else verifier.verify_certificate
    return verify(certificate, subject, now_ns=now_ns)


def test_every_verdict_of_the_vectors(vectors: ModuleType) -> None:
    file = vectors.load_json("certificates/certificates.json")
    mainnet = Verifier(bytes.fromhex(file["root_key_der"]))
    checks = [(case, one) for case in file["certificates"] for one in case["checks"]]
    assert len(checks) == 28
    for case, one in checks:
        certificate, subject = certificate_of(case, vectors), Principal.from_text(one["effective_id"])
        question = (mainnet, certificate, one["kind"], subject)
        if one["verdict"] != "valid":
            with pytest.raises(VERDICTS[one["verdict"]]):
                check(*question, case["time_ns"])
            continue
        certified = check(*question, case["time_ns"])
        assert certified.time_ns == case["time_ns"]
        assert certified.tree.digest.hex() == case["tree_digest"]
        assert certified.subnet_id == Principal.from_text(case["subnet_id"])
        for leaf in case["leaves"]:
            assert certified.lookup([bytes.fromhex(label) for label in leaf["path"]]) == bytes.fromhex(leaf["value"])
        with pytest.raises(CertificateStale):
            check(*question, case["time_ns"] + 10 * MINUTE)
        with pytest.raises(CertificateFromFuture):
            check(*question, case["time_ns"] - 10 * MINUTE)


def test_the_root_key_of_mainnet(vectors: ModuleType) -> None:
    key = vectors.load_json("certificates/root_key.json")
    assert Verifier(bytes.fromhex(key["der"])).root_key == bytes.fromhex(key["der_prefix"] + key["raw"])


# --- laws -----------------------------------------------------------------------------------------------------------


def test_what_is_certified_may_be_read() -> None:
    certified = verifier().verify_certificate(CERTIFICATE, CANISTER, now_ns=NOW)
    assert (certified.time_ns, certified.subnet_id) == (NOW, SUBNET_ID)
    assert certified.lookup([b"canister", CANISTER, b"certified_data"]) == b"data"
    assert certified.lookup([b"canister", CANISTER, b"nothing"]) is None
    assert certified.children([b"canister", CANISTER]) == [b"certified_data", b"module_hash"]
    assert certified.tree.digest == state().digest


def test_what_is_pruned_is_not_certified() -> None:
    certificate = signed(state().witness([[b"time"]]), SUBNET, delegation())
    certified = verifier().verify_certificate(certificate, CANISTER, now_ns=NOW)
    with pytest.raises(PathUnknown):
        certified.lookup([b"canister", CANISTER, b"certified_data"])


def test_without_a_delegation_the_root_key_signed() -> None:
    certificate = signed(state(), ROOT)
    assert verifier().verify_certificate(certificate, b"any", now_ns=NOW).subnet_id is None
    root_id = Principal.self_authenticating(ROOT.public_key)
    assert verifier().verify_subnet_certificate(certificate, root_id, now_ns=NOW).time_ns == NOW
    with pytest.raises(CertificateNotAuthorized):
        verifier().verify_subnet_certificate(certificate, SUBNET_ID, now_ns=NOW)


def test_a_subnet_speaks_for_itself_and_its_canisters_only() -> None:
    verify = verifier()
    assert verify.verify_subnet_certificate(CERTIFICATE, SUBNET_ID, now_ns=NOW).subnet_id == SUBNET_ID
    with pytest.raises(CertificateNotAuthorized) as caught:
        verify.verify_certificate(CERTIFICATE, b"\x04", now_ns=NOW)
    assert (caught.value.subnet, caught.value.subject) == (str(SUBNET_ID), "2vxsx-fae")
    with pytest.raises(CertificateNotAuthorized):
        verify.verify_subnet_certificate(CERTIFICATE, b"\x04", now_ns=NOW)


REMEMBERING = verifier()


@given(st.integers(-10 * MINUTE, 10 * MINUTE))
def test_age_is_judged_anew_each_time(age_ns: int) -> None:
    if abs(age_ns) <= 5 * MINUTE:
        assert REMEMBERING.verify_certificate(CERTIFICATE, CANISTER, now_ns=NOW + age_ns).time_ns == NOW
        return
    with pytest.raises(CertificateStale if age_ns > 0 else CertificateFromFuture) as caught:
        REMEMBERING.verify_certificate(CERTIFICATE, CANISTER, now_ns=NOW + age_ns)
    assert abs(age_ns) in vars(caught.value).values()


def test_limits_are_those_given() -> None:
    strict = verifier(max_age_ns=10, max_ahead_ns=20)
    for now_ns in (NOW + 10, NOW - 20):
        strict.verify_certificate(CERTIFICATE, CANISTER, now_ns=now_ns)
    with pytest.raises(CertificateStale):
        strict.verify_certificate(CERTIFICATE, CANISTER, now_ns=NOW + 11)
    with pytest.raises(CertificateFromFuture):
        strict.verify_certificate(CERTIFICATE, CANISTER, now_ns=NOW - 21)


@given(st.integers(0, len(CERTIFICATE) - 1), st.integers(0, 7))
def test_no_bit_of_what_is_certified_may_change(at: int, bit: int) -> None:
    bent = bytearray(CERTIFICATE)
    bent[at] ^= 1 << bit
    try:
        certified = verifier().verify_certificate(bytes(bent), CANISTER, now_ns=NOW)
    except GatewayError as error:
        assert isinstance(error, CertificateError | Malformed)  # noqa: PT017
    else:
        # Only what is not signed changed, e.g. the name of a field that nobody reads.
        assert certified.tree.to_cbor() == state().to_cbor()
        assert certified.subnet_id == SUBNET_ID


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_our_words(data: bytes) -> None:
    with pytest.raises((CertificateError, Malformed)):
        verifier().verify_certificate(data, CANISTER, now_ns=NOW)


def test_delegations_do_not_nest() -> None:
    nested = (SUBNET_ID, signed(state(), SUBNET, delegation()))
    with pytest.raises(CertificateNestedDelegation):
        verifier().verify_certificate(signed(state(), SUBNET, nested), CANISTER, now_ns=NOW)


def test_nothing_is_verified_twice_and_failures_are_not_kept() -> None:
    verify = verifier()
    for hits in (0, 2, 4):
        verify.verify_certificate(CERTIFICATE, CANISTER, now_ns=NOW)
        assert (verify.cache_misses, verify.cache_hits) == (2, hits)
    next_round = signed(state(NOW + 1), SUBNET, delegation())
    verify.verify_certificate(next_round, CANISTER, now_ns=NOW)
    assert (verify.cache_misses, verify.cache_hits) == (3, 5)
    pruned = encode(state().witness([[b"time"]]), SUBNET.sign_root(state().digest), delegation())
    verify.verify_certificate(pruned, CANISTER, now_ns=NOW)
    assert (verify.cache_misses, verify.cache_hits) == (3, 7)
    forged = signed(state(NOW + 2), ROOT, delegation())
    for misses in (4, 5):
        with pytest.raises(CertificateSignatureInvalid):
            verify.verify_certificate(forged, CANISTER, now_ns=NOW)
        assert verify.cache_misses == misses


def test_threads_may_share_a_verifier() -> None:
    verify = verifier(cache_entries=8)
    rounds = [signed(state(NOW + n), SUBNET, delegation()) for n in range(16)]

    def time_ns(certificate: bytes) -> int:
        return verify.verify_certificate(certificate, CANISTER, now_ns=NOW).time_ns

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(time_ns, rounds * 4)) == [NOW + n for n in range(16)] * 4
    assert verify.cache_misses + verify.cache_hits == 2 * len(rounds * 4)


def test_a_cache_without_room_verifies_each_time() -> None:
    verify = verifier(cache_entries=0)
    for misses in (2, 4):
        verify.verify_certificate(CERTIFICATE, CANISTER, now_ns=NOW)
        assert (verify.cache_misses, verify.cache_hits) == (misses, 0)


@pytest.mark.parametrize("key", [b"", bytes(133), ROOT.public_key[:-1], ROOT.public_key + b"\0", ROOT.public_key[37:]])
def test_a_root_key_is_der(key: bytes) -> None:
    with pytest.raises(KeyUnusable):
        Verifier(key)


def test_a_certificate_is_cbor_with_its_tag() -> None:
    assert CERTIFICATE[:3] == b"\xd9\xd9\xf7"
    fields = decode_cbor(CERTIFICATE)
    assert isinstance(fields, dict)
    assert list(fields) == ["tree", "signature", "delegation"]
    assert fields["delegation"] == dict(zip(("subnet_id", "certificate"), delegation(), strict=True))
    assert encode_cbor(fields["tree"]) == state().to_cbor()
