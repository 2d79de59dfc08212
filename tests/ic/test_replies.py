"""Laws of ``ic/replies.py``: what is not exactly as specified is Malformed, never a crash."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import CertifiedTree, Verifier, encode_cbor
from appliance.errors import CertifiedReject, Malformed, PathAbsent, UncertifiedReject
from appliance.ic.replies import (
    read_call_reply,
    read_certificate,
    read_leb128,
    read_query_reply,
    read_request_status,
)
from tests.ic.scripted_ic import NOW_NS, ROOT, certificate, leb128

ID = bytes(range(32))


@given(st.integers(0, 2**64 - 1))
def test_numbers_are_read_as_they_are_written(number: int) -> None:
    assert read_leb128(leb128(number)) == number


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x01\x01", b"\x00\x80", b"\xff" * 9 + b"\x02", b"\x80" * 200])
def test_what_is_no_number_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_leb128(data)


@given(st.binary(max_size=30))
def test_a_number_of_any_bytes_is_read_or_malformed(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        assert 0 <= read_leb128(data) < 2**64


VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.binary(max_size=3) | st.text(max_size=3)
NAMES = st.sampled_from(["status", "reply", "certificate", "reject_code", "reject_message", "error_code", "else"])
MAPS = st.dictionaries(NAMES, VALUES | st.just("replied") | st.dictionaries(st.just("arg"), VALUES))


@given(MAPS.map(encode_cbor) | st.binary(max_size=20) | VALUES.map(encode_cbor))
def test_any_reply_is_read_or_malformed(body: bytes) -> None:
    with contextlib.suppress(Malformed):
        assert isinstance(read_certificate(body, "reply"), bytes)
    with contextlib.suppress(Malformed, UncertifiedReject):
        assert isinstance(read_call_reply(body), bytes)
    with contextlib.suppress(Malformed, UncertifiedReject):
        assert isinstance(read_query_reply(body), bytes)


def test_a_query_reply_is_its_argument() -> None:
    assert read_query_reply(encode_cbor({"status": "replied", "reply": {"arg": b"DIDL"}})) == b"DIDL"


def test_a_rejected_query_says_why() -> None:
    fields: dict[str, Any] = {"status": "rejected", "reject_code": 4, "reject_message": "no", "error_code": "IC0406"}
    with pytest.raises(UncertifiedReject) as rejection:
        read_query_reply(encode_cbor(fields))
    reject = rejection.value
    assert (reject.reject_code, reject.message, reject.error_code) == (4, "no", "IC0406")


def test_a_call_refused_without_a_status_says_why() -> None:
    """As version 2 of the interface does."""
    with pytest.raises(UncertifiedReject) as rejection:
        read_call_reply(encode_cbor({"reject_code": 3, "reject_message": "no such canister"}))
    reject = rejection.value
    assert (reject.reject_code, reject.message, reject.error_code) == (3, "no such canister", None)


def tree(labels: dict[bytes, Any]) -> CertifiedTree:
    data = certificate(labels, time_ns=NOW_NS)
    return Verifier(ROOT.public_key).verify_certificate(data, b"\x01", now_ns=NOW_NS)


def status(**leaves: bytes) -> CertifiedTree:
    return tree({b"request_status": {ID: {name.encode(): value for name, value in leaves.items()}}})


@pytest.mark.parametrize("state", ["received", "processing", "done"])
def test_states_without_an_outcome(state: str) -> None:
    assert read_request_status(status(status=state.encode()), ID).state == state


def test_an_unknown_request_is_absent() -> None:
    assert read_request_status(tree({}), ID).state == "absent"
    assert read_request_status(status(status=b"received"), bytes(32)).state == "absent"


def test_outcomes() -> None:
    replied = read_request_status(status(status=b"replied", reply=b"DIDL"), ID)
    assert (replied.state, replied.reply, replied.reject) == ("replied", b"DIDL", None)
    leaves = {"reject_code": leb128(300), "reject_message": b"b\xffd", "error_code": b"IC0503"}
    rejected = read_request_status(status(status=b"rejected", **leaves), ID)
    assert isinstance(rejected.reject, CertifiedReject)
    assert (rejected.reject.reject_code, rejected.reject.message) == (300, "b\ufffdd")
    assert rejected.reject.error_code == "IC0503"


def test_a_status_that_lacks_its_outcome_is_not_accepted() -> None:
    with pytest.raises(PathAbsent, match="reply"):
        read_request_status(status(status=b"replied"), ID)
    with pytest.raises(PathAbsent, match="reject_code"):
        read_request_status(status(status=b"rejected", reject_message=b"no"), ID)
    with pytest.raises(Malformed, match="no state"):
        read_request_status(status(status=b"dancing"), ID)


def test_true_is_no_number() -> None:
    with pytest.raises(Malformed, match="reject_code"):
        read_call_reply(encode_cbor({"reject_code": True, "reject_message": "no"}))
