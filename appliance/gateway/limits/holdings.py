"""What clients hold of the gateway: sockets from their first byte on, and bytes, each by address and all together, and
from the opening message on by principal and by canister.

The account is of the bytes that the gateway keeps for clients, not of the resident memory of the process, which does
not fall when they are given back.
"""

import math
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Literal, Protocol, get_args

CONNECTION_BYTES = 20 * 1024
"""What a connection counts for without any message of its own. An idle session was measured at 8 to 10 KiB; one that
opens or closes has calls, timers and copies besides, and the account should rather say too much."""
TLS_BYTES = 56 * 1024
"""What TLS adds."""
NEWCOMERS = 0.8
"""The part of the limit of bytes above which no further client is admitted."""
OF_ONE = 0.5
"""The most that one address or principal may hold of the limit: less than what would keep newcomers out."""
UNREAD = 0.9
"""The part above which the clients that hold most are not read."""

Mode = Literal["off", "shadow", "enforce"]
HeldBy = Literal["address", "principal", "canister"]
"""By what is counted who holds something; each has a limit of its own, ``limits.held_per_…``."""
HELD_BY: tuple[HeldBy, ...] = get_args(HeldBy)


class HeldLimit(Protocol):
    """``limits.held_per_…`` of the configuration."""

    @property
    def connections(self) -> int:
        """The most sockets."""

    @property
    def bytes(self) -> int:
        """The most bytes."""

    @property
    def mode(self) -> Mode:
        """Whether more are refused, only counted, or not counted at all."""


class HeldLimits(Protocol):
    """The section ``limits`` of the configuration."""

    @property
    def held_per_address(self) -> HeldLimit:
        """Of one address."""

    @property
    def held_per_principal(self) -> HeldLimit:
        """Of one principal."""

    @property
    def held_per_canister(self) -> HeldLimit:
        """Of one canister."""


class Share:
    """What one address holds, or one principal, or one canister."""

    __slots__ = ("account", "bytes", "connections", "key")

    def __init__(self, account: "Account", key: Hashable) -> None:
        self.account = account
        self.key = key
        self.connections = 0
        self.bytes = 0


class Account:
    """What each address holds, or each principal, or each canister, and how much it may."""

    def __init__(self, by: HeldBy, limit: HeldLimit) -> None:
        self.by = by
        self.connections_exceeded: Counter[str] = Counter()
        """How often one more connection was more than its limit, by its mode."""
        self.bytes_exceeded: Counter[str] = Counter()
        """How often bytes began to exceed their limit, by its mode."""
        self._shares: dict[Hashable, Share] = {}
        self.follow(limit, math.inf)

    def __len__(self) -> int:
        return len(self._shares)

    @property
    def name(self) -> str:
        """The key of its limit in the configuration."""
        return f"limits.held_per_{self.by}"

    def follow(self, limit: HeldLimit, most_bytes: float) -> None:
        """Apply another limit from now on, and ``most_bytes`` at most. In mode ``off`` it is counted all the same, so
        that whoever switches a limit on has those who are there counted.
        """
        self.limit = limit
        self.most_bytes = math.inf if limit.mode == "off" else min(limit.bytes, most_bytes)

    def refuses(self, key: Hashable) -> bool:
        """Whether somebody must not have one connection more. What the limit exceeds is counted."""
        share = self._shares.get(key)
        if self.limit.mode == "off" or share is None or share.connections < self.limit.connections:
            return False
        return self._exceeded()

    def exceeds(self, share: Share) -> bool:
        """Whether the connections of which the last has just come are too many to answer it. That is counted."""
        return self.has_more(share) and self._exceeded()

    def has_more(self, share: Share, surplus: int = 0) -> bool:
        """Whether somebody has more connections than the limit and so many; never in mode ``off``."""
        return self.limit.mode != "off" and share.connections > self.limit.connections + surplus

    def _exceeded(self) -> bool:
        self.connections_exceeded[self.limit.mode] += 1
        return self.limit.mode == "enforce"

    def bytes_added(self, share: Share, more: int) -> bool:
        """Count it if ``more`` bytes were what exceeds the limit; returns whether that is enforced."""
        if share.bytes - more <= self.most_bytes:
            self.bytes_exceeded[self.limit.mode] += 1
        return self.limit.mode == "enforce"

    def excess(self) -> dict[Share, float]:
        """The bytes above the limit by share; of none where that is not enforced."""
        most = self.most_bytes
        if self.limit.mode != "enforce":
            return {}
        return {share: share.bytes - most for share in self._shares.values() if share.bytes > most}

    def largest(self) -> int:
        """The most connections of one."""
        return max((share.connections for share in self._shares.values()), default=0)

    def join(self, key: Hashable, size: int) -> Share:
        """The share of a key, with one connection more that holds ``size`` bytes."""
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = Share(self, key)
        share.connections += 1
        share.bytes += size
        return share

    def leave(self, share: Share, size: int) -> None:
        """Take a connection that holds ``size`` bytes out of a share."""
        share.connections -= 1
        share.bytes -= size
        if not share.connections:
            del self._shares[share.key]


