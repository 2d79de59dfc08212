from collections.abc import Callable
from types import ModuleType
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance._native import Request, encode_content, encode_envelope, hash_of_value, read_envelope_unverified
from appliance.errors import (
    EnvelopeError,
    EnvelopeExpired,
    EnvelopeTooFarAhead,
    KeyUnusable,
    Malformed,
    SenderMismatch,
    SignatureInvalid,
    TooLarge,
)
from appliance.ic.principal import ANONYMOUS, Principal
from tests.native.signing import CANISTER, NOW, SCHEMES, SECOND, VERIFIER, content, delegate, frame, key, signed

REFUSALS = (EnvelopeError, Malformed, TooLarge, KeyUnusable)
TAG = b"\xd9\xd9\xf7"


def loads(data: bytes) -> Any:
    """What another implementation reads; it makes what is tagged immutable, so without the tag."""
    return cbor2.loads(data.removeprefix(TAG))


# --- what agents send -----------------------------------------------------------------------------------------------


def test_envelopes_of_agents(vectors: ModuleType) -> None:
    cases = vectors.load_json("envelopes.json")["envelopes"]
    for case in cases:
        body = bytes.fromhex(case["body"])
        request = VERIFIER.open_request(body, now_ns=int(case["ingress_expiry"]) - SECOND)
        sets = [set(targets) for targets in case["targets"] or [] if targets]
        targets = sorted(bytes.fromhex(target) for target in set.intersection(*sets)) if sets else None
        assert (request.request_id.hex(), request.targets) == (case["request_id"], targets), case
        assert request.body == body
        assert_is_what_cbor_says(request, loads(body)["content"])
    assert len(cases) == 51


def assert_is_what_cbor_says(request: Request, fields: dict[str, Any]) -> None:
    assert (request.request_type, request.sender) == (fields["request_type"], fields["sender"])
    assert (request.ingress_expiry_ns, request.nonce) == (fields["ingress_expiry"], fields.get("nonce"))
    assert (request.canister_id, request.arg) == (fields.get("canister_id", b""), fields.get("arg", b""))
    assert (request.method_name, request.paths) == (fields.get("method_name", ""), fields.get("paths", []))


def test_no_flipped_byte_of_an_agents_envelope_is_accepted(vectors: ModuleType) -> None:
    """One envelope of each kind, every byte."""
    kinds: dict[str, Any] = {}
    for case in vectors.load_json("envelopes.json")["envelopes"]:
        if case["identity"] != "anonymous":
            kinds.setdefault(case["identity"], case)
    assert set(kinds) == {"ed25519", "p256", "secp256k1", "delegated", "delegated2_targets"}
    for case in kinds.values():
        body, now_ns = bytes.fromhex(case["body"]), int(case["ingress_expiry"]) - SECOND
        for at in range(len(body)):
            forged = body[:at] + bytes([body[at] ^ 1 << at % 8]) + body[at + 1 :]
            with pytest.raises(REFUSALS):
                VERIFIER.open_request(forged, now_ns=now_ns)


@pytest.mark.parametrize("version", ["0.1.2", "0.4.1", "0.5.0"])
def test_frames_of_sdks(vectors: ModuleType, version: str) -> None:
    frames = vectors.load_json(f"websocket/session_{version}.json")["frames"]
    sent = [frame for frame in frames if frame["dir"] == "client->gateway" and frame["kind"] == "WS binary"]
    assert [frame["what"] for frame in sent] == ["ws_open", "ws_message", "ws_message"]
    for case in sent:
        raw = bytes.fromhex(case["hex"])
        request = VERIFIER.open_envelope(raw, now_ns=int(case["ingress_expiry"]) - SECOND)
        assert (request.request_id.hex(), request.method_name) == (case["request_id"], case["what"])
        assert (request.sender.hex(), request.arg.hex()) == (case["sender"], case["arg"])
        assert request.body == TAG + raw.partition(b"\x68envelope")[2]
        assert VERIFIER.open_request(request.body, now_ns=int(case["ingress_expiry"])).request_id == request.request_id
        unverified = read_envelope_unverified(raw)
        assert (unverified.request_id, unverified.body) == (request.request_id, request.body)


# --- laws -----------------------------------------------------------------------------------------------------------

keys = st.builds(key, st.integers(1, 2**64), st.sampled_from(SCHEMES))
contents = st.fixed_dictionaries(
    {"canister_id": st.binary(max_size=29), "method_name": st.text(max_size=30), "arg": st.binary(max_size=300)},
    optional={"nonce": st.binary(max_size=32), "request_type": st.sampled_from(["call", "query"])},
)


