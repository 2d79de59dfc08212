from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance._native import hash_of_value, verify_signature
from appliance.errors import CanisterNotTargeted, DelegationExpired, DelegationInvalid, SignatureInvalid
from tests.native.signing import CANISTER, DELEGATION, NOW, REQUEST, SCHEMES, VERIFIER, delegate, frame, key, signed


def unhex(delegation: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {"pubkey": bytes.fromhex(delegation["pubkey"]), "expiration": delegation["expiration"]}
    if "targets" in delegation:
        content["targets"] = [bytes.fromhex(target) for target in delegation["targets"]]
    return content


def test_links_of_the_replica(vectors: ModuleType) -> None:
    """Their request ids are made up, so whole chains are tested in the core; here each link by itself."""
    for chain in vectors.load_json("signatures/chains.json")["chains"]:
        verdicts = {case["verdict"] for case in chain["cases"]}
        if "valid" not in verdicts:
            continue
        signer = bytes.fromhex(chain["sender_pubkey"])
        for link in chain["sender_delegation"]:
            delegation = unhex(link["delegation"])
            verify_signature(signer, bytes.fromhex(link["signature"]), DELEGATION + hash_of_value(delegation))
            signer = delegation["pubkey"]
        verify_signature(signer, bytes.fromhex(chain["sender_sig"]), REQUEST + bytes.fromhex(chain["request_id"]))


@given(st.lists(st.sampled_from(SCHEMES), min_size=1, max_size=6))
def test_a_chain_hands_on_across_schemes(schemes: list[Any]) -> None:
    keys = [key(number, scheme) for number, scheme in enumerate(schemes, start=1)]
    chain = [delegate(by, to) for by, to in pairwise(keys)]
    request = VERIFIER.open_envelope(frame(signed(keys[0], signer=keys[-1], chain=chain)), now_ns=NOW)
    assert request.targets is None


ids = st.sets(st.integers(0, 5).map(lambda n: bytes([n])))


@given(st.lists(st.none() | ids, max_size=4))
def test_targets_are_the_intersection(limits: list[set[bytes] | None]) -> None:
    keys = [key(number) for number in range(1, len(limits) + 2)]
    chain = [
        delegate(by, to, targets=None if limit is None else [CANISTER, *limit])
        for (by, to), limit in zip(pairwise(keys), limits, strict=True)
    ]
    request = VERIFIER.open_request(signed(keys[0], signer=keys[-1], chain=chain), now_ns=NOW)
    sets = [limit | {CANISTER} for limit in limits if limit is not None]
    assert request.targets == (sorted(set.intersection(*sets)) if sets else None)
    if sets:
        with pytest.raises(CanisterNotTargeted):
            VERIFIER.open_request(signed(keys[0], signer=keys[-1], chain=chain, canister_id=b"x"), now_ns=NOW)


def test_what_is_read_is_the_hosts_to_check() -> None:
    chain = [delegate(key(1), key(2), targets=[b"x"])]
    body = signed(key(1), signer=key(2), chain=chain, request_type="read_state")
    assert VERIFIER.open_request(body, now_ns=NOW).targets == [b"x"]


def test_a_chain_ends_with_its_first_link() -> None:
    chain = [delegate(key(1), key(2), expiration_ns=NOW + 5), delegate(key(2), key(3), expiration_ns=NOW + 9)]
    body = signed(key(1), signer=key(3), chain=chain)
    VERIFIER.open_request(body, now_ns=NOW + 5)
    with pytest.raises(DelegationExpired, match="delegation 1"):
        VERIFIER.open_request(body, now_ns=NOW + 6)


def test_a_chain_is_bounded_and_never_turns_back() -> None:
    keys = [key(number) for number in range(1, 23)]
    links = [delegate(by, to) for by, to in pairwise(keys)]
    VERIFIER.open_request(signed(keys[0], signer=keys[20], chain=links[:20]), now_ns=NOW)
    with pytest.raises(DelegationInvalid, match="21"):
        VERIFIER.open_request(signed(keys[0], signer=keys[21], chain=links), now_ns=NOW)
    back = [links[0], delegate(keys[1], keys[0])]
    with pytest.raises(DelegationInvalid, match="goes back"):
        VERIFIER.open_request(signed(keys[0], chain=back), now_ns=NOW)


def test_a_link_is_of_the_key_before_it() -> None:
    chain = [delegate(key(1), key(2)), delegate(key(9), key(3))]
    with pytest.raises(SignatureInvalid, match="delegation 2"):
        VERIFIER.open_request(signed(key(1), signer=key(3), chain=chain), now_ns=NOW)
    with pytest.raises(SignatureInvalid, match="request"):
        VERIFIER.open_request(signed(key(1), signer=key(9), chain=chain[:1]), now_ns=NOW)
