"""Who may read which paths of the state (IC interface specification, "Request: Read state"; the replica's words)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.errors import Malformed
from appliance.ic.principal import Principal
from appliance.localnet.http.errors import HttpError
from appliance.localnet.state.certification import Authority
from appliance.localnet.state.ingress import Call

REQUEST_ID_BYTES = 32
STATUS_LEAVES = {b"status", b"reply", b"reject_code", b"reject_message", b"error_code"}


@dataclass(frozen=True)
class StateReader:
    """A verified read_state request: its sender and delegation targets, and the endpoint that it came to.

    ``effective_id`` is the effective canister id or, with ``is_subnet``, the subnet id of the URL.
    """

    sender: Principal
    targets: frozenset[bytes] | None
    effective_id: Principal
    is_subnet: bool
    version: int


class PathRules:
    """Decides about paths with the subnet's ids and the calls that the replica has accepted."""

    def __init__(self, authority: Authority, call: Callable[[bytes], Call | None]) -> None:
        self._authority = authority
        self._call = call

    def check(self, paths: Sequence[Sequence[bytes]], reader: StateReader) -> None:
        """Raises HttpError for the first path that this reader may not read."""
        request_ids = {path[1] for path in paths if len(path) > 1 and path[0] == b"request_status"}
        for path in paths:
            self._check_path(path, reader)
        if len(request_ids) > 1:
            first, second = sorted(request_ids)[:2]
            text = "More than one non-unique request ID exists in request_status paths: "
            raise HttpError(400, f"{text}0x{first.hex()} and 0x{second.hex()}.")

    def shown(self, paths: Sequence[Sequence[bytes]], reader: StateReader) -> list[Sequence[bytes]]:
        """The paths to reveal: since v3 the flat canister ranges of a delegated subnet are left out of it."""
        if reader.version == 2 or not self._authority.is_delegated:
            return list(paths)
        own = (b"subnet", self._authority.subnet_id)
        shown: list[Sequence[bytes]] = []
        for path in paths:
            is_above = tuple(path) == own[: len(path)]
            shown += [(*own, name) for name in (b"public_key", b"type", b"node")] if is_above else [path]
        return shown

    def _check_path(self, path: Sequence[bytes], reader: StateReader) -> None:
        match [bytes(label) for label in path]:
            case [b"time"] | [b"api_boundary_nodes", *_]:
                pass
            case [b"subnet", *rest] if self._is_open(rest, reader):
                pass
            case [b"subnet", subject, b"metrics"] if reader.is_subnet:
                _check_effective_id(subject, reader)
            case [b"canister_ranges", _] if reader.is_subnet:
                pass
            case [b"canister", subject, b"controllers" | b"module_hash"] if not reader.is_subnet:
                _check_effective_id(subject, reader)
            case [b"canister", subject, b"metadata", name] if not reader.is_subnet:
                _check_text(name)
                _check_effective_id(subject, reader)
            case [b"request_status", request_id, *rest] if _is_status(rest) and not _is_old_subnet(reader):
                self._check_request(request_id, reader)
            case _:
                raise HttpError(404, "Invalid path requested.")

    def _is_open(self, below_subnet: Sequence[bytes], reader: StateReader) -> bool:
        """Whether anybody may read this path below ``/subnet``."""
        match below_subnet:
            case [] | [_] | [_, b"public_key" | b"type" | b"node"] | [_, b"node", _] | [_, b"node", _, b"public_key"]:
                return True
            case [subnet, b"canister_ranges"]:
                return reader.version == 2 or subnet == self._authority.root_subnet_id
            case _:
                return False

    def _check_request(self, request_id: bytes, reader: StateReader) -> None:
        if len(request_id) != REQUEST_ID_BYTES:
            text = f"Invalid request id in paths. Maybe the request ID is not of {REQUEST_ID_BYTES} bytes in length?!"
            raise HttpError(400, text)
        call = self._call(request_id)
        if call is None:
            return
        if call.sender != reader.sender:
            raise HttpError(403, "The user tries to access Request ID not signed by the caller.")
        if reader.targets is not None and call.canister_id not in reader.targets:
            text = "The user tries to access request IDs for canisters not belonging to sender delegation targets."
            raise HttpError(403, text)


def _is_old_subnet(reader: StateReader) -> bool:
    return reader.is_subnet and reader.version == 2


def _check_effective_id(label: bytes, reader: StateReader) -> None:
    try:
        subject = Principal(label)
    except Malformed as error:
        raise HttpError(400, f"Could not parse principal ID: {error.problem}.") from error
    if subject != reader.effective_id:
        text = f"Effective principal id in URL {reader.effective_id} does not match requested principal id: {subject}."
        raise HttpError(400, text)


def _is_status(rest: Sequence[bytes]) -> bool:
    return not rest or (len(rest) == 1 and rest[0] in STATUS_LEAVES)


def _check_text(name: bytes) -> None:
    try:
        name.decode()
    except UnicodeDecodeError as error:
        raise HttpError(400, f"Could not parse the custom section name: {error.reason}.") from error
