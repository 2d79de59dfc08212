"""The replica of the stub IC: executes calls, certifies a block at a time and answers polls.

Its certificates are real: BLS signatures over hash trees, a subnet delegation, node signatures. It does not verify the
signatures of calls, because it must not be the bottleneck, and runs one canister program that is written for speed.
"""

import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from appliance.bench.stub.canister import StubCanister
from appliance.bench.wire import CLOSE_ARG, DONE, MESSAGE_ARG, OPEN_ARG
from appliance.crypto import StateTree, decode_cbor, encode_cbor, encode_certificate, hash_of_value
from appliance.errors import Malformed
from appliance.ic.principal import Principal
from appliance.localnet.state.certification import Authority, Ranges, leb128

Response = Literal["echo", "none"]
"""What a canister does with a message of the application: send it back, or nothing."""

KEPT_CALLS = 20_000
"""Request statuses that are kept for read_state; older ones are pruned."""
REFRESH_NS = 30 * 10**9
"""Age at which a state is signed again: gateways refuse certificates that are some minutes old."""

_TIME = [b"time"]
_RANGES: dict[int, Ranges] = {2: "flat", 3: "flat", 4: "sharded"}


class Call(NamedTuple):
    """A call that waits for its block. ``reply`` takes the body of the HTTP response."""

    request_id: bytes
    version: int
    reply: Callable[[bytes], None]


@dataclass(slots=True)
class Served:
    """Counts since the start."""

    calls: int = 0
    duplicate_calls: int = 0
    polls: int = 0
    empty_polls: int = 0
    messages: int = 0
    opened: int = 0
    closed: int = 0
    blocks: int = 0


