"""The canister of the stub IC: one queue of messages, certified, with as little work per message as there can be."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.bench.wire import PAGE, SERVICE, LoadIdentity, Tail, certified_content
from appliance.crypto import HashTree, StateTree
from appliance.ic.principal import Principal

_LABEL = b"websocket"
_EMPTY = PAGE.encode({"Ok": {"messages": [], "cert": b"", "tree": b"", "is_end_of_queue": True}})
Certify = Callable[[bytes], bytes]
"""A certificate of its own for this certified data."""


class _Message(NamedTuple):
    client_key: object
    content: bytes


@dataclass
class _Client:
    """A client with an open session. ``sent`` is the sequence number of the last message for it."""

    client_key: dict[str, object]
    sent: int = 0


@dataclass
class StubCanister:
    """Messages wait until ``seal``, which makes them visible together: that is a block.

    ``page_size`` is how many messages one poll gets. Prepared pages lie behind everything else and become visible by
    ``release``.
    """

    canister_id: Principal
    gateway: Principal | None = None
    page_size: int = 50
    clients: dict[bytes, _Client] = field(default_factory=dict)
    tree: StateTree = field(default_factory=StateTree)
    _messages: list[_Message] = field(default_factory=list)
    _sealed: int = 0
    _pages: list[bytes] = field(default_factory=list)
    _pages_from: int = 0
    _pages_of: int = 50
    _released: int = 0

    @property
    def has_news(self) -> bool:
        """Whether messages wait for a block."""
        return self._sealed < len(self._messages)

    @property
    def certified_data(self) -> bytes:
        """The digest of what is sealed."""
        return self.tree.digest

    def open(self, sender: bytes, client_nonce: int, gateway: Principal) -> None:
        """A client's ``ws_open``: the open message is the first of its session."""
        self.gateway = gateway
        client = _Client({"client_principal": Principal(sender), "client_nonce": client_nonce})
        self.clients[sender] = client
        self._say(client, SERVICE.encode({"OpenMessage": {"client_key": client.client_key}}), 0, service=True)

    def close(self, sender: bytes) -> None:
        """A client is gone."""
        self.clients.pop(sender, None)

    def send(self, sender: bytes, content: bytes, timestamp_ns: int) -> None:
        """Queue a message of the application. Nothing, where the client is not there."""
        if (client := self.clients.get(sender)) is not None:
            self._say(client, content, timestamp_ns, service=False)

    def _say(self, client: _Client, content: bytes, timestamp_ns: int, *, service: bool) -> None:
        client.sent += 1
        certified = certified_content(client.client_key, client.sent, content, timestamp_ns, service=service)
        self._messages.append(_Message(client.client_key, certified))

    def seal(self) -> None:
        """Certify what waits."""
        for nonce in range(self._sealed, len(self._messages)):
            self._certify(nonce)
        self._sealed = len(self._messages)

    def _certify(self, nonce: int) -> None:
        self.tree.set([_LABEL, self._key(nonce).encode()], hashlib.sha256(self._messages[nonce].content).digest())

    def _key(self, nonce: int) -> str:
        return f"{self.gateway!s}_{nonce:020}"

    def page(self, nonce: int, certificate: Callable[[], bytes]) -> tuple[bytes, int]:
        """The Candid answer to a poll, and how many messages it has."""
        if self._pages and nonce >= self._pages_from:
            index, rest = divmod(nonce - self._pages_from, self._pages_of)
            if index < len(self._pages) and not rest:
                return (self._pages[index], self._pages_of) if index < self._released else (_EMPTY, 0)
        visible = self._sealed if self._released == len(self._pages) else self._pages_from
        end = min(nonce + self.page_size, visible)
        if nonce >= end:
            return _EMPTY, 0
        witness = self.tree.witness_range([_LABEL], self._key(nonce).encode(), self._key(end - 1).encode())
        is_end = end == self._sealed or (end == visible and not self._released)
        return self._encode(nonce, end, certificate(), witness, is_end=is_end), end - nonce

    def _encode(self, first: int, end: int, certificate: bytes, witness: HashTree, *, is_end: bool) -> bytes:
        messages = [
            {"client_key": message.client_key, "key": self._key(first + at), "content": message.content}
            for at, message in enumerate(self._messages[first:end])
        ]
        fields = {"messages": messages, "cert": certificate, "tree": witness.to_cbor(), "is_end_of_queue": is_end}
        return PAGE.encode({"Ok": fields})

    # --- pages made ahead -------------------------------------------------------------------------------------------

    def prepare(self, pages: int, size: int, certify: Certify, *, shared: bool, timestamp_ns: int) -> None:
        """Make whole pages of messages of ``size`` bytes for all clients in turn, to be released later.

        With ``shared`` one certificate stands for all of them; otherwise each page has its own.
        """
        self.seal()
        first, clients = self._sealed, list(self.clients.values())
        for number in range(pages * self.page_size):
            self._say(clients[number % len(clients)], Tail(number, 0).content(size), timestamp_ns, service=False)
        self.seal()
        one = certify(self.tree.digest) if shared else b""
        self._pages, self._pages_from, self._pages_of, self._released = [], first, self.page_size, 0
        for page in range(pages):
            begin = first + page * self.page_size
            end = begin + self.page_size
            witness = self.tree.witness_range([_LABEL], self._key(begin).encode(), self._key(end - 1).encode())
            certificate = one or certify(self.tree.digest)
            self._pages.append(self._encode(begin, end, certificate, witness, is_end=page == pages - 1))

    def release(self, pages: int) -> None:
        """Make the first so many of the prepared pages visible."""
        self._released = min(pages, len(self._pages))

    def expected(self) -> int:
        """How many messages the prepared pages hold."""
        return len(self._pages) * self.page_size


def identities(seed: bytes, count: int) -> Sequence[LoadIdentity]:
    """The clients of a run."""
    return [LoadIdentity(seed, number) for number in range(count)]