@given(keys, contents)
def test_what_is_signed_opens(sender: Any, fields: dict[str, Any]) -> None:
    body = signed(sender, **fields)
    for variant in (body, body.removeprefix(TAG)):
        request = VERIFIER.open_request(variant, now_ns=NOW)
        assert request.sender == Principal.self_authenticating(sender.public_key)
        assert {name: getattr(request, name) for name in fields} == fields
        assert request.body == body


@settings(max_examples=300)
@given(keys, st.integers(0), st.integers(1, 255), st.booleans())
def test_no_changed_byte_is_accepted(sender: Any, at: int, change: int, delegated: bool) -> None:
    session = key(2**70)
    chain = [delegate(sender, session, targets=[CANISTER])] if delegated else []
    raw = frame(signed(sender, signer=session if delegated else sender, chain=chain, nonce=b"n"))
    VERIFIER.open_envelope(raw, now_ns=NOW)
    at %= len(raw)
    with pytest.raises(REFUSALS):
        VERIFIER.open_envelope(raw[:at] + bytes([raw[at] ^ change]) + raw[at + 1 :], now_ns=NOW)


@given(st.integers(0), st.booleans())
def test_no_part_of_an_envelope_is_one(at: int, front: bool) -> None:
    raw = frame(signed(key(1))).removeprefix(TAG)
    VERIFIER.open_envelope(raw, now_ns=NOW)
    at = 1 + at % (len(raw) - 1)
    with pytest.raises(REFUSALS):
        VERIFIER.open_envelope(raw[:at] if front else raw[at:], now_ns=NOW)


@given(st.binary(max_size=300))
def test_junk_is_refused(junk: bytes) -> None:
    openers: list[Callable[[bytes], object]] = [
        lambda data: VERIFIER.open_request(data, now_ns=NOW),
        lambda data: VERIFIER.open_envelope(data, now_ns=NOW),
        read_envelope_unverified,
    ]
    for opener in openers:
        with pytest.raises((Malformed, TooLarge)):
            opener(junk)


