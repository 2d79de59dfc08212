"""The canister of the stub IC: one queue of certified messages, with little work per message."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.bench.wire import PAGE, SERVICE, Tail, certified_content
from appliance.crypto import HashTree, StateTree
from appliance.ic.principal import Principal

_LABEL = b"websocket"
_EMPTY = PAGE.encode({"Ok": {"messages": [], "cert": b"", "tree": b"", "is_end_of_queue": True}})
Certify = Callable[[bytes], bytes]
"""Returns a certificate that shows these certified data."""


class _Message(NamedTuple):
    client_key: object
    content: bytes


@dataclass
class _Session:
    """``sent`` is the sequence number of the last message to the client."""

    client_key: dict[str, object]
    sent: int = 0


@dataclass(frozen=True)
class _Prepared:
    """Encoded replies to polls, from the message ``first`` on. They are hidden until they are released."""

    first: int
    page_size: int
    replies: list[bytes]
    is_released: bool = False

    def reply_at(self, nonce: int) -> bytes | None:
        """Return the reply that begins with this message; None if there is none."""
        page, rest = divmod(nonce - self.first, self.page_size)
        return self.replies[page] if self.is_released and not rest and 0 <= page < len(self.replies) else None


@dataclass
class StubCanister:
    """Messages are invisible until ``seal``, which a block calls. ``page_size`` is the most that one poll returns."""

    canister_id: Principal
    page_size: int = 50
    sessions: dict[bytes, _Session] = field(default_factory=dict)
    _gateway: Principal | None = None
    _tree: StateTree = field(default_factory=StateTree)
    _messages: list[_Message] = field(default_factory=list)
    _sealed: int = 0
    _prepared: _Prepared | None = None

    @property
    def has_unsealed(self) -> bool:
        """Whether messages wait for a block."""
        return self._sealed < len(self._messages)

    @property
    def certified_data(self) -> bytes:
        """The digest of the sealed messages."""
        return self._tree.digest

    def open(self, sender: bytes, client_nonce: int, gateway: Principal, timestamp_ns: int) -> None:
        """Open a session. The open message is its first. Another gateway than before gets a new queue."""
        if gateway != self._gateway:
            self._gateway, self._prepared = gateway, None
            self._messages, self._sealed, self._tree = [], 0, StateTree()
            self.sessions.clear()
        session = _Session({"client_principal": Principal(sender), "client_nonce": client_nonce})
        self.sessions[sender] = session
        content = SERVICE.encode({"OpenMessage": {"client_key": session.client_key}})
        self._append(session, content, timestamp_ns, is_service=True)

    def close(self, sender: bytes) -> None:
        """Forget the session."""
        self.sessions.pop(sender, None)

    def send(self, sender: bytes, content: bytes, timestamp_ns: int) -> None:
        """Queue a message of the application; nothing happens without a session."""
        if (session := self.sessions.get(sender)) is not None:
            self._append(session, content, timestamp_ns, is_service=False)

    def _append(self, session: _Session, content: bytes, timestamp_ns: int, *, is_service: bool) -> None:
        session.sent += 1
        certified = certified_content(session.client_key, session.sent, content, timestamp_ns, is_service=is_service)
        self._messages.append(_Message(session.client_key, certified))

    def seal(self) -> None:
        """Put the waiting messages into the certified tree."""
        for nonce in range(self._sealed, len(self._messages)):
            digest = hashlib.sha256(self._messages[nonce].content).digest()
            self._tree.set([_LABEL, self._key(nonce).encode()], digest)
        self._sealed = len(self._messages)

    def _key(self, nonce: int) -> str:
        return f"{self._gateway!s}_{nonce:020}"

    # --- polls ------------------------------------------------------------------------------------------------------

    def page(self, nonce: int, certificate: Callable[[], bytes]) -> tuple[bytes, int]:
        """Return the Candid reply to a poll from this message on, and how many messages it has."""
        prepared = self._prepared
        if prepared is not None and (reply := prepared.reply_at(nonce)) is not None:
            return reply, prepared.page_size
        visible = self._sealed if prepared is None or prepared.is_released else prepared.first
        end = min(nonce + self.page_size, visible)
        if nonce >= end:
            return _EMPTY, 0
        return self._encode(nonce, end, certificate(), is_end=end == visible), end - nonce

    def _encode(self, first: int, end: int, certificate: bytes, *, is_end: bool) -> bytes:
        messages = [
            {"client_key": message.client_key, "key": self._key(first + at), "content": message.content}
            for at, message in enumerate(self._messages[first:end])
        ]
        tree = self._witness(first, end).to_cbor()
        return PAGE.encode({"Ok": {"messages": messages, "cert": certificate, "tree": tree, "is_end_of_queue": is_end}})

    def _witness(self, first: int, end: int) -> HashTree:
        return self._tree.witness_range([_LABEL], self._key(first).encode(), self._key(end - 1).encode())

    def prepare(self, pages: int, size: int, certify: Certify, *, shared: bool, timestamp_ns: int) -> int:
        """Encode whole pages of messages of ``size`` bytes, to all clients in turn, and hide them until ``release``.

        With ``shared`` all pages have one certificate, otherwise each its own. Returns the number of messages.
        """
        self.seal()
        first, sessions = self._sealed, list(self.sessions.values())
        for number in range(pages * self.page_size):
            content = Tail(number, 0).content(size)
            self._append(sessions[number % len(sessions)], content, timestamp_ns, is_service=False)
        self.seal()
        one = certify(self._tree.digest) if shared else b""
        replies = []
        for begin in range(first, self._sealed, self.page_size):
            end = begin + self.page_size
            replies.append(self._encode(begin, end, one or certify(self._tree.digest), is_end=end == self._sealed))
        self._prepared = _Prepared(first, self.page_size, replies)
        return self._sealed - first

    def release(self) -> None:
        """Make the prepared pages visible."""
        if self._prepared is not None:
            self._prepared = _Prepared(self._prepared.first, self._prepared.page_size, self._prepared.replies, True)
