"""Publishes events of the data plane (sessions, canisters, limits) to subscribers."""

from collections.abc import Callable

import structlog

from appliance.gateway.hooks import Happening

_log = structlog.get_logger(__name__)

GATEWAY_EVENTS = ("session.opened", "session.closed", "canister.state", "limit")
"""All kinds of events."""

Subscriber = Callable[[Happening], None]


class EventBus:
    """Calls every subscriber with each event. Facts can be written as JSON."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """``clock`` is nanoseconds since 1970."""
        self._clock = clock
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call ``subscriber`` with every event from now on. It must not block."""
        self._subscribers.append(subscriber)

    def publish(self, kind: str, **facts: object) -> None:
        """Publish an event. Never raises; costs next to nothing without subscribers."""
        if not self._subscribers:
            return
        happening = Happening(kind, self._clock(), facts)
        for subscriber in self._subscribers:
            try:
                subscriber(happening)
            except Exception as error:  # one subscriber must not hurt another, or the caller
                _log.error("a subscriber of the event bus failed", kind=kind, exc_info=error)
