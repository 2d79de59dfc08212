"""The rate limits of a gateway: what an address, a connection, a client, a canister and all together may send."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from heapq import nlargest
from ipaddress import IPv6Address, ip_address
from operator import itemgetter
from typing import Any, Literal, TypeAlias, get_args

from appliance.config.fields.units import format_bandwidth, format_rate
from appliance.config.schema import Config
from appliance.errors import CanisterFull, PrincipalFull, RateLimited
from appliance.gateway.limits.cluster_rates import ClusterRates
from appliance.gateway.limits.gcra import Decision, Limiter, Mode, RateLimit, ThrottledKey
from appliance.gateway.limits.holdings import Holdings
from appliance.gateway.limits.memory import memory_limit
from appliance.gateway.recording.event_bus import EventBus
from appliance.gateway.recording.timeline import Timeline
from appliance.ic.principal import Principal
from appliance.protocol.events import Join

Scope = Literal[
    "connections_per_ip",
    "tls_handshakes_per_ip",
    "control_requests_per_ip",
    "frames_per_ip",
    "frames_per_connection",
    "bytes_per_connection",
    "messages_per_client",
    "messages_per_principal",
    "messages_per_canister",
    "messages_total",
]
"""The rate limits by their keys in ``rate_limits`` of the configuration."""
SCOPES: tuple[Scope, ...] = get_args(Scope)
_READS: tuple[Scope, ...] = ("bytes_per_connection", "frames_per_connection", "frames_per_ip")
"""The limits of what is read, which count in every read."""
ClientKey: TypeAlias = tuple[Principal, str]
"""A canister and a client: the same for all sessions of an identity (in v0, of a client key)."""

_WHAT: dict[Scope, str] = {
    "connections_per_ip": "connections",
    "tls_handshakes_per_ip": "TLS handshakes",
    "control_requests_per_ip": "requests without a valid token",
    "frames_per_ip": "frames of this address",
    "frames_per_connection": "frames",
    "bytes_per_connection": "bytes",
    "messages_per_client": "messages",
    "messages_per_principal": "messages of this principal",
    "messages_per_canister": "messages to this canister",
    "messages_total": "messages of all clients",
}
"""What is limited, for people: of the client itself where nothing else is written."""
_BESIDE_CLIENT: tuple[Scope, ...] = ("messages_per_principal", "messages_per_canister", "messages_total")
"""The limits of messages beside that of each client; off by default."""
_EVERYBODY = "all"
"""The only key of ``messages_total``."""


@dataclass(frozen=True, slots=True)
class LimitExceeded:
    """An event above a limit. ``delay_ns`` is the time until it would be allowed, ``key`` whose event it was, as text,
    and ``times`` how many events of this key were limited. ``at_all_nodes``: those of other nodes counted, too.
    """

    scope: Scope
    delay_ns: int
    limit: RateLimit
    key: str = ""
    times: int = 1
    at_all_nodes: bool = False

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
        rate = format_bandwidth if self.scope == "bytes_per_connection" else format_rate
        what = f"{_WHAT[self.scope]} at all nodes" if self.at_all_nodes else _WHAT[self.scope]
        return RateLimited(what, rate(self.limit.rate), self.limit.burst, self.delay_ns)

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
    is_shared: bool
    """Whether all nodes of the cluster count together."""


class Limits:
    """Every limit of a configuration and its use. ``holdings`` are what clients hold at a time, ``clock`` is monotonic,
    in nanoseconds.
    """

    def __init__(self, config: Config, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        now_ns = clock()
        self._clock = clock
        self._limiters: dict[Scope, Limiter[Any]] = {
            scope: Limiter(getattr(config.rate_limits, scope), now_ns=now_ns) for scope in SCOPES
        }
        self._messages: Limiter[ClientKey] = self._limiters["messages_per_client"]
        self._own: dict[Principal, Limiter[ClientKey]] = {}
        self.cluster = ClusterRates(clock)
        self._config = config
        self.holdings = Holdings(config.limits, memory_limit(config.limits.memory))
        self._retired: Counter[tuple[Decision, Mode]] = Counter()
        self.follow(config)

    def follow(self, config: Config) -> None:
        """Apply another configuration. Keys keep what they have used up, also when they move to another limit."""
        now_ns = self._clock()
        self._config = config
        self.holdings.follow(config.limits, memory_limit(config.limits.memory))
        for scope, limiter in self._limiters.items():
            limiter.follow(getattr(config.rate_limits, scope), now_ns=now_ns)
        self._wider = [scope for scope in _BESIDE_CLIENT if not self._limiters[scope].is_off]
        self._received = [(scope, self._limiters[scope]) for scope in _READS if not self._limiters[scope].is_off]
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
        return self._take("connections_per_ip", network_of(address))

    def tls_handshake(self, address: str) -> LimitExceeded | None:
        """Count a TLS handshake of an address; None if it is allowed."""
        return self._take("tls_handshakes_per_ip", network_of(address))

    def control_request(self, address: str) -> LimitExceeded | None:
        """Count a request without a valid token that an address sent to the control plane; None if it is allowed."""
        return self._take("control_requests_per_ip", network_of(address))

    def received(self, connection: str, address: str, *, frames: int, size: int) -> LimitExceeded | None:
        """Count frames of any kind, and bytes, of a connection; None if they are allowed."""
        now_ns, found = self._clock(), list[LimitExceeded]()
        for scope, limiter in self._received:
            key = connection if scope != "frames_per_ip" else network_of(address)
            number = size if scope == "bytes_per_connection" else frames
            if not number or key is None:
                continue
            if delay_ns := limiter.take(key, now_ns, number):
                found.append(self._exceeded(scope, limiter, key, delay_ns))
            elif limiter.is_shared:
                self.cluster.add(limiter, scope, key, number)
        return _strictest(found) if found else None

    def message(self, key: ClientKey) -> LimitExceeded | None:
        """Count a message of a client; None if it is allowed."""
        canister_id, client = key
        own = self._own.get(canister_id) if self._own else None
        found = [self._take("messages_per_client", key, limiter=own)]
        for scope in self._wider:
            if scope == "messages_total":
                found.append(self._take(scope, _EVERYBODY))
            else:
                found.append(self._take(scope, client if scope == "messages_per_principal" else canister_id))
        return _strictest(each for each in found if each is not None) if any(found) else None

    def check_held(self, key: ClientKey) -> None:
        """Raise PrincipalFull or CanisterFull where a client must not have one session more."""
        (canister_id, client), held = key, self.holdings
        if held.principal.refuses(client):
            raise PrincipalFull(held.principal.limit.connections)
        if held.canister.refuses(canister_id):
            raise CanisterFull(str(canister_id), held.canister.limit.connections)

    def ended(self, connection: str) -> None:
        """Forget a connection."""
        self._limiters["bytes_per_connection"].forget(connection)
        self._limiters["frames_per_connection"].forget(connection)

    def _take(
        self, scope: Scope, key: Any, events: int = 1, *, limiter: Limiter[Any] | None = None
    ) -> LimitExceeded | None:
        limiter = self._limiters[scope] if limiter is None else limiter  # an empty one is false
        if limiter.is_off or key is None:
            return None
        if delay_ns := limiter.take(key, self._clock(), events):
            return self._exceeded(scope, limiter, key, delay_ns)
        if limiter.is_shared:
            self.cluster.add(limiter, scope, key, events)
        return None

    def _exceeded(self, scope: Scope, limiter: Limiter[Any], key: Any, delay_ns: int) -> LimitExceeded:
        together = limiter.is_shared and self.cluster.problem is None
        return LimitExceeded(
            scope, delay_ns, limiter.limit, self._text_of(key), limiter.times(key), at_all_nodes=together
        )

    def decisions(self) -> dict[tuple[Scope, Decision, Mode], int]:
        """Counts of decisions since the start, those of limits that are gone included: metrics must not fall."""
        found: Counter[tuple[Scope, Decision, Mode]] = Counter()
        for scope, limiter in self._limiters.items():
            for (decision, mode), count in limiter.decisions.items():
                found[scope, decision, mode] += count
        for decisions in (self._retired, *(limiter.decisions for limiter in self._own.values())):
            for (decision, mode), count in decisions.items():
                found["messages_per_client", decision, mode] += count
        return dict(found)

    def reports(self, most: int = 100) -> list[Report]:
        """The state of every limit, each with at most ``most`` keys that have to wait."""
        now_ns = self._clock()

        def report(scope: Scope, canister: Principal | None, limiter: Limiter[Any]) -> Report:
            everybody = list(limiter.waiting(now_ns))
            longest = nlargest(most, everybody, key=lambda each: each.delay_ns)
            name = self._text_of if canister is None else itemgetter(1)  # without the canister, which the report names
            return Report(
                scope,
                canister,
                limiter.limit,
                remembered=len(limiter),
                forgotten=limiter.forgotten,
                decisions=limiter.decisions,
                limited=len(everybody),
                waiting=[ThrottledKey(name(each.key), each.delay_ns, each.times) for each in longest],
                is_shared=limiter.is_shared,
            )

        return [
            *(report(scope, None, limiter) for scope, limiter in self._limiters.items()),
            *(report("messages_per_client", canister_id, limiter) for canister_id, limiter in self._own.items()),
        ]

    def _text_of(self, key: Any) -> str:
        if isinstance(key, Principal):
            return self._config.canister_label(str(key))
        return f"{key[1]} at {self._config.canister_label(str(key[0]))}" if isinstance(key, tuple) else str(key)

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


def _strictest(found: Iterable[LimitExceeded]) -> LimitExceeded | None:
    """The first that is enforced, else the first, None if there is none."""
    every = list(found)
    return next((each for each in every if each.is_enforced), every[0] if every else None)


@lru_cache(maxsize=10_000)
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
