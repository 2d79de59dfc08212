"""What is shown of a poller."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class PollerFacts:
    """What is known of a poller. ``last_good_ns`` is when the last poll went well (ns since 1970), ``wait_s`` the time
    between two polls at the moment, ``polls`` and ``delivered`` count since it began.
    """

    state: Literal["ok", "degraded", "paused"]
    next_nonce: int
    last_good_ns: int | None
    wait_s: float
    failures: int
    polls: int
    delivered: int
    last_error: str | None
