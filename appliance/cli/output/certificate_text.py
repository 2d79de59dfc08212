"""Decodes and prints certificates (interface specification, "Certificate" and "The system state tree")."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from appliance.crypto import HashTree, decode_cbor, encode_cbor
from appliance.errors import GatewayError, Malformed
from appliance.ic.principal import Principal
from appliance.ic.replies import read_leb128

_EMPTY, _FORK, _LABELED, _LEAF, _PRUNED = range(5)
_SHOWN = 75  # characters of a value
_PRINCIPALS_BELOW = frozenset({"canister", "subnet", "canister_ranges", "node"})
NO_LIMIT_NS = 2**63 - 1
"""The age limit of a verifier that accepts certificates of any age."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Node = Sequence[Any]


@dataclass(frozen=True)
class Certificate:
    """A decoded certificate. Nothing in it is verified."""

    raw: bytes
    tree: Node
    signature: bytes
    subnet_id: bytes | None
    delegation: "Certificate | None"

    @property
    def hash_tree(self) -> HashTree:
        """Its hash tree. Raises Malformed."""
        return HashTree.from_cbor(encode_cbor(self.tree))

    @property
    def time_ns(self) -> int:
        """Its time. Raises Malformed, and PathUnknown if the path is pruned."""
        return read_leb128(self.hash_tree.lookup([b"time"]) or b"")


def read_certificate_file(data: bytes) -> Certificate:
    """Decode a certificate, or a read_state reply with one. Raises Malformed."""
    fields = _map(data, "certificate")
    wrapped = fields.get("certificate")
    return _read(wrapped if isinstance(wrapped, bytes) else data, delegated=False)


def _read(data: bytes, *, delegated: bool) -> Certificate:
    fields = _map(data, "certificate")
    tree, signature = fields.get("tree"), fields.get("signature")
    if not isinstance(tree, list) or not isinstance(signature, bytes):
        raise Malformed("certificate", "it has no tree and signature")
    HashTree.from_cbor(encode_cbor(tree))  # raises now rather than while the tree is printed
    delegation = fields.get("delegation")
    if delegated or not isinstance(delegation, dict):
        return Certificate(data, tree, signature, None, None)
    subnet_id, certificate = delegation.get("subnet_id"), delegation.get("certificate")
    if not isinstance(subnet_id, bytes) or not isinstance(certificate, bytes):
        raise Malformed("certificate", "its delegation has no subnet_id and certificate")
    return Certificate(data, tree, signature, Principal(subnet_id), _read(certificate, delegated=True))


def _map(data: bytes, what: str) -> Mapping[str, object]:
    fields = decode_cbor(data, what=what)
    if not isinstance(fields, dict):
        raise Malformed(what, "it is not a map")
    return fields


def time_text(time_ns: int) -> str:
    """E.g. ``2025-11-22 07:34:56.688941908 UTC``."""
    try:
        seconds = _EPOCH + timedelta(seconds=time_ns // 10**9)
    except OverflowError:
        return f"{time_ns} ns after 1970"
    return f"{seconds:%Y-%m-%d %H:%M:%S}.{time_ns % 10**9:09} UTC"


def age_text(age_ns: int) -> str:
    """E.g. ``3 days ago``, ``in 5 seconds``."""
    seconds = abs(age_ns) // 10**9
    units = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
    name, size = next((unit for unit in units if seconds >= 2 * unit[1]), units[-1])
    amount = f"{seconds // size} {name}{'s' * (seconds // size != 1)}"
    return f"{amount} ago" if age_ns >= 0 else f"in {amount}"


# --- the tree -------------------------------------------------------------------------------------------------------


def tree_lines(node: Node, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Return the tree with one label on each line, indented by depth, including pruned parts."""
    indent = "  " * len(path)
    kind = node[0]
    if kind == _FORK:
        yield from tree_lines(node[1], path)
        yield from tree_lines(node[2], path)
    elif kind == _LABELED:
        yield from _labeled_lines(node, path, indent)
    elif kind == _LEAF:
        yield f"{indent}= {leaf_text(path, node[1])}"
    elif kind == _PRUNED:
        yield f"{indent}… pruned ({node[1].hex()[:16]}…)"


def _labeled_lines(node: Node, path: tuple[str, ...], indent: str) -> Iterator[str]:
    label = label_text(path, node[1])
    below = node[2]
    if below[0] == _LEAF:
        yield f"{indent}{label} = {leaf_text((*path, label), below[1])}"
    else:
        yield f"{indent}{label}/{' (empty)' if below[0] == _EMPTY else ''}"
        yield from tree_lines(below, (*path, label))


def label_text(path: tuple[str, ...], label: bytes) -> str:
    """Format a label: names as text, ids as principals, other bytes in hexadecimal digits."""
    if (path and path[-1] in _PRINCIPALS_BELOW) or (len(path) == 2 and path[0] == "canister_ranges"):
        return str(Principal(label)) if len(label) <= 29 else _hex(label)
    return _text_or_hex(label)


def leaf_text(path: tuple[str, ...], value: bytes) -> str:
    """Format the value at a path by its meaning, if that is known."""
    reader = _READERS.get(path[-1] if path else "")
    if path[:1] == ("canister_ranges",):
        reader = _ranges_text
    try:
        return reader(value) if reader else _text_or_hex(value)
    except (GatewayError, TypeError, ValueError):
        return _text_or_hex(value)


def _ranges_text(value: bytes) -> str:
    ranges = decode_cbor(value)
    if not isinstance(ranges, list):
        raise ValueError("no list")
    return ", ".join(f"{Principal(first)} to {Principal(last)}" for first, last in ranges)


def _principals_text(value: bytes) -> str:
    principals = decode_cbor(value)
    if not isinstance(principals, list):
        raise ValueError("no list")
    return ", ".join(str(Principal(principal)) for principal in principals)


def _hex(value: bytes) -> str:
    digits = value.hex()
    return f"0x{digits}" if len(digits) <= 2 * 32 else f"0x{digits[: _SHOWN - 5]}… ({len(value)} bytes)"


def _text_or_hex(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return _hex(value)
    if not text.isprintable() or not text:
        return _hex(value) if value else '""'
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(value)} bytes)"


_READERS: Mapping[str, Callable[[bytes], str]] = {
    "time": lambda value: time_text(read_leb128(value)),
    "reject_code": lambda value: str(read_leb128(value)),
    "canister_ranges": _ranges_text,
    "controllers": _principals_text,
    "public_key": _hex,
    "module_hash": _hex,
    "certified_data": _hex,
    "reply": _hex,
    "metrics": _hex,
}
