"""Laws of the errors of bytes that came from the IC."""

import pytest

from appliance.errors import (
    CandidError,
    CertificateError,
    GatewayError,
    IcError,
    Malformed,
    ReplyError,
    ReplyMalformed,
    ReplyTooLarge,
    TooLarge,
    error_classes,
    reading_reply,
)


@pytest.mark.parametrize("kind", sorted(error_classes(IcError), key=lambda each: each.__name__))
def test_what_the_ic_does_is_never_the_fault_of_a_client(kind: type[GatewayError]) -> None:
    assert 4000 <= kind.close_code < 4500


def test_a_certificate_is_always_the_ics() -> None:
    """One in a client's signature ends as SignatureInvalid (`native/core/src/signatures/canister_signature.rs`)."""
    assert issubclass(CertificateError, ReplyError)


@pytest.mark.parametrize(
    ("raised", "kind", "sentence"),
    [
        (Malformed("reply", "no map"), ReplyMalformed, "malformed reply: no map"),
        (CandidError("no header"), ReplyMalformed, "malformed answer of ws_open: no header"),
        (TooLarge("tree", 9, 8, "nodes"), ReplyTooLarge, "tree has 9 nodes, the limit is 8"),
    ],
)
def test_what_decoders_raise_becomes_an_error_of_the_reply(
    raised: GatewayError, kind: type[GatewayError], sentence: str
) -> None:
    with pytest.raises(kind) as error, reading_reply("answer of ws_open"):
        raise raised
    assert str(error.value) == sentence
    assert error.value.__cause__ is raised


def test_other_errors_pass() -> None:
    error = CertificateError()
    with pytest.raises(CertificateError) as passed, reading_reply():
        raise error
    assert passed.value is error