class Holding:
    """What one socket holds, and the shares of its address, its principal and its canister that have it too."""

    __slots__ = ("_holdings", "base", "bytes", "is_released", "shares")

    def __init__(self, holdings: "Holdings", network: str | None) -> None:
        """``network`` is the key of its client's address, None where there is none to count by."""
        self._holdings = holdings
        self.bytes = 0
        self.base = 0
        self.is_released = False
        self.shares: tuple[Share, ...] = ()
        self.move(network)
        self.grow(CONNECTION_BYTES)

    @property
    def of_address(self) -> Share | None:
        """The share of its address."""
        address = self._holdings.address
        return next((share for share in self.shares if share.account is address), None)

    def grow(self, number: int) -> None:
        """Hold so many bytes for as long as the socket is there."""
        self.base += number
        self.add(number)

    def move(self, network: str | None) -> None:
        """Hold it for another address: that of the client, once its proxy has named it."""
        before = self.of_address
        if self.is_released or network == (before and before.key):
            return
        others = tuple(share for share in self.shares if share is not before)
        if before is not None:
            before.account.leave(before, self.bytes)
        self.shares = others if network is None else (self._holdings.address.join(network, self.bytes), *others)

    def join(self, canister: Hashable, principal: Hashable) -> None:
        """Hold it for a canister and a principal as well, once its client has said who it is; once."""
        holdings = self._holdings
        if not self.is_released:
            shares = holdings.principal.join(principal, self.bytes), holdings.canister.join(canister, self.bytes)
            self.shares = (*self.shares, *shares)

    def add(self, number: int) -> bool:
        """Hold more bytes, or fewer by a negative number; returns whether they are more than is good. Calls under way
        are held longer than their socket.
        """
        holdings = self._holdings
        self.bytes += number
        holdings.bytes += number
        is_pressed = holdings.bytes > UNREAD * holdings.most_bytes
        for share in self.shares:
            share.bytes += number
            if share.bytes > share.account.most_bytes and number > 0:
                is_pressed |= share.account.bytes_added(share, number)
        if number <= 0 or not is_pressed:
            return False
        holdings.pressed()
        return True

    def release(self) -> None:
        """The socket is gone; once."""
        if not self.is_released:
            self.is_released = True
            self._holdings.connections -= 1
            for share in self.shares:
                share.account.leave(share, self.bytes)
            self.shares = ()
            self.add(-self.base)


class Holdings:
    """What all sockets hold together."""

    def __init__(self, limits: HeldLimits, most_bytes: int) -> None:
        """``most_bytes`` is the limit of all bytes."""
        self.address = Account("address", limits.held_per_address)
        self.principal = Account("principal", limits.held_per_principal)
        self.canister = Account("canister", limits.held_per_canister)
        self.accounts = (self.address, self.principal, self.canister)
        self.pressed: Callable[[], None] = lambda: None
        """Called when more is held than is good: too much of all, or too much by one address, principal or canister."""
        self.bytes = 0
        self.connections = 0
        self.follow(limits, most_bytes)

    def follow(self, limits: HeldLimits, most_bytes: int) -> None:
        """Apply other limits from now on."""
        self.most_bytes = most_bytes
        self.address.follow(limits.held_per_address, OF_ONE * most_bytes)
        self.principal.follow(limits.held_per_principal, OF_ONE * most_bytes)
        # The only canister of a gateway may hold everything.
        self.canister.follow(limits.held_per_canister, math.inf)

    def hold(self, network: str | None) -> Holding:
        """Begin to count a socket."""
        self.connections += 1
        return Holding(self, network)

    @property
    def is_full(self) -> bool:
        """Whether too many bytes are held to admit anybody."""
        return self.bytes > NEWCOMERS * self.most_bytes

    def excess(self) -> dict[Share, float]:
        """The bytes above their limit by share; of none where that is not enforced."""
        return {share: excess for account in self.accounts for share, excess in account.excess().items()}
