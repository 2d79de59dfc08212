"""The rate limits of a gateway: connections of an address, and messages of a client to its canister."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from heapq import nlargest
from ipaddress import IPv6Address, ip_address
from typing import Literal, TypeAlias

from appliance.config.fields.units import format_rate
from appliance.config.schema import Config
from appliance.errors import RateLimited
from appliance.gateway.limits.gcra import Decision, Key, Limiter, Mode, RateLimit, ThrottledKey
from appliance.gateway.recording.event_bus import EventBus
from appliance.gateway.recording.timeline import Timeline
from appliance.ic.principal import Principal
from appliance.protocol.events import Join

Scope = Literal["connections_per_ip", "messages_per_client"]
ClientKey: TypeAlias = tuple[Principal, str]
"""A canister and a client: the same for all sessions of an identity (in v0, of a client key)."""

_NOUNS: dict[Scope, str] = {"connections_per_ip": "connections", "messages_per_client": "messages"}


@dataclass(frozen=True, slots=True)
class LimitExceeded:
    """An event above a limit. ``delay_ns`` is the time until it would be allowed, ``key`` whose event it was, as text,
    and ``times`` how many events of this key were limited.
    """

    scope: Scope
    delay_ns: int
    limit: RateLimit
    key: str = ""
    times: int = 1

    @property
    def is_enforced(self) -> bool:
        """Whether the event is to be refused."""
        return self.limit.mode == "enforce"

    @property
    def retry_after(self) -> int:
        """The delay in whole seconds, never too few."""
        return -(-self.delay_ns // 10**9)

    def error(self) -> RateLimited:
        """The error to close a connection with."""
        return RateLimited(_NOUNS[self.scope], format_rate(self.limit.rate), self.limit.burst, self.delay_ns)

    def record(self, timeline: Timeline, event_bus: EventBus, now_ns: int) -> None:
        """Write it to the timeline, and publish the first time, the second, the fourth, the eighth and so on.

        Not every time: whoever floods the gateway must not flood its subscribers too.
        """
        timeline.limited(now_ns, self.scope, self.delay_ns, enforced=self.is_enforced)
        if self.times & (self.times - 1) == 0:
            delay_s, mode = self.delay_ns / 1e9, self.limit.mode
            event_bus.publish("limit", scope=self.scope, key=self.key, times=self.times, delay_s=delay_s, mode=mode)

    def headers(self) -> dict[str, str]:
        """Of an HTTP answer with status 429 (RFC 6585, and draft-ietf-httpapi-ratelimit-headers)."""
        window = max(1, round(self.limit.burst / self.limit.rate))
        return {
            "Retry-After": str(self.retry_after),
            "RateLimit-Policy": f'"{self.scope}";q={self.limit.burst};w={window}',
            "RateLimit": f'"{self.scope}";r=0;t={self.retry_after}',
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The state of one limit. ``canister`` is None for the limit of all canisters without one of their own. ``limited``
    is the number of keys that have to wait, ``waiting`` those that have to wait longest.
    """

    scope: Scope
    canister: Principal | None
    limit: RateLimit
    remembered: int
    forgotten: int
    decisions: dict[tuple[Decision, Mode], int]
    limited: int
    waiting: list[ThrottledKey[str]]


