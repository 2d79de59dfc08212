"""Publishes events of the data plane (sessions, canisters, limits) to subscribers."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import structlog

from appliance.gateway.hooks import Happening

_log = structlog.get_logger(__name__)

GATEWAY_EVENTS = ("session.opened", "session.closed", "connection.refused", "canister.state", "limit", "node.given_up")
"""All kinds of events."""

Subscriber = Callable[[Happening], None]


class EventBus:
    """Calls every subscriber with each event. Facts can be written as JSON."""

    def __init__(
        self, clock: Callable[[], int], canister_names: Callable[[], Mapping[str, str]] = lambda: MappingProxyType({})
    ) -> None:
        """``clock`` is nanoseconds since 1970. ``canister_names`` returns the names by canister id, which events with a
        fact ``canister`` have beside it."""
        self._clock = clock
        self._canister_names = canister_names
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call ``subscriber`` with every event from now on. It must not block."""
        self._subscribers.append(subscriber)

    def publish(self, kind: str, **facts: object) -> None:
        """Publish an event. Never raises; costs next to nothing without subscribers."""
        if not self._subscribers:
            return
        if (name := self._canister_names().get(str(facts.get("canister")))) is not None:
            facts["canister_name"] = name
        happening = Happening(kind, self._clock(), facts)
        for subscriber in self._subscribers:
            try:
                subscriber(happening)
            except Exception as error:  # one subscriber must not hurt another, or the caller
                _log.error("a subscriber of the event bus failed", kind=kind, exc_info=error)
