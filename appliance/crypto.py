"""The native core, by the names the package uses."""

from appliance._native import (
    BlsSecretKey,
    CandidInterface,
    CandidMethod,
    CandidTypes,
    CertifiedMessage,
    CertifiedTree,
    HashTree,
    PolledMessage,
    PollReply,
    QueryReply,
    Request,
    SigningKey,
    StateTree,
    Verifier,
    decode_candid,
    decode_candid_text,
    decode_cbor,
    encode_candid_text,
    encode_cbor,
    encode_certificate,
    encode_content,
    encode_envelope,
    hash_of_value,
    read_envelope_unverified,
    read_poll_reply_unverified,
    signature_of_certificate,
    verify_bls,
    verify_query_reply,
    verify_signature,
)

__all__ = [
    "BlsSecretKey",
    "CandidInterface",
    "CandidMethod",
    "CandidTypes",
    "CertifiedMessage",
    "CertifiedTree",
    "HashTree",
    "PollReply",
    "PolledMessage",
    "QueryReply",
    "Request",
    "SigningKey",
    "StateTree",
    "Verifier",
    "core_version",
    "decode_candid",
    "decode_candid_text",
    "decode_cbor",
    "encode_candid_text",
    "encode_cbor",
    "encode_certificate",
    "encode_content",
    "encode_envelope",
    "hash_of_value",
    "read_envelope_unverified",
    "read_poll_reply_unverified",
    "signature_of_certificate",
    "verify_bls",
    "verify_query_reply",
    "verify_signature",
]


def core_version() -> str:
    """The version that the native core was built as. In a checkout, that of an older build is not the package's."""
    from appliance._native import VERSION  # noqa: PLC0415 - a core that was built before it had one does its work

    return VERSION