@dataclass
class StubReplica:
    """Every canister exists as soon as it is called or polled.

    ``clock`` returns ns since 1970. ``on_work`` is called when there is something for a block: its owner then calls
    ``block``.
    """

    seed: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    response: Response = "echo"
    page_size: int = 50
    clock: Callable[[], int] = time.time_ns
    on_work: Callable[[], None] = lambda: None
    served: Served = field(default_factory=Served)

    def __post_init__(self) -> None:
        self.authority = Authority(subnet=True, seed=self.seed)
        self.canisters: dict[bytes, StubCanister] = {}
        self._state = StateTree()
        for path, value in self.authority.state.items():
            self._state.set(path, value)
        self._waiting: list[Call] = []
        self._dirty: set[bytes] = set()
        self._known: deque[bytes] = deque()
        self._executed: set[bytes] = set()
        self._certificates: dict[tuple[bytes, Ranges], bytes] = {}
        self._signed_at_ns = 0
        self._signature = b""
        self.block()

    def canister(self, canister_id: bytes) -> StubCanister:
        """Return the canister with this id."""
        found = self.canisters.get(canister_id)
        if found is None:
            found = self.canisters[canister_id] = StubCanister(Principal(canister_id), page_size=self.page_size)
        return found

    # --- requests ---------------------------------------------------------------------------------------------------

    def call(self, body: bytes, version: int, reply: Callable[[bytes], None]) -> None:
        """Execute a call now; the next block certifies its outcome. The same call twice is executed once.

        Raises Malformed or CandidError if it is no call of the WebSocket interface.
        """
        content = _content(body)
        request_id = hash_of_value(content)  # type: ignore[arg-type]  # as it was decoded
        if request_id in self._executed:
            self.served.duplicate_calls += 1
        else:
            self._execute(content)
            self._executed.add(request_id)
            self._known.append(request_id)
            self.served.calls += 1
        self._waiting.append(Call(request_id, version, reply))
        self.on_work()

    def _execute(self, content: dict[str, object]) -> None:
        canister_id, sender, arg = (_bytes(content, name) for name in ("canister_id", "sender", "arg"))
        canister, method = self.canister(canister_id), content.get("method_name")
        if method == "ws_message":
            message = MESSAGE_ARG.decode(arg)[0]["msg"]  # type: ignore[index]  # a record by its type
            if self.response == "echo" and not message["is_service_message"]:
                canister.send(sender, message["content"], self.clock())
        elif method == "ws_open":
            opening = OPEN_ARG.decode(arg)[0]
            canister.open(sender, opening["client_nonce"], opening["gateway_principal"], self.clock())  # type: ignore[index]
            self.served.opened += 1
        elif method == "ws_close":
            canister.close(bytes(CLOSE_ARG.decode(arg)[0]["client_key"]["client_principal"]))  # type: ignore[index]
            self.served.closed += 1
        self.touch(canister)

    def touch(self, canister: StubCanister) -> None:
        """Certify the canister in the next block, if messages wait there."""
        if canister.has_unsealed:
            self._dirty.add(bytes(canister.canister_id))
            self.on_work()

    def query(self, body: bytes, version: int) -> bytes:
        """Answer a poll, signed by the node. Raises Malformed if it is another query."""
        content = _content(body)
        canister_id, arg = _bytes(content, "canister_id"), _bytes(content, "arg")
        if content.get("method_name") != "ws_get_messages" or len(arg) < 8:
            raise Malformed("query", "the stub IC answers ws_get_messages only")
        if self.clock() - self._signed_at_ns > REFRESH_NS:
            self.block()
        nonce = int.from_bytes(arg[-8:], "little")
        ranges: Ranges = "flat" if version == 2 else "sharded"
        reply, messages = self.canister(canister_id).page(nonce, lambda: self._data_certificate(canister_id, ranges))
        self.served.polls += 1
        self.served.empty_polls += not messages
        self.served.messages += messages
        response = {"status": "replied", "reply": {"arg": reply}}
        signature = self.authority.sign_response(response, hash_of_value(content), self.clock())  # type: ignore[arg-type]
        return encode_cbor({**response, "signatures": [signature]})  # type: ignore[dict-item, list-item]

    def read_state(self, body: bytes, version: int) -> bytes:
        """Certify the requested paths and the time. Raises Malformed without paths."""
        paths = _content(body).get("paths")
        if not isinstance(paths, list):
            raise Malformed("read_state", "it has no paths")
        return encode_cbor({"certificate": self._certificate([list(path) for path in paths], version)})

    def status(self) -> bytes:
        """Return the body of ``/api/v2/status``."""
        return encode_cbor(
            {"ic_api_version": "0.18.0", "root_key": self.authority.root_key, "replica_health_status": "healthy"}
        )

    # --- certification ----------------------------------------------------------------------------------------------

    def block(self) -> None:
        """Certify everything that waits with one signature, and reply to the calls."""
        for canister_id in self._dirty:
            canister = self.canisters[canister_id]
            canister.seal()
            self._state.set([b"canister", canister_id, b"certified_data"], canister.certified_data)
        self._dirty.clear()
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            self._state.set([b"request_status", call.request_id, b"status"], b"replied")
            self._state.set([b"request_status", call.request_id, b"reply"], DONE)
        self._prune()
        self._sign()
        self.served.blocks += 1
        for call in waiting:
            certificate = self._certificate([[b"request_status", call.request_id]], call.version)
            call.reply(encode_cbor({"status": "replied", "certificate": certificate}))

    def certify(self, canister_id: bytes, certified_data: bytes) -> bytes:
        """Sign a new state with these certified data, and return its certificate. Its time is later than all before."""
        self._state.set([b"canister", canister_id, b"certified_data"], certified_data)
        self._sign()
        return self._certificate([[b"canister", canister_id, b"certified_data"]], 2)

    def _prune(self) -> None:
        while len(self._known) > KEPT_CALLS:
            request_id = self._known.popleft()
            self._executed.discard(request_id)
            self._state.delete([b"request_status", request_id])

    def _sign(self) -> None:
        self._signed_at_ns = max(self.clock(), self._signed_at_ns + 1)
        self._state.set(_TIME, leb128(self._signed_at_ns))
        self._signature = self.authority.sign_state(self._state.digest)
        self._certificates.clear()

    def _data_certificate(self, canister_id: bytes, ranges: Ranges) -> bytes:
        found = self._certificates.get((canister_id, ranges))
        if found is None:
            version = 2 if ranges == "flat" else 4
            found = self._certificate([[b"canister", canister_id, b"certified_data"]], version)
            self._certificates[canister_id, ranges] = found
        return found

    def _certificate(self, paths: list[list[bytes]], version: int) -> bytes:
        delegation = self.authority.delegation(_RANGES[version], now_ns=self._signed_at_ns)
        return encode_certificate(self._state.witness([_TIME, *paths]), self._signature, delegation)


def _content(body: bytes) -> dict[str, object]:
    envelope = decode_cbor(body, what="request")
    content = envelope.get("content") if isinstance(envelope, dict) else None
    if not isinstance(content, dict):
        raise Malformed("request", "it has no content")
    return content


def _bytes(content: dict[str, object], name: str) -> bytes:
    value = content.get(name)
    if not isinstance(value, bytes):
        raise Malformed("request", f"its {name} is not bytes")
    return value
