"""Canister signatures, as delegations of users whose key is one of a canister. The recorded ones of Internet Identity
are tested in the core, since nobody has the session keys to sign a request with."""

from dataclasses import replace
from typing import Any

import pytest

from appliance._native import SigningKey, Verifier, encode_cbor, encode_envelope, hash_of_value
from appliance.errors import SignatureInvalid
from appliance.ic.principal import Principal
from tests.native.signing import (
    CANISTER,
    DELEGATION,
    NOW,
    REQUEST,
    ROOT,
    SECOND,
    SENDER_INFO,
    CanisterIdentity,
    Link,
    Subnet,
    content,
    frame,
    key,
)

SESSION = key(1, "prime256v1")


def handed_to(session: SigningKey, user: CanisterIdentity) -> Link:
    delegation: dict[str, Any] = {"pubkey": session.public_key, "expiration": NOW}
    return session.public_key, NOW, None, user.sign(DELEGATION + hash_of_value(delegation))


def body(user: CanisterIdentity, *, named: CanisterIdentity | None = None) -> bytes:
    """A request of a user; ``named`` is whose key the envelope shows."""
    shown = (named or user).public_key
    request, request_id = content(Principal.self_authenticating(shown))
    signature = SESSION.sign(REQUEST + request_id)
    return encode_envelope(request, public_key=shown, signature=signature, delegations=[handed_to(SESSION, user)])


def verifier() -> Verifier:
    return Verifier(ROOT.public_key)


SUBNETS = [None, Subnet(), Subnet(first=b"", last=b"\xff"), Subnet(kind=b"application")]


@pytest.mark.parametrize("subnet", SUBNETS)
def test_a_session_of_a_canisters_user_opens(subnet: Subnet | None) -> None:
    user = CanisterIdentity(subnet=subnet)
    request = verifier().open_envelope(frame(body(user)), now_ns=NOW)
    assert request.sender == Principal.self_authenticating(user.public_key)


def test_no_user_speaks_for_another() -> None:
    user = CanisterIdentity()
    others = [replace(user, seed=b"user 2"), replace(user, canister_id=CANISTER[:-1] + b"\x02")]
    for other in others:
        with pytest.raises(SignatureInvalid, match=r"delegation 1: canister signature: the tree has no"):
            verifier().open_request(body(user, named=other), now_ns=NOW)


@pytest.mark.parametrize(
    ("subnet", "problem"),
    [
        (Subnet(first=b"\x01", last=b"\x02"), "may not certify for"),
        (Subnet(kind=b"cloud_engine"), "cloud_engine"),
    ],
)
def test_a_subnet_signs_for_its_canisters_only(subnet: Subnet, problem: str) -> None:
    with pytest.raises(SignatureInvalid, match=problem):
        verifier().open_request(body(CanisterIdentity(subnet=subnet)), now_ns=NOW)


def test_another_network_is_not_trusted() -> None:
    other = Verifier(Subnet().key.public_key)
    with pytest.raises(SignatureInvalid, match="certificate is not valid"):
        other.open_request(body(CanisterIdentity()), now_ns=NOW)


def test_what_was_verified_is_not_verified_again() -> None:
    trusting = verifier()
    request = body(CanisterIdentity(subnet=Subnet()))
    trusting.open_request(request, now_ns=NOW)
    made = trusting.cache_misses
    trusting.open_request(request, now_ns=NOW)
    assert made == trusting.cache_misses == 2


# --- sender_info ----------------------------------------------------------------------------------------------------


def with_info(user: CanisterIdentity, info: dict[str, Any], shown: bytes | None = None) -> bytes:
    """A request of a user that carries attributes, written by hand because clients of ours send none."""
    shown = shown or user.public_key
    fields: dict[str, Any] = {
        "request_type": "call",
        "canister_id": CANISTER,
        "method_name": "ws_open",
        "arg": b"DIDL\x00\x00",
        "sender": bytes(Principal.self_authenticating(shown)),
        "ingress_expiry": NOW + SECOND,
        "sender_info": info,
    }
    signature = SESSION.sign(REQUEST + hash_of_value(fields))
    return encode_envelope(
        encode_cbor(fields, tagged=False),
        public_key=shown,
        signature=signature,
        delegations=[handed_to(SESSION, user)] if shown == user.public_key else [],
    )


def test_attributes_are_signed_by_the_canister_of_the_key() -> None:
    user = CanisterIdentity()
    info = {"info": b"name", "signer": CANISTER, "sig": user.sign(SENDER_INFO + b"name")}
    request = verifier().open_envelope(frame(with_info(user, info)), now_ns=NOW)
    assert request.method_name == "ws_open"
    forgeries = [
        {"info": b"other name"},
        {"signer": b"\x01"},
        {"sig": user.sign(b"name")},
        {"sig": replace(user, seed=b"user 2").sign(SENDER_INFO + b"name")},
        {"sig": b""},
    ]
    for forged in forgeries:
        with pytest.raises(SignatureInvalid, match="sender_info"):
            verifier().open_envelope(frame(with_info(user, info | forged)), now_ns=NOW)


def test_attributes_need_the_key_of_a_canister() -> None:
    info = {"info": b"name", "signer": CANISTER, "sig": b""}
    with pytest.raises(SignatureInvalid, match="not the key of a canister"):
        verifier().open_request(with_info(CanisterIdentity(), info, SESSION.public_key), now_ns=NOW)
