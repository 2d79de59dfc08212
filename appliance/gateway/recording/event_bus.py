"""What happens in the data plane that concerns more than one message, for those who want to know."""

from collections.abc import Callable

import structlog

from appliance.gateway.hooks import Happening

_log = structlog.get_logger(__name__)

GATEWAY_EVENTS = ("session.opened", "session.closed", "canister.state", "limit")
"""The kinds there are."""

Subscriber = Callable[[Happening], None]


class EventBus:
    """Tells all readers, with facts that can be written as JSON."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """``clock`` is nanoseconds since 1970."""
        self._clock = clock
        self._readers: list[Subscriber] = []

    def subscribe(self, reader: Subscriber) -> None:
        """Tell this one too. It must not wait."""
        self._readers.append(reader)

    def publish(self, kind: str, **facts: object) -> None:
        """Something happened. Never raises; costs next to nothing where nobody reads."""
        if not self._readers:
            return
        happening = Happening(kind, self._clock(), facts)
        for reader in self._readers:
            try:
                reader(happening)
            except Exception as error:  # a reader's trouble stays its own
                _log.error("a subscriber of the event bus failed", kind=kind, exc_info=error)
