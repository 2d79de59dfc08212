"""The messages of a WebSocket canister to its clients, queued per gateway and certified (all wire generations).

A message's key is ``<gateway principal>_<nonce of 20 digits>``; the canister certifies a tree that has the SHA-256 of
every queued message at ``websocket/<key>``. The nonces of a gateway's queue begin at 0 and are shared by all of its
clients.
"""

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.crypto import encode_cbor
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.canisters.python_canister import UndoLog
from appliance.localnet.websocket.certified_map import CertifiedMap, labeled_digest

TREE_LABEL = b"websocket"
DELETED_PER_PUSH = 5
"""How many messages at most are deleted when one is added (CDK, ``MESSAGES_TO_DELETE_COUNT``)."""


class Message(NamedTuple):
    """A queued message. ``client`` is the client's key in the shape of the generation's Candid type."""

    client: object
    key: str
    content: bytes
    pushed_at_ns: int


@dataclass
class _Queue:
    prefix: str
    next_nonce: int = 0
    first_nonce: int = 0
    clients: int = 0
    empty_since_ns: int | None = None
    messages: dict[int, Message] = field(default_factory=dict)

    def key(self, nonce: int) -> str:
        return f"{self.prefix}_{nonce:020}"


class Page(NamedTuple):
    """The answer to one poll. ``tree`` is a witness for exactly these messages as tagged CBOR, empty without any."""

    messages: list[Message]
    tree: bytes
    is_end_of_queue: bool


class MessageQueues:
    """The queues of all gateways of a canister and the tree that certifies them.

    Messages and the queues of gateways without clients are kept for ``max_age_ns``, for ever with None.
    """

    def __init__(self, undo_log: UndoLog, *, max_age_ns: int | None) -> None:
        self._undo_log = undo_log
        self._max_age_ns = max_age_ns
        self._queues: dict[Principal, _Queue] = {}
        self._tree = CertifiedMap()

    def __contains__(self, gateway: Principal) -> bool:
        return gateway in self._queues

    def join(self, gateway: Principal) -> None:
        """Count a client of this gateway; its queue is created with the first."""
        queue = self._queues.get(gateway)
        if queue is None:
            queue = _Queue(str(gateway))
            self._undo_log.put(self._queues, gateway, queue)
        self._undo_log.set(queue, "clients", queue.clients + 1)
        self._undo_log.set(queue, "empty_since_ns", None)

    def leave(self, gateway: Principal, *, now_ns: int) -> None:
        """Count a client of this gateway less."""
        queue = self._queues.get(gateway)
        if queue is not None:
            self._undo_log.set(queue, "clients", max(0, queue.clients - 1))
            if queue.clients == 0:
                self._undo_log.set(queue, "empty_since_ns", now_ns)

    def push(self, env: Environment, gateway: Principal, client: object, content: bytes) -> None:
        """Queue and certify a message, and delete a few old ones. Raises KeyError for a gateway
        that has no queue."""
        queue = self._queues[gateway]
        nonce = queue.next_nonce
        self._undo_log.set(queue, "next_nonce", nonce + 1)
        message = Message(client, queue.key(nonce), content, env.time_ns)
        self._delete_old(queue, env.time_ns)
        digest = hashlib.sha256(message.content).digest()
        self._undo_log.set(self, "_tree", self._tree.having(message.key.encode(), digest))
        self._undo_log.put(queue.messages, nonce, message)
        self._certify(env)

    def next_nonce(self, gateway: Principal) -> int:
        """The nonce of the next message in a gateway's queue."""
        queue = self._queues.get(gateway)
        return queue.next_nonce if queue is not None else 0

    def page(self, gateway: Principal, nonce: int, limit: int) -> Page:
        """Up to ``limit`` messages of a gateway from the one with this nonce on. Empty for an unknown gateway."""
        queue = self._queues.get(gateway)
        if queue is None:
            return Page([], b"", is_end_of_queue=True)
        first = max(nonce, queue.first_nonce)
        end = min(first + limit, queue.next_nonce)
        messages = [queue.messages[n] for n in range(first, end)]
        if not messages:
            return Page([], b"", is_end_of_queue=True)
        return Page(messages, self._witness(messages), is_end_of_queue=end == queue.next_nonce)

    def remove_unused(self, env: Environment) -> None:
        """Remove the queues of gateways that have had no client for longer than ``max_age_ns``."""
        for gateway, queue in list(self._queues.items()):
            if queue.empty_since_ns is not None and self._is_old(queue.empty_since_ns, env.time_ns):
                self._undo_log.remove(self._queues, gateway)
                for message in queue.messages.values():
                    self._uncertify(message)
                self._certify(env)

    def _delete_old(self, queue: _Queue, now_ns: int) -> None:
        for _ in range(DELETED_PER_PUSH):
            oldest = queue.messages.get(queue.first_nonce)
            if oldest is None or not self._is_old(oldest.pushed_at_ns, now_ns):
                return
            self._undo_log.remove(queue.messages, queue.first_nonce)
            self._undo_log.set(queue, "first_nonce", queue.first_nonce + 1)
            self._uncertify(oldest)

    def _uncertify(self, message: Message) -> None:
        self._undo_log.set(self, "_tree", self._tree.without(message.key.encode()))

    def _certify(self, env: Environment) -> None:
        env.set_certified_data(labeled_digest(TREE_LABEL, self._tree.digest))

    def _is_old(self, since_ns: int, now_ns: int) -> bool:
        return self._max_age_ns is not None and now_ns - since_ns > self._max_age_ns

    def _witness(self, messages: list[Message]) -> bytes:
        witness = self._tree.witness(messages[0].key.encode(), messages[-1].key.encode())
        return encode_cbor([2, TREE_LABEL, witness])
