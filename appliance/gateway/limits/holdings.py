"""What clients hold of the gateway: sockets from their first byte on, and bytes, each by address and all together.

The account is of the bytes that the gateway keeps for clients, not of the resident memory of the process, which does
not fall when they are given back.
"""

from collections import Counter
from collections.abc import Callable
from typing import Literal, Protocol

CONNECTION_BYTES = 20 * 1024
"""What a connection counts for without any message of its own. An idle session was measured at 8 to 10 KiB; one that
opens or closes has calls, timers and copies besides, and the account should rather say too much."""
TLS_BYTES = 56 * 1024
"""What TLS adds."""
NEWCOMERS = 0.8
"""The part of the limit of bytes above which no further client is admitted."""
OF_ADDRESS = 0.5
"""The most that one address may hold of the limit: less than what would keep newcomers of other addresses out."""
UNREAD = 0.9
"""The part above which the clients that hold most are not read."""

Mode = Literal["off", "shadow", "enforce"]


class HeldPerAddress(Protocol):
    """``limits.held_per_address`` of the configuration."""

    @property
    def connections(self) -> int:
        """The most sockets."""

    @property
    def bytes(self) -> int:
        """The most bytes."""

    @property
    def mode(self) -> Mode:
        """Whether more are refused, only counted, or not counted at all."""


class Share:
    """What one address holds."""

    __slots__ = ("bytes", "connections")

    def __init__(self) -> None:
        self.connections = 0
        self.bytes = 0


class Holding:
    """What one socket holds. ``network`` is the key of its client's address, None where there is none to count by."""

    __slots__ = ("_holdings", "base", "bytes", "is_released", "network", "share")

    def __init__(self, holdings: "Holdings", network: str | None) -> None:
        self._holdings = holdings
        self.network = network
        self.bytes = 0
        self.base = 0
        self.is_released = False
        self.share = holdings.join(network)
        self.grow(CONNECTION_BYTES)

    def grow(self, number: int) -> None:
        """Hold so many bytes for as long as the socket is there."""
        self.base += number
        self.add(number)

    def move(self, network: str | None) -> None:
        """Hold it for another address: that of the client, once its proxy has named it."""
        if network != self.network and not self.is_released:
            self._holdings.leave(self)
            self.network = network
            self.share = self._holdings.join(network)
            self.share.bytes += self.bytes

    def add(self, number: int) -> bool:
        """Hold more bytes, or fewer by a negative number; returns whether they are more than is good. Calls under way
        are held longer than their socket.
        """
        holdings = self._holdings
        self.bytes += number
        holdings.bytes += number
        if not self.is_released:
            self.share.bytes += number
        if number <= 0 or not holdings.is_pressed(self, number):
            return False
        holdings.pressed()
        return True

    def release(self) -> None:
        """The socket is gone; once."""
        if not self.is_released:
            self._holdings.connections -= 1
            self._holdings.leave(self)
            self.is_released = True
            self.add(-self.base)


class Holdings:
    """What all sockets hold together."""

    def __init__(self, limit: HeldPerAddress, most_bytes: int) -> None:
        """``most_bytes`` is the limit of all bytes."""
        self.limit = limit
        self.most_bytes = most_bytes
        self.pressed: Callable[[], None] = lambda: None
        """Called when more is held than is good: too much of all, or too much by one address."""
        self.bytes = 0
        self.connections = 0
        self.bytes_exceeded: Counter[str] = Counter()
        """How often the bytes of an address began to exceed their limit, by its mode."""
        self._shares: dict[str, Share] = {}
        self._others = Share()

    def __len__(self) -> int:
        """The number of addresses that hold a socket."""
        return len(self._shares)

    def hold(self, network: str | None) -> Holding:
        """Begin to count a socket."""
        self.connections += 1
        return Holding(self, network)

    def exceeds(self, holding: Holding, *, surplus: int = 0) -> bool:
        """Whether the address of a socket holds more than its limit and so many; never in mode ``off``."""
        if holding.network is None or self.limit.mode == "off":
            return False
        return holding.share.connections > self.limit.connections + surplus

    @property
    def most_of_address(self) -> float:
        """The most bytes of one address."""
        return min(self.limit.bytes, OF_ADDRESS * self.most_bytes)

    @property
    def is_full(self) -> bool:
        """Whether too many bytes are held to admit anybody."""
        return self.bytes > NEWCOMERS * self.most_bytes

    def is_pressed(self, holding: Holding, more: int = 0) -> bool:
        """Whether somebody must be read no more, or be closed. The socket holds ``more`` bytes since just now."""
        return self.exceeds_bytes(holding, more) or self.bytes > UNREAD * self.most_bytes

    def exceeds_bytes(self, holding: Holding, more: int = 0) -> bool:
        """Whether the address of a socket holds more bytes than it may; never where that is not enforced. If ``more``
        bytes make the difference, that is counted.
        """
        mode = self.limit.mode
        if holding.network is None or mode == "off":
            return False
        excess = holding.share.bytes - self.most_of_address
        if 0 < excess <= more and not holding.is_released:
            self.bytes_exceeded[mode] += 1
        return excess > 0 and mode == "enforce"

    def excess(self) -> dict[str, float]:
        """The bytes above their limit by address; of none where that is not enforced."""
        if self.limit.mode != "enforce":
            return {}
        most = self.most_of_address
        return {network: share.bytes - most for network, share in self._shares.items() if share.bytes > most}

    def largest(self) -> int:
        """The most sockets that one address holds."""
        return max((share.connections for share in self._shares.values()), default=0)

    def join(self, network: str | None) -> Share:
        """The share of an address, with one socket more."""
        share = self._others if network is None else self._shares.setdefault(network, Share())
        share.connections += 1
        return share

    def leave(self, holding: Holding) -> None:
        """Take a socket out of the share of its address."""
        share = holding.share
        share.connections -= 1
        share.bytes -= holding.bytes
        if holding.network is not None and not share.connections:
            del self._shares[holding.network]
