"""Laws of ``ic/envelope.py``: what is signed here, the verifying side accepts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import SigningKey, Verifier
from appliance.errors import CanisterNotTargeted, EnvelopeExpired
from appliance.ic.envelope import LIFETIME_NS, NONCE_LENGTH, RequestType, sign_request
from appliance.ic.identity import AnonymousIdentity, DelegatedIdentity, Identity, KeyIdentity, delegate
from appliance.ic.principal import ANONYMOUS, Principal
from tests.ic.scripted_ic import NOW_NS, ROOT

CANISTER = Principal(b"\x80\0\0\0\0\x10\0\0\x01\x01")
VERIFIER = Verifier(ROOT.public_key)
KEYS = [KeyIdentity(SigningKey.generate(scheme)) for scheme in ("ed25519", "secp256k1", "prime256v1")]


def delegated(*targets: bytes) -> DelegatedIdentity:
    owner, middle, session = KEYS
    chain = [
        delegate(owner, middle.public_key, expiration_ns=NOW_NS + 1),
        delegate(middle, session.public_key, expiration_ns=NOW_NS + 1, targets=targets or None),
    ]
    return DelegatedIdentity(session, owner.public_key, chain)


@pytest.mark.parametrize(
    "who",
    [*KEYS, delegated(), delegated(CANISTER)],
    ids=["ed25519", "secp256k1", "prime256v1", "delegated", "delegated for a canister"],
)
def test_a_signed_call_is_accepted(who: Identity) -> None:
    call = sign_request(who, "call", now_ns=NOW_NS, canister_id=CANISTER, method_name="greet", arg=b"DIDL\0\0")
    opened = VERIFIER.open_request(call.body, now_ns=NOW_NS)
    assert (opened.request_id, opened.canister_id, opened.method_name) == (call.request_id, CANISTER, "greet")
    assert (opened.sender, opened.arg, opened.request_type) == (who.principal, b"DIDL\0\0", "call")
    assert opened.ingress_expiry_ns == call.ingress_expiry_ns == NOW_NS + LIFETIME_NS
    assert len(opened.nonce or b"") == NONCE_LENGTH


def test_nobody_needs_no_signature() -> None:
    request = sign_request(AnonymousIdentity(), "query", now_ns=NOW_NS, canister_id=CANISTER, method_name="m", arg=b"")
    opened = VERIFIER.open_request(request.body, now_ns=NOW_NS)
    assert (opened.sender, opened.request_id, opened.nonce) == (ANONYMOUS, request.request_id, None)


PATHS = st.lists(st.lists(st.binary(max_size=32), max_size=4), max_size=4)


@given(PATHS)
def test_read_state_carries_its_paths(paths: list[list[bytes]]) -> None:
    request = sign_request(KEYS[0], "read_state", now_ns=NOW_NS, paths=paths)
    opened = VERIFIER.open_request(request.body, now_ns=NOW_NS)
    assert (opened.paths, opened.request_id) == (paths, request.request_id)
    assert (request.canister_id, request.method_name) == (b"", "")


def test_equal_calls_are_two_and_equal_queries_one() -> None:
    def ids(kind: RequestType) -> set[bytes]:
        requests = [
            sign_request(KEYS[0], kind, now_ns=NOW_NS, canister_id=CANISTER, method_name="m", arg=b"") for _ in range(2)
        ]
        return {request.request_id for request in requests}

    assert len(ids("call")) == 2
    assert len(ids("query")) == 1


def test_a_given_nonce_is_kept() -> None:
    call = sign_request(KEYS[0], "call", now_ns=NOW_NS, canister_id=CANISTER, method_name="m", arg=b"", nonce=b"mine")
    assert VERIFIER.open_request(call.body, now_ns=NOW_NS).nonce == b"mine"


def test_a_request_is_good_until_its_expiry_and_no_longer() -> None:
    call = sign_request(KEYS[0], "call", now_ns=NOW_NS, canister_id=CANISTER, method_name="m", arg=b"")
    VERIFIER.open_request(call.body, now_ns=call.ingress_expiry_ns)
    with pytest.raises(EnvelopeExpired):
        VERIFIER.open_request(call.body, now_ns=call.ingress_expiry_ns + 1)


def test_a_delegation_for_other_canisters_does_not_serve() -> None:
    who = delegated(Principal(b"\x01"))
    call = sign_request(who, "call", now_ns=NOW_NS, canister_id=CANISTER, method_name="m", arg=b"")
    with pytest.raises(CanisterNotTargeted):
        VERIFIER.open_request(call.body, now_ns=NOW_NS)