json_like = st.recursive(
    st.integers(0, 2**64 - 1) | st.binary(max_size=20) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(["content", "sender_pubkey", "sender_sig", "sender_delegation", "request_type", "sender"])


@given(st.dictionaries(names, json_like | st.dictionaries(names, json_like)))
def test_maps_of_anything_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(REFUSALS):
        VERIFIER.open_request(cbor2.dumps(fields), now_ns=NOW)


unknown_names = st.text(max_size=8).map(lambda name: "x" + name)


@given(st.dictionaries(unknown_names, json_like, min_size=1, max_size=3))
def test_fields_nobody_knows_are_signed_and_kept(unknown: dict[str, Any]) -> None:
    sender = key(1)
    fields = loads(content(Principal.self_authenticating(sender.public_key))[0]) | unknown
    request_id = hash_of_value(fields)
    raw = {
        "content": fields,
        "sender_pubkey": sender.public_key,
        "sender_sig": sender.sign(b"\x0aic-request" + request_id),
    }
    request = VERIFIER.open_envelope(cbor2.dumps({"envelope": raw}), now_ns=NOW)
    assert (request.request_id, loads(request.body)) == (request_id, raw)


OPTIONAL = st.sets(
    st.sampled_from(["content.nonce", "content.sender_info", "targets", "permissions", "sender_delegation"])
)


@given(OPTIONAL)
def test_optional_fields_that_are_null_are_absent(nulls: set[str]) -> None:
    """As a replica has it: it decodes them into options, and takes its request id over those that are there."""
    is_delegated = "sender_delegation" not in nulls
    sender, session = key(1), key(2)
    chain = [delegate(sender, session)] if is_delegated else []
    body = signed(sender, signer=session if is_delegated else sender, chain=chain)
    fields = loads(body)
    for name in nulls:
        if name.startswith("content."):
            fields["content"][name.removeprefix("content.")] = None
        elif name == "sender_delegation":
            fields[name] = None
        elif is_delegated:
            fields["sender_delegation"][0]["delegation"][name] = None
    opened = VERIFIER.open_envelope(TAG + cbor2.dumps({"envelope": fields}), now_ns=NOW)
    expected = VERIFIER.open_envelope(frame(body), now_ns=NOW)
    assert (opened.request_id, opened.nonce, opened.targets) == (expected.request_id, None, None)
    assert opened.body == TAG + cbor2.dumps(fields)  # relayed as it was received


@pytest.mark.parametrize("name", ["canister_id", "method_name", "arg", "sender", "ingress_expiry", "request_type"])
def test_fields_that_are_needed_are_not_null(name: str) -> None:
    fields = loads(signed(key(1)))
    fields["content"][name] = None
    with pytest.raises(Malformed, match=name):
        VERIFIER.open_request(TAG + cbor2.dumps(fields), now_ns=NOW)


@pytest.mark.parametrize("name", ["sender_pubkey", "sender_sig"])
def test_credentials_that_are_null_are_missing(name: str) -> None:
    fields = {**loads(signed(key(1))), name: None}
    with pytest.raises(SignatureInvalid, match="missing"):
        VERIFIER.open_request(TAG + cbor2.dumps(fields), now_ns=NOW)
    anonymous = encode_envelope(content(ANONYMOUS)[0])
    assert VERIFIER.open_request(TAG + cbor2.dumps({**loads(anonymous), name: None}), now_ns=NOW).sender == ANONYMOUS


# --- the checks -----------------------------------------------------------------------------------------------------


@given(st.integers(-400 * SECOND, 400 * SECOND))
def test_the_expiry_is_near(ahead_ns: int) -> None:
    body = signed(key(1), ingress_expiry_ns=NOW + ahead_ns)
    if ahead_ns < 0:
        with pytest.raises(EnvelopeExpired) as expired:
            VERIFIER.open_request(body, now_ns=NOW)
        assert (expired.value.expiry_ns, expired.value.now_ns) == (NOW + ahead_ns, NOW)
    elif ahead_ns > 330 * SECOND:
        with pytest.raises(EnvelopeTooFarAhead) as ahead:
            VERIFIER.open_request(body, now_ns=NOW)
        assert ahead.value.limit_ns == 330 * SECOND
    else:
        assert VERIFIER.open_request(body, now_ns=NOW).ingress_expiry_ns == NOW + ahead_ns


def test_a_sender_is_its_key() -> None:
    body, request_id = content(Principal.self_authenticating(key(2).public_key))
    signature = key(1).sign(b"\x0aic-request" + request_id)
    with pytest.raises(SenderMismatch) as mismatch:
        VERIFIER.open_request(encode_envelope(body, public_key=key(1).public_key, signature=signature), now_ns=NOW)
    assert mismatch.value.sender == str(Principal.self_authenticating(key(2).public_key))
    assert mismatch.value.key_principal == str(Principal.self_authenticating(key(1).public_key))


def test_a_signature_is_for_requests_only() -> None:
    """Without the separator, or with another one, it signs something else."""
    body, request_id = content(Principal.self_authenticating(key(1).public_key))
    for separator in (b"", b"\x0bic-response", b"\x1aic-request-auth-delegation"):
        signature = key(1).sign(separator + request_id)
        with pytest.raises(SignatureInvalid):
            VERIFIER.open_request(encode_envelope(body, public_key=key(1).public_key, signature=signature), now_ns=NOW)


def test_anonymous_requests_open_but_are_not_relayed() -> None:
    body = encode_envelope(content(ANONYMOUS)[0])
    assert VERIFIER.open_request(body, now_ns=NOW).sender == ANONYMOUS
    with pytest.raises(Malformed, match="anonymous"):
        VERIFIER.open_envelope(frame(body), now_ns=NOW)
    with pytest.raises(Malformed, match="anonymous"):
        read_envelope_unverified(frame(body))
    dressed = encode_envelope(content(ANONYMOUS)[0], public_key=key(1).public_key, signature=bytes(64))
    with pytest.raises(SignatureInvalid, match="anonymous"):
        VERIFIER.open_request(dressed, now_ns=NOW)


def test_anonymous_reads_do_not_expire() -> None:
    for kind in ("query", "read_state"):
        body = encode_envelope(content(ANONYMOUS, request_type=kind, ingress_expiry_ns=0)[0])
        assert VERIFIER.open_request(body, now_ns=NOW).request_type == kind
    with pytest.raises(EnvelopeExpired):
        VERIFIER.open_request(encode_envelope(content(ANONYMOUS, ingress_expiry_ns=0)[0]), now_ns=NOW)


@pytest.mark.parametrize("kind", ["query", "read_state"])
def test_only_calls_are_relayed(kind: str) -> None:
    body = signed(key(1), request_type=kind)
    assert VERIFIER.open_request(body, now_ns=NOW).request_type == kind
    with pytest.raises(Malformed, match="no call"):
        VERIFIER.open_envelope(frame(body), now_ns=NOW)


def test_unsigned_envelopes_can_be_read_without_trust() -> None:
    body = encode_envelope(content(Principal.self_authenticating(key(1).public_key))[0])
    assert read_envelope_unverified(frame(body)).method_name == "ws_message"
    with pytest.raises(SignatureInvalid, match="sender_pubkey"):
        VERIFIER.open_envelope(frame(body), now_ns=NOW)


def test_budgets() -> None:
    with pytest.raises(TooLarge, match="nonce has 33 bytes"):
        VERIFIER.open_request(signed(key(1), nonce=bytes(33)), now_ns=NOW)
    with pytest.raises(TooLarge, match="frame"):
        VERIFIER.open_envelope(frame(signed(key(1), arg=bytes(2**21))), now_ns=NOW)
    large = signed(key(1), arg=bytes(2**21 - 1024))
    assert len(VERIFIER.open_envelope(frame(large), now_ns=NOW).arg) == 2**21 - 1024
    with pytest.raises(TooLarge, match="1001 paths"):
        VERIFIER.open_request(signed(key(1), request_type="read_state", paths=[[b"x"]] * 1001), now_ns=NOW)
    with pytest.raises(TooLarge, match="128 labels"):
        VERIFIER.open_request(signed(key(1), request_type="read_state", paths=[[b"x"] * 128]), now_ns=NOW)
    with pytest.raises(Malformed, match="deep"):
        VERIFIER.open_request(b"\x81" * 1_000_000 + b"\x00", now_ns=NOW)


# --- encoding -------------------------------------------------------------------------------------------------------


def test_the_example_of_the_specification() -> None:
    body, request_id = encode_content(
        "call",
        sender=ANONYMOUS,
        ingress_expiry_ns=1_685_570_400_000_000_000,
        canister_id=bytes.fromhex("00000000000004d2"),
        method_name="hello",
        arg=b"DIDL\x00\xfd*",
    )
    assert request_id.hex() == "1d1091364d6bb8a6c16b203ee75467d59ead468f523eb058880ae8ec80e2b101"
    assert next(iter(loads(body))) == "request_type"


@given(st.binary(max_size=29), st.lists(st.lists(st.binary(max_size=9), max_size=4), max_size=4))
def test_contents_are_what_cbor_says(sender: bytes, paths: list[list[bytes]]) -> None:
    body, request_id = encode_content("read_state", sender=sender, ingress_expiry_ns=5, paths=paths, nonce=b"n")
    fields: dict[str, Any] = {
        "request_type": "read_state",
        "sender": sender,
        "ingress_expiry": 5,
        "paths": paths,
        "nonce": b"n",
    }
    assert loads(body) == fields
    assert request_id == hash_of_value(fields)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("call", {}),
        ("call", {"canister_id": b"", "method_name": ""}),
        ("query", {"paths": [[b"time"]]}),
        ("read_state", {"canister_id": b"", "method_name": "", "arg": b""}),
        ("read_state", {"canister_id": b"", "method_name": "", "arg": b"", "paths": []}),
    ],
)
def test_fields_belong_to_their_type_of_request(kind: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        encode_content(kind, sender=ANONYMOUS, ingress_expiry_ns=0, **fields)


def test_an_unknown_type_of_request_is_named() -> None:
    with pytest.raises(ValueError, match="install"):
        encode_content("install", sender=ANONYMOUS, ingress_expiry_ns=0)  # type: ignore[arg-type]


def test_envelopes_are_what_cbor_says() -> None:
    body, _ = content(ANONYMOUS)
    chain = [(b"k1", 7, None, b"s1"), (b"k2", 8, (Principal(b"t"),), b"s2")]
    raw = encode_envelope(body, public_key=b"key", signature=b"sig", delegations=chain)
    assert raw.startswith(TAG)
    assert loads(raw) == {
        "content": loads(body),
        "sender_pubkey": b"key",
        "sender_delegation": [
            {"delegation": {"pubkey": b"k1", "expiration": 7}, "signature": b"s1"},
            {"delegation": {"pubkey": b"k2", "expiration": 8, "targets": [b"t"]}, "signature": b"s2"},
        ],
        "sender_sig": b"sig",
    }
    assert loads(encode_envelope(TAG + body)) == {"content": loads(body)}
