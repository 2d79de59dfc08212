"""Verifies one message of a canister step by step, as clients do (interface specification, "Certificate")."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from appliance.cli.diagnosis.canister import Polled
from appliance.cli.diagnosis.findings import Finding, fault, note, ok
from appliance.cli.output.certificate_text import NO_LIMIT_NS, Certificate, age_text, read_certificate_file, time_text
from appliance.cli.output.formatting import counted, duration
from appliance.crypto import CandidTypes, HashTree, Verifier, verify_bls
from appliance.errors import (
    CertificateNotAuthorized,
    CertificateRangesUnknown,
    CertificateSignatureInvalid,
    GatewayError,
    Malformed,
)
from appliance.ic.principal import Principal

STATE_ROOT = b"\x0dic-state-root"
_PAGE = "record {{messages: vec record {{key: text; {content}: blob}}; cert: blob; tree: blob}}"
_REPLY = f"(variant {{{{Ok: {_PAGE}; Err: text}}}})"
_OTHER_NETWORK = "does network.root_key belong to this network? If it does, replies are forged on the way from the IC"


@dataclass(frozen=True)
class Evidence:
    """A message with its certificate and witness."""

    key: str
    content: bytes
    certificate: Certificate
    tree: HashTree
    tree_bytes: int
    messages: int


def read_evidence(polled: Polled) -> Evidence:
    """Decode the newest message of a poll reply. Raises Malformed or CandidError."""
    types = CandidTypes(_REPLY.format(content="val" if polled.generation == "v0" else "content"))
    (answer,) = types.decode(polled.reply)
    page: dict[str, Any] = answer["Ok"]  # type: ignore[index]  # the Candid type says so
    if not page["messages"]:
        raise Malformed("reply", "it has no message")
    newest = page["messages"][-1]
    content = newest["val" if polled.generation == "v0" else "content"]
    certificate = read_certificate_file(page["cert"])
    tree = HashTree.from_cbor(page["tree"])
    return Evidence(newest["key"], content, certificate, tree, len(page["tree"]), len(page["messages"]))


def verification_steps(
    polled: Polled, canister_id: Principal, root_key: bytes, *, max_age_s: float, now_ns: int
) -> Iterator[Finding]:
    """Yield one finding for each step of the verification."""
    try:
        evidence = read_evidence(polled)
        certificate = evidence.certificate
        yield ok(
            "1 reply",
            f"{counted(evidence.messages, 'message')}, the newest {evidence.key} with {len(evidence.content)} bytes; "
            f"certificate of {len(certificate.raw)} bytes, tree of {evidence.tree_bytes}",
        )
        yield _age(certificate, max_age_s, now_ns)
    except GatewayError as error:
        yield fault("1 reply", str(error), "is it a WebSocket canister with an unmodified CDK?")
        return
    yield from _delegation(certificate, canister_id, root_key, now_ns)
    yield _signature(certificate, root_key)
    yield _certified_data(certificate, evidence.tree, canister_id)
    yield _witness(evidence)
    yield _whole_reply(polled, canister_id, root_key, max_age_s, now_ns)


def _age(certificate: Certificate, max_age_s: float, now_ns: int) -> Finding:
    age_ns = now_ns - certificate.time_ns
    text = f"made {age_text(age_ns)}, at {time_text(certificate.time_ns)}"
    if abs(age_ns) > max_age_s * 1e9:
        advice = "set the clock (timedatectl set-ntp true); if the endpoint lags, use another in network.url"
        return fault("2 time", f"{text}; the limit is {duration(max_age_s)}", advice)
    return ok("2 time", text)


def _delegation(certificate: Certificate, canister_id: Principal, root_key: bytes, now_ns: int) -> Iterator[Finding]:
    if certificate.delegation is None or certificate.subnet_id is None:
        yield ok("3 delegation", "none: signed with the root key itself")
        yield ok("4 canister", "the root key is valid for every canister")
        return
    verifier = Verifier(root_key, max_age_ns=NO_LIMIT_NS, max_ahead_ns=NO_LIMIT_NS)
    subnet = Principal(certificate.subnet_id)
    root_subnet = Principal.self_authenticating(root_key)
    try:
        verifier.verify_subnet_certificate(certificate.delegation.raw, root_subnet, now_ns=now_ns)
        since = time_text(certificate.delegation.time_ns)
        yield ok("3 delegation", f"the root key delegates to subnet {subnet} (as of {since})")
    except GatewayError as error:
        yield fault("3 delegation", f"to subnet {subnet}: {error}", _OTHER_NETWORK)
    try:
        verifier.verify_certificate(certificate.raw, canister_id, now_ns=now_ns)
    except (CertificateNotAuthorized, CertificateRangesUnknown) as error:
        yield fault("4 canister", str(error), "is the canister on this network? If it is, an endpoint forges replies")
    except GatewayError:
        yield note("4 canister", "not checked, because a signature is not valid")
    else:
        yield ok("4 canister", f"subnet {subnet} is responsible for {canister_id}")


def _signature(certificate: Certificate, root_key: bytes) -> Finding:
    try:
        key, whose = root_key, "root key"
        if certificate.delegation is not None and certificate.subnet_id is not None:
            path = [b"subnet", certificate.subnet_id, b"public_key"]
            key, whose = certificate.delegation.hash_tree.lookup(path) or b"", "subnet"
        verify_bls(key, certificate.signature, STATE_ROOT + certificate.hash_tree.digest)
    except CertificateSignatureInvalid as error:
        return fault("5 signature", str(error), _OTHER_NETWORK)
    except GatewayError as error:
        return fault("5 signature", f"the key to verify it with is missing: {error}", _OTHER_NETWORK)
    return ok(
        "5 signature", f"the BLS signature of the {whose} is valid for the state {_short(certificate.hash_tree.digest)}"
    )


def _certified_data(certificate: Certificate, tree: HashTree, canister_id: Principal) -> Finding:
    subject = "6 data"
    try:
        data = certificate.hash_tree.lookup([b"canister", canister_id, b"certified_data"])
    except GatewayError as error:
        return fault(subject, str(error), "the reply has another certificate than the CDK creates")
    if data is None:
        return fault(subject, f"the certificate has no certified data of {canister_id}", "is the CDK unmodified?")
    # Certified data is one value for the whole canister: whoever sets it last wins.
    if data != tree.digest:
        text = f"the canister certified {_short(data)}, the reply's tree is {_short(tree.digest)}"
        advice = (
            "other code in the canister sets its certified data too, e.g. certified assets or an HTTP cache: "
            "there is only one value, so put both trees under one root"
        )
        return fault(subject, text, advice)
    return ok(subject, f"the canister certified the reply's tree {_short(data)}")


def _witness(evidence: Evidence) -> Finding:
    subject = "7 witness"
    digest = hashlib.sha256(evidence.content).digest()
    try:
        leaf = evidence.tree.lookup([b"websocket", evidence.key.encode()])
    except GatewayError as error:
        return fault(subject, str(error), "is the CDK unmodified?")
    if leaf != digest:
        found = "nothing" if leaf is None else _short(leaf)
        text = f"the tree has {found} at websocket/{evidence.key}, the content's hash is {_short(digest)}"
        return fault(subject, text, "the canister did not certify this message: does an endpoint forge replies?")
    return ok(subject, f"the tree has the SHA-256 of the content, {_short(digest)}, at websocket/{evidence.key}")


def _whole_reply(polled: Polled, canister_id: Principal, root_key: bytes, max_age_s: float, now_ns: int) -> Finding:
    """Verify the whole reply with the function that the gateway uses."""
    limit_ns = int(max_age_s * 1e9)
    verifier = Verifier(root_key, max_age_ns=limit_ns, max_ahead_ns=limit_ns)
    try:
        # The poll was made by whoever runs this, not by the gateway.
        opened = verifier.open_poll_reply(
            polled.reply, canister_id, generation=polled.wire, now_ns=now_ns, gateway=None
        )
    except GatewayError as error:
        return fault("8 gateway", f"would not deliver this reply: {error}", "see the findings above")
    return ok("8 gateway", f"would deliver {counted(len(opened.messages), 'message')} of this reply")


def _short(digest: bytes) -> str:
    return f"{digest.hex()[:12]}…"
