"""Replies to queries, signed by nodes; some by the local network, some made here with another CBOR library."""

import contextlib
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance._native import QueryReply, Verifier, encode_cbor, hash_of_value, verify_query_reply
from appliance.errors import (
    BadReply,
    GatewayError,
    Malformed,
    QuerySignatureInvalid,
    QuerySignatureMissing,
    QuerySignatureStale,
    QuerySignatureUnknownNode,
    TooLarge,
)
from appliance.ic.principal import Principal
from appliance.localnet.state.certification import Authority
from appliance.localnet.state.certified_state import CertifiedState
from appliance.localnet.state.clock import ManualClock
from tests.native.mutations import mutations
from tests.native.signing import NOW, SECOND, key

REQUEST_ID = b"\7" * 32
MAX_AGE_NS = 5 * SECOND
TAG = b"\xd9\xd9\xf7"
NODES = {Principal.self_authenticating(node.public_key): node for node in map(key, (1, 2, 3))}
NODE_KEYS: dict[bytes, bytes] = {node_id: node.public_key for node_id, node in NODES.items()}
FIRST, *_, LAST = NODES

REPLIED = st.binary(max_size=80).map(lambda arg: {"status": "replied", "reply": {"arg": arg}})
REJECTED = st.fixed_dictionaries(
    {"status": st.just("rejected"), "reject_code": st.integers(1, 6), "reject_message": st.text(max_size=40)},
    optional={"error_code": st.sampled_from(["IC0406", "IC0503", None])},
)
ANSWERS = REPLIED | REJECTED


def sign(answer: dict[str, Any], signer: Principal = FIRST, timestamp_ns: int = NOW) -> dict[str, Any]:
    signed = {**answer, "timestamp": timestamp_ns, "request_id": REQUEST_ID}
    signature = NODES[signer].sign(b"\x0bic-response" + hash_of_value(signed))
    return {"timestamp": timestamp_ns, "signature": signature, "identity": bytes(signer)}


def reply(answer: dict[str, Any], *signatures: dict[str, Any]) -> bytes:
    return TAG + cbor2.dumps({**answer, "signatures": list(signatures)})


def verify(body: bytes, **changes: Any) -> QueryReply:
    known: dict[str, Any] = {"request_id": REQUEST_ID, "node_keys": NODE_KEYS, "now_ns": NOW, "max_age_ns": MAX_AGE_NS}
    return verify_query_reply(body, **(known | changes))


@given(ANSWERS, st.lists(st.tuples(st.sampled_from([*NODES]), st.integers(-5, 5)), min_size=1, max_size=3))
def test_what_nodes_signed_is_returned(answer: dict[str, Any], signers: list[tuple[Principal, int]]) -> None:
    signatures = [sign(answer, node, NOW + off_s * SECOND) for node, off_s in signers]
    opened = verify(reply(answer, *signatures))
    node, off_s = min(signers, key=lambda signer: signer[1])
    assert (opened.node_id, opened.signed_at_ns) == (node, NOW + off_s * SECOND)
    assert (opened.status, opened.arg) == (answer["status"], answer.get("reply", {}).get("arg"))
    rejection = (opened.reject_code, opened.reject_message, opened.error_code)
    assert rejection == (answer.get("reject_code"), answer.get("reject_message"), answer.get("error_code"))


