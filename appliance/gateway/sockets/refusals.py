"""Connections that were refused before a session existed: counted, logged, published and remembered by address."""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

import structlog

from appliance.config.schema import Config
from appliance.gateway.limits.gcra import Limiter, Mode
from appliance.gateway.limits.rate_limits import network_of
from appliance.gateway.recording.event_bus import EventBus
from appliance.gateway.sockets.http import UNIX

_log = structlog.get_logger(__name__)

EVENT = "connection.refused"

REASONS = (
    *("address_full", "draining", "full", "http_version", "malformed", "method", "no_upgrade", "origin"),
    *("plugin_unavailable", "postponed_by_plugin", "rate_limited", "refused_by_plugin", "reset", "timeout", "tls"),
    *("too_large", "unknown_path"),
)
"""Why a connection became no WebSocket; where an error was the cause, its ``GatewayError.reason``."""
ADDRESSES = 500
"""Addresses whose refusals are remembered; of an IPv6 address its /64."""
PER_ADDRESS = 10
"""Refusals remembered of each address, so that one that keeps trying does not make the gateway forget the others."""
BURST_S = 5.0
"""A quiet time after which as many refusals are logged at once as ``log.refusals`` allows within it."""
MAX_TEXT = 200
"""Characters of a path or an origin; longer ones are cut."""


class Refusal(NamedTuple):
    """A connection that got no session. ``status`` is the HTTP status of its answer, None where it got none;
    ``code`` the close code where it was a WebSocket already; ``reason`` the label that it counts by; ``cause`` a
    sentence. ``id`` is that of its timeline. ``path`` is None where no request was read.
    """

    id: str
    at_ns: int
    address: str
    reason: str
    cause: str
    status: int | None = None
    code: int | None = None
    path: str | None = None
    origin: str | None = None
    canister: str | None = None


@dataclass(frozen=True)
class _Rate:
    rate: float
    burst: int
    mode: Mode


class Refusals:
    """Records refusals. ``rejected`` counts those that became no WebSocket by reason, ``unlogged`` all that exceeded
    ``log.refusals``. ``clock`` is monotonic, in nanoseconds.
    """

    def __init__(self, config: Callable[[], Config], event_bus: EventBus, clock: Callable[[], int]) -> None:
        self.rejected: Counter[str] = Counter()
        self.unlogged = 0
        self._config = config
        self._event_bus = event_bus
        self._clock = clock
        self._limiter = Limiter[None](_rate_of(config()), now_ns=clock())
        self._skipped = 0
        self._by_address: OrderedDict[str, deque[Refusal]] = OrderedDict()

    def reject(self, refusal: Refusal) -> None:
        """Record a connection that became no WebSocket."""
        self.rejected[refusal.reason] += 1
        self._remember(refusal)
        if (facts := self._facts(refusal)) is not None:
            _log.info("connection refused", **facts)
            self._event_bus.publish(EVENT, **facts)

    def close(self, refusal: Refusal) -> None:
        """Record a WebSocket that the gateway closed before its session was open. Its end is logged elsewhere."""
        self._remember(refusal)
        if (facts := self._facts(refusal)) is not None:
            self._event_bus.publish(EVENT, **facts)

    def of(self, where: str | None) -> list[Refusal]:
        """The refusals of an address or a network that are remembered, of all without one; the newest first. Raises
        ValueError for what is neither.
        """
        kept = self._by_address
        if where is None:
            return _newest_first(each for refusals in kept.values() for each in refusals)
        if where in kept or where == UNIX:
            return list(reversed(kept.get(where, ())))
        network = ip_network(where, strict=False)
        return _newest_first(each for refusals in kept.values() for each in refusals if _is_in(each.address, network))

    def _remember(self, refusal: Refusal) -> None:
        kept = self._by_address
        key = network_of(refusal.address) or refusal.address
        kept.setdefault(key, deque(maxlen=PER_ADDRESS)).append(refusal)
        kept.move_to_end(key)
        if len(kept) > ADDRESSES:
            kept.popitem(last=False)

    def _facts(self, refusal: Refusal) -> dict[str, object] | None:
        """What is known of a refusal, for the log and for events; None where ``log.refusals`` is exceeded."""
        limiter, now_ns, rate = self._limiter, self._clock(), _rate_of(self._config())
        if rate != limiter.limit:
            limiter.follow(rate, now_ns=now_ns)
        if rate.mode == "off" or limiter.take(None, now_ns):
            self.unlogged += 1
            self._skipped += 1
            return None
        facts = {name: value for name, value in refusal._asdict().items() if value is not None}
        del facts["at_ns"]
        skipped, self._skipped = self._skipped, 0
        return {"session": facts.pop("id"), **facts} | ({"not_logged": skipped} if skipped else {})


def _rate_of(config: Config) -> _Rate:
    rate = config.log.refusals
    return _Rate(rate, max(1, round(rate * BURST_S)), "enforce") if rate else _Rate(1.0, 1, "off")


def _newest_first(refusals: Iterable[Refusal]) -> list[Refusal]:
    return sorted(refusals, key=lambda each: each.at_ns, reverse=True)


def _is_in(address: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        return ip_address(address.partition("%")[0]) in network
    except ValueError:  # a client of a Unix socket
        return False
