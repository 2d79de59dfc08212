"""Whether a request to open a WebSocket is granted, without the library that speaks HTTP."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from appliance.config.schema import Config
from appliance.errors import PostponedByPlugin, RefusedByPlugin
from appliance.gateway.hooks import Visit
from appliance.gateway.limits.rate_limits import LimitExceeded
from appliance.gateway.sockets.routes import Route, route

RETRY_AFTER_S = 5
"""What a client is told that comes when the gateway is full."""


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """The answer to a request that is not granted. ``text`` is for people."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


FULL = TurnedAway(
    503, "This gateway has as many clients as it takes, come back later.\n", {"Retry-After": str(RETRY_AFTER_S)}
)


def judge(path: str, origin: str | None, root: str, config: Config, *, is_full: bool) -> Route | TurnedAway:
    """What the configuration says. ``origin`` is the header ``Origin``, ``root`` what is spoken at ``/``."""
    leads_to = route(path, root, config)
    if not isinstance(leads_to, Route):
        return TurnedAway(404, leads_to)
    if origin is not None and not {"*", origin} & set(config.gateway.origins):
        return TurnedAway(403, f"This gateway does not serve pages of {origin}.\n")
    return FULL if is_full else leads_to


def too_many(exceeded: LimitExceeded) -> TurnedAway:
    """The answer where an address connects too often."""
    return TurnedAway(429, f"{exceeded.error()}\n", exceeded.headers())


def visit_of(address: str, path: str, headers: Iterable[tuple[str, str]], leads_to: Route) -> Visit:
    """What plugins are told of a request."""
    canister = None if leads_to.canister_id is None else str(leads_to.canister_id)
    return Visit(address, path, {name.lower(): value for name, value in headers}, leads_to.generation, canister)


def turned_away_by(refusal: RefusedByPlugin) -> TurnedAway:
    """The answer where a plugin said no: 403 for good, 503 for now."""
    if isinstance(refusal, PostponedByPlugin):
        return TurnedAway(503, f"{refusal}\n", {"Retry-After": str(math.ceil(refusal.retry_after_s))})
    return TurnedAway(403 if refusal.close_code >= 4500 else 503, f"{refusal}\n")
