"""What happens in the data plane that concerns more than one message, for those who want to know."""

from collections.abc import Callable

import structlog

from appliance.gateway.hooks import Happening

_log = structlog.get_logger(__name__)

NEWS = ("session.opened", "session.closed", "canister.state", "limit")
"""The kinds there are."""

Reader = Callable[[Happening], None]


class News:
    """Tells all readers, with facts that can be written as JSON."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """``clock`` is nanoseconds since 1970."""
        self._clock = clock
        self._readers: list[Reader] = []

    def subscribe(self, reader: Reader) -> None:
        """Tell this one too. It must not wait."""
        self._readers.append(reader)

    def tell(self, kind: str, **facts: object) -> None:
        """Something happened. Never raises; costs next to nothing where nobody reads."""
        if not self._readers:
            return
        happening = Happening(kind, self._clock(), facts)
        for reader in self._readers:
            try:
                reader(happening)
            except Exception as error:  # a reader's trouble stays its own
                _log.error("somebody who reads the news failed", kind=kind, exc_info=error)