class Limits:
    """Every limit of a configuration and its use. ``clock`` is monotonic, in nanoseconds."""

    def __init__(self, config: Config, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        now_ns = clock()
        self._clock = clock
        self._connections = Limiter[str](config.rate_limits.connections_per_ip, now_ns=now_ns)
        self._messages = Limiter[ClientKey](config.rate_limits.messages_per_client, now_ns=now_ns)
        self._own: dict[Principal, Limiter[ClientKey]] = {}
        self._retired: Counter[tuple[Decision, Mode]] = Counter()
        self.follow(config)

    def follow(self, config: Config) -> None:
        """Apply another configuration. Keys keep what they have used up, also when they move to another limit."""
        now_ns = self._clock()
        self._connections.follow(config.rate_limits.connections_per_ip, now_ns=now_ns)
        self._messages.follow(config.rate_limits.messages_per_client, now_ns=now_ns)
        own_limits = {each.id: each.rate_limits.messages_per_client for each in config.canisters if each.rate_limits}
        for canister_id in self._own.keys() - own_limits.keys():
            self._give_up(canister_id, now_ns)
        for canister_id, own in own_limits.items():
            if canister_id in self._own:
                self._own[canister_id].follow(own, now_ns=now_ns)
            else:
                self._own[canister_id] = self._part_off(canister_id, own, now_ns)

    def connection(self, address: str) -> LimitExceeded | None:
        """Count a connection of an address; None if it is allowed. Clients without an IP address are not limited."""
        limiter = self._connections
        if limiter.is_off or (key := network_of(address)) is None:
            return None
        delay_ns = limiter.take(key, self._clock())
        if not delay_ns:
            return None
        return LimitExceeded("connections_per_ip", delay_ns, limiter.limit, key, limiter.times(key))

    def message(self, key: ClientKey) -> LimitExceeded | None:
        """Count a message of a client; None if it is allowed."""
        limiter = self._own.get(key[0], self._messages) if self._own else self._messages
        if limiter.is_off:
            return None
        delay_ns = limiter.take(key, self._clock())
        if not delay_ns:
            return None
        return LimitExceeded("messages_per_client", delay_ns, limiter.limit, _client_at(key), limiter.times(key))

    def decisions(self) -> dict[tuple[Scope, Decision, Mode], int]:
        """Counts of decisions since the start, those of limits that are gone included: metrics must not fall."""
        messages = self._retired.copy()
        for limiter in (self._messages, *self._own.values()):
            messages.update(limiter.decisions)
        found: dict[tuple[Scope, Decision, Mode], int] = {}
        for (decision, mode), count in self._connections.decisions.items():
            found["connections_per_ip", decision, mode] = count
        for (decision, mode), count in messages.items():
            found["messages_per_client", decision, mode] = count
        return found

    def reports(self, most: int = 100) -> list[Report]:
        """The state of every limit, each with at most ``most`` keys that have to wait."""
        now_ns = self._clock()

        def report(
            scope: Scope, canister: Principal | None, limiter: Limiter[Key], name: Callable[[Key], str]
        ) -> Report:
            everybody = list(limiter.waiting(now_ns))
            longest = nlargest(most, everybody, key=lambda each: each.delay_ns)
            return Report(
                scope,
                canister,
                limiter.limit,
                remembered=len(limiter),
                forgotten=limiter.forgotten,
                decisions=limiter.decisions,
                limited=len(everybody),
                waiting=[ThrottledKey(name(each.key), each.delay_ns, each.times) for each in longest],
            )

        return [
            report("connections_per_ip", None, self._connections, str),
            report("messages_per_client", None, self._messages, _client_at),
            *(
                report("messages_per_client", canister_id, limiter, lambda key: key[1])
                for canister_id, limiter in self._own.items()
            ),
        ]

    def _part_off(self, canister_id: Principal, limit: RateLimit, now_ns: int) -> Limiter[ClientKey]:
        limiter = Limiter[ClientKey](limit, now_ns=now_ns)
        self._messages.hand_over(limiter, lambda key: key[0] == canister_id, now_ns=now_ns)
        return limiter

    def _give_up(self, canister_id: Principal, now_ns: int) -> None:
        limiter = self._own.pop(canister_id)
        limiter.hand_over(self._messages, lambda _: True, now_ns=now_ns)
        self._retired.update(limiter.decisions)
        self._messages.forgotten += limiter.forgotten


def client_key(join: Join) -> ClientKey:
    """The key of a client in the limits. Without the client's nonce: a new session must not begin a new allowance."""
    return join.canister_id, join.client.partition("_")[0]


def _client_at(key: ClientKey) -> str:
    return f"{key[1]} at {key[0]}"


def network_of(address: str) -> str | None:
    """The key of an address in the limits: an IPv4 address itself; of an IPv6 address its /64, since a subscriber has
    at least that many addresses to choose from. None for what is no IP address.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
