from typing import Any

import pytest

from appliance.crypto import (
    CertifiedTree,
    HashTree,
    Verifier,
    decode_cbor,
    encode_cbor,
    hash_of_value,
    verify_signature,
)
from appliance.errors import CertificateError, CertificateNotAuthorized, CertificateRangesUnknown, PathUnknown
from appliance.ic.principal import Principal
from appliance.localnet.state.certification import (
    DELEGATION_LIFE_NS,
    QUERY_DOMAIN,
    RANGES,
    Authority,
    Ranges,
    canister_id,
    is_hosted,
    leb128,
)
from appliance.localnet.state.certified_state import CertifiedState
from appliance.localnet.state.clock import ManualClock
from tests.localnet.machine import CANISTER, START

SEED = b"certification"
FORMS: tuple[Ranges, ...] = ("flat", "sharded", "none")
FOREIGN = canister_id(0x9000000000000000)


def certificate(authority: Authority, ranges: Ranges) -> bytes:
    return CertifiedState(authority, ManualClock(START)).certificate([[b"subnet"]], ranges)


def verified(authority: Authority, ranges: Ranges, subject: bytes = CANISTER) -> CertifiedTree:
    verifier = Verifier(authority.root_key)
    return verifier.verify_certificate(certificate(authority, ranges), subject, now_ns=START)


def delegation_tree(authority: Authority, ranges: Ranges) -> HashTree:
    delegation = authority.delegation(ranges, now_ns=START)
    assert delegation is not None
    decoded = decode_cbor(delegation[1])
    assert isinstance(decoded, dict)
    return HashTree.from_cbor(encode_cbor(decoded["tree"]))


def shows(tree: HashTree, path: list[bytes]) -> bool:
    try:
        return tree.lookup(path) is not None
    except PathUnknown:
        return False


def test_equal_seeds_give_equal_keys_and_none_gives_others() -> None:
    keys = {Authority(seed=SEED, subnet=subnet).root_key for subnet in (True, False)}
    assert len(keys) == 1
    assert Authority(seed=b"another").root_key not in keys
    assert Authority().root_key != Authority().root_key


def test_without_subnet_the_root_key_signs() -> None:
    authority = Authority(seed=SEED)
    tree = verified(authority, "flat")
    assert tree.subnet_id is None
    assert authority.subnet_id == authority.root_subnet_id == Principal.self_authenticating(authority.root_key)
    assert tree.lookup([b"subnet", authority.subnet_id, b"public_key"]) == authority.root_key


@pytest.mark.parametrize("ranges", ["flat", "sharded"])
def test_with_subnet_the_root_key_delegates_for_its_ranges_only(ranges: Ranges) -> None:
    authority = Authority(seed=SEED, subnet=True)
    for hosted in (CANISTER, *RANGES[0], *RANGES[1]):
        assert verified(authority, ranges, hosted).subnet_id == authority.subnet_id
        assert is_hosted(hosted)
    assert not is_hosted(FOREIGN)
    with pytest.raises(CertificateNotAuthorized):
        verified(authority, ranges, FOREIGN)


def test_a_delegation_shows_the_ranges_in_the_form_that_was_asked_for() -> None:
    authority = Authority(seed=SEED, subnet=True)
    flat = [b"subnet", authority.subnet_id, b"canister_ranges"]
    shard = [b"canister_ranges", authority.subnet_id, RANGES[0][0]]
    seen = {r: (shows(delegation_tree(authority, r), flat), shows(delegation_tree(authority, r), shard)) for r in FORMS}
    assert seen == {"flat": (True, False), "sharded": (False, True), "none": (False, False)}
    for ranges in FORMS:
        assert shows(delegation_tree(authority, ranges), [b"subnet", authority.subnet_id, b"public_key"])


def test_without_ranges_a_delegation_is_for_subnet_reads_only() -> None:
    authority = Authority(seed=SEED, subnet=True)
    with pytest.raises(CertificateRangesUnknown):
        verified(authority, "none")
    verifier = Verifier(authority.root_key)
    read = certificate(authority, "none")
    assert verifier.verify_subnet_certificate(read, authority.subnet_id, now_ns=START).time_ns >= START


def test_a_delegation_is_signed_again_when_it_is_old() -> None:
    authority = Authority(seed=SEED, subnet=True)
    first = authority.delegation("flat", now_ns=START)
    assert authority.delegation("flat", now_ns=START + DELEGATION_LIFE_NS) == first
    assert authority.delegation("flat", now_ns=START + DELEGATION_LIFE_NS + 1) != first


def test_another_root_key_does_not_verify() -> None:
    read = certificate(Authority(seed=SEED, subnet=True), "flat")
    with pytest.raises(CertificateError):
        Verifier(Authority(seed=b"another").root_key).verify_certificate(read, CANISTER, now_ns=START)


def test_the_node_signs_responses_with_the_key_in_the_state() -> None:
    authority = Authority(seed=SEED, subnet=True)
    response: dict[str, Any] = {"status": "replied", "reply": {"arg": b"DIDL"}}
    signed = authority.sign_response(response, b"r" * 32, START)
    tree = verified(authority, "flat")
    path = [b"subnet", authority.subnet_id, b"node", signed["identity"], b"public_key"]
    key = tree.lookup(path)  # type: ignore[arg-type]
    assert key is not None
    assert Principal.self_authenticating(key) == signed["identity"]
    message = QUERY_DOMAIN + hash_of_value({**response, "timestamp": START, "request_id": b"r" * 32})
    assert isinstance(signed["signature"], bytes)
    verify_signature(key, signed["signature"], message)


def test_canister_ids_are_those_of_other_local_networks() -> None:
    assert str(CANISTER) == "bkyz2-fmaaa-aaaaa-qaaaq-cai"


def test_leb128() -> None:
    assert [leb128(n).hex() for n in (0, 1, 127, 128, 624485)] == ["00", "01", "7f", "8001", "e58e26"]
