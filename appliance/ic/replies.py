"""Parses replies of the IC (interface specification, "Request status" and "HTTPS Interface")."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from appliance.crypto import CertifiedTree, decode_cbor
from appliance.errors import CertifiedReject, Malformed, PathAbsent, UncertifiedReject

SYS_TRANSIENT = 2

State = Literal["absent", "received", "processing", "replied", "rejected", "done"]
Fields: TypeAlias = Mapping[str, object]
V = TypeVar("V", bytes, str, int)

_STATES: Mapping[bytes, State] = {
    b"received": "received",
    b"processing": "processing",
    b"replied": "replied",
    b"rejected": "rejected",
    b"done": "done",
}


class RequestStatus(NamedTuple):
    """The status of a call. ``reply`` has the answer where the state is "replied", ``reject`` the reason where it is
    "rejected". "absent": the IC proves that it does not know the call (yet); "done": it has forgotten the outcome."""

    state: State
    reply: bytes = b""
    reject: CertifiedReject | None = None


ACCEPTED = RequestStatus("received")


def read_fields(body: bytes, what: str) -> Fields:
    """Decode a reply that is a map. Raises Malformed."""
    fields = decode_cbor(body, what=what)
    if not isinstance(fields, dict):
        raise Malformed(what, "it is not a map")
    return fields


def field(fields: Fields, name: str, kind: type[V], what: str) -> V:
    """A field that must be there and of this type. Raises Malformed."""
    value = fields.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Malformed(what, f"it has no {name!r} of type {kind.__name__}")
    return value


def read_certificate(body: bytes, what: str) -> bytes:
    """The certificate in the answer to read_state, unverified. Raises Malformed."""
    return field(read_fields(body, what), "certificate", bytes, what)


def read_query_reply(body: bytes) -> bytes:
    """The argument of the reply to a query. Raises UncertifiedReject or Malformed."""
    what = "query reply"
    fields = read_fields(body, what)
    if fields.get("status") != "replied":
        raise _rejection(fields, what)
    reply = fields.get("reply")
    if not isinstance(reply, dict):
        raise Malformed(what, "it has no 'reply'")
    return field(reply, "arg", bytes, what)


def read_call_reply(body: bytes) -> bytes:
    """The certificate in the answer to a call, unverified. Raises UncertifiedReject or Malformed.

    Version 2 of the endpoint has no status: it answers with a body only to refuse.
    """
    what = "call reply"
    fields = read_fields(body, what)
    if fields.get("status") == "replied":
        return field(fields, "certificate", bytes, what)
    raise _rejection(fields, what)


def _rejection(fields: Fields, what: str) -> UncertifiedReject:
    code = field(fields, "reject_code", int, what)
    error_code = fields.get("error_code")
    message = field(fields, "reject_message", str, what)
    return UncertifiedReject(code, message, error_code if isinstance(error_code, str) else None)


def read_request_status(tree: CertifiedTree, request_id: bytes) -> RequestStatus:
    """The certified status of a call. Raises PathUnknown, PathAbsent or Malformed for a tree without it."""
    path = [b"request_status", request_id]
    label = tree.lookup([*path, b"status"])
    if label is None:
        return RequestStatus("absent")
    state = _STATES.get(label)
    if state is None:
        raise Malformed("request status", f"{label!r} is no state")
    if state == "replied":
        return RequestStatus(state, reply=_leaf(tree, path, b"reply"))
    if state == "rejected":
        return RequestStatus(state, reject=_certified_rejection(tree, path))
    return RequestStatus(state)


def _certified_rejection(tree: CertifiedTree, path: list[bytes]) -> CertifiedReject:
    code = read_leb128(_leaf(tree, path, b"reject_code"))
    message = _leaf(tree, path, b"reject_message").decode(errors="replace")
    error_code = tree.lookup([*path, b"error_code"])
    return CertifiedReject(code, message, error_code.decode(errors="replace") if error_code else None)


def _leaf(tree: CertifiedTree, path: list[bytes], label: bytes) -> bytes:
    value = tree.lookup([*path, label])
    if value is None:
        raise PathAbsent(f"request_status/0x{path[1].hex()}/{label.decode()}")
    return value


def read_leb128(data: bytes) -> int:
    """A natural number as the state tree has it. Raises Malformed: no end, bytes behind it, more than 64 bits."""
    value = sum((byte & 0x7F) << 7 * i for i, byte in enumerate(data))
    ends = [i for i, byte in enumerate(data) if byte < 0x80]
    if ends != [len(data) - 1] or value >= 1 << 64:
        raise Malformed("number", f"0x{data[:16].hex()} is not LEB128 of at most 64 bits")
    return value
