"""Notices clients that a canister forgot, by the acknowledgements that stay away. A value without I/O or a clock.

Canisters of v1 and v2 send an acknowledgement to each of their clients once in an interval: 300 s by default, or what
the application set, so it is learned from the times that the canister wrote into them. A client that got no message for
two intervals, while polls went well, is one that the canister does not know any more. Those of v0 send none, so that
only the application's own messages could be missed: how long that takes is for the operator to say.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

DEFAULT_NS = 300 * 10**9
ROUND_NS = 5 * 10**9
"""Acknowledgements written within this belong together: the canister sends them to all clients at once."""
INTERVALS = 2


@dataclass(slots=True)
class Heartbeat:
    """The acknowledgements of one canister. ``interval_ns`` is learned, and kept while nobody polls."""

    acknowledges: bool = True
    """Whether the canister sends any (v1 and v2)."""
    interval_ns: int = DEFAULT_NS
    _round_ns: int | None = None
    """When the canister began to write the last acknowledgements."""
    _last_ns: dict[bytes, int] = field(default_factory=dict)
    """When each client got its last message."""
    _silence_began_ns: int = 0
    """Before, nobody polled, or polls failed: no silence counts."""

    def resumed(self, now_ns: int) -> None:
        """Polls go well from now on."""
        self._silence_began_ns = now_ns
        # Rounds that nobody polled are missing: from the one before to the next is no interval of the canister's.
        self._round_ns = None

    def received(self, client_key: bytes, now_ns: int) -> None:
        """A message for a client came, or the canister accepted it."""
        self._last_ns[client_key] = now_ns

    def received_all(self, client_keys: Iterable[bytes], now_ns: int) -> None:
        """Messages for these clients came."""
        self._last_ns.update(dict.fromkeys(client_keys, now_ns))

    def acknowledged(self, written_ns: int) -> None:
        """The canister wrote an acknowledgement at this time."""
        before = self._round_ns
        if before is not None and written_ns - before <= ROUND_NS:
            return
        self._round_ns = written_ns
        if before is not None:
            self.interval_ns = written_ns - before

    def left(self, client_key: bytes) -> None:
        """A client is gone."""
        self._last_ns.pop(client_key, None)

    def silent(self, now_ns: int, max_silence_ns: int | None = None) -> dict[bytes, int]:
        """The clients that got nothing for too long, by the acknowledgements or by the configuration, and for how long,
        in ns.
        """
        limit_ns = INTERVALS * self.interval_ns if self.acknowledges else None
        if max_silence_ns is not None:
            limit_ns = max_silence_ns if limit_ns is None else min(limit_ns, max_silence_ns)
        if limit_ns is None or now_ns - self._silence_began_ns <= limit_ns:
            return {}
        return {key: now_ns - last_ns for key, last_ns in self._last_ns.items() if now_ns - last_ns > limit_ns}