@given(ANSWERS, st.data())
def test_a_flipped_bit_is_refused(answer: dict[str, Any], data: st.DataObject) -> None:
    body = bytearray(reply(answer, sign(answer)))
    bit = data.draw(st.integers(0, 8 * len(body) - 1))
    body[bit // 8] ^= 1 << bit % 8
    with pytest.raises((BadReply, Malformed, TooLarge)):
        verify(bytes(body))


@given(ANSWERS, ANSWERS, st.binary(min_size=32, max_size=32))
def test_a_signature_is_for_one_answer_to_one_request(
    answer: dict[str, Any], other: dict[str, Any], request_id: bytes
) -> None:
    body = reply(answer, sign(answer))
    if request_id != REQUEST_ID:
        with pytest.raises(QuerySignatureInvalid, match=str(FIRST)):
            verify(body, request_id=request_id)
    if hash_of_value(answer) != hash_of_value(other):
        with pytest.raises(QuerySignatureInvalid):
            verify(reply(other, sign(answer)))


@given(REPLIED, st.integers(-2 * MAX_AGE_NS, 2 * MAX_AGE_NS))
def test_a_signature_is_of_now(answer: dict[str, Any], off_ns: int) -> None:
    body = reply(answer, sign(answer, timestamp_ns=NOW + off_ns))
    if abs(off_ns) <= MAX_AGE_NS:
        assert verify(body).signed_at_ns == NOW + off_ns
        return
    with pytest.raises(QuerySignatureStale) as caught:
        verify(body)
    assert (caught.value.signed_at_ns, caught.value.now_ns) == (NOW + off_ns, NOW)
    assert ("ago" in str(caught.value)) == (off_ns < 0)


def test_every_signature_is_that_of_a_node() -> None:
    answer = {"status": "replied", "reply": {"arg": b""}}
    good = sign(answer)
    for body in (reply(answer), TAG + cbor2.dumps(answer), TAG + cbor2.dumps({**answer, "signatures": None})):
        with pytest.raises(QuerySignatureMissing):
            verify(body)
    fewer = {node: NODE_KEYS[node] for node in NODE_KEYS if node != LAST}
    with pytest.raises(QuerySignatureUnknownNode) as unknown:
        verify(reply(answer, good, sign(answer, LAST)), node_keys=fewer)
    assert unknown.value.node == str(LAST)
    with pytest.raises(QuerySignatureInvalid):
        verify(reply(answer, good, {**sign(answer, LAST), "signature": bytes(64)}))
    with pytest.raises(QuerySignatureInvalid):
        verify(reply(answer, good), node_keys={FIRST: key(9, "secp256k1").public_key})
    with pytest.raises(TooLarge, match="4 signatures"):
        verify(reply(answer, good, good, good, good))


def test_fields_that_nobody_signed_change_nothing() -> None:
    answer = {"status": "replied", "reply": {"arg": b"a"}}
    assert verify(reply({**answer, "error_code": "IC0001"}, sign(answer))).error_code is None


@given(st.binary(max_size=200))
def test_junk_is_refused(junk: bytes) -> None:
    for body in (junk, TAG + junk, encode_cbor({"status": "replied", "reply": junk, "signatures": [junk]})):
        with pytest.raises((Malformed, BadReply)):
            verify(body)


@given(ANSWERS, st.data())
def test_hostile_replies_end_in_an_error_of_ours(answer: dict[str, Any], data: st.DataObject) -> None:
    body = data.draw(mutations(reply(answer, sign(answer))))
    with contextlib.suppress(GatewayError):
        opened = verify(body)
        assert (opened.status, opened.arg) == (answer["status"], answer.get("reply", {}).get("arg"))


def test_a_request_id_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32"):
        verify(b"", request_id=b"short")


@pytest.mark.parametrize("subnet", [False, True])
def test_the_keys_are_in_certified_state(subnet: bool) -> None:
    """From the state of a subnet to a reply of one of its nodes, as a gateway goes."""
    authority = Authority(seed=b"query", subnet=subnet)
    state = CertifiedState(authority, ManualClock(NOW))
    certificate = state.certificate([[b"subnet", authority.subnet_id]], "none")
    tree = Verifier(authority.root_key).verify_subnet_certificate(certificate, authority.subnet_id, now_ns=NOW)
    nodes = [b"subnet", authority.subnet_id, b"node"]
    node_keys = {node: tree.lookup([*nodes, node, b"public_key"]) or b"" for node in tree.children(nodes)}
    answer: dict[str, Any] = {"status": "replied", "reply": {"arg": b"a"}}
    signature: Any = authority.sign_response(answer, REQUEST_ID, NOW)
    opened = verify(encode_cbor({**answer, "signatures": [signature]}), node_keys=node_keys)
    assert opened.node_id in node_keys
    with pytest.raises(QuerySignatureUnknownNode):
        verify(encode_cbor({**answer, "signatures": [signature]}))
