"""One call of a client on its way to the IC, and what is read of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from appliance.crypto import Request
from appliance.ic.envelope import LIFETIME_NS
from appliance.ic.route import Route
from appliance.protocol.events import Call


@dataclass(eq=False, slots=True)
class QueuedCall:
    """A call by its number among those of its client: the time it was queued (ns since 1970), its size in bytes, and
    how far it is.

    Whoever sends it calls ``begin`` when its turn in the budget has come.
    """

    number: int
    call: Request | Call
    queued_ns: int
    size: int
    begin: Callable[[], None]
    route: Route
    started_at: float = 0.0
    is_sent: bool = False
    is_confirming: bool = False
    is_executed: bool = False
    """Whether a certified answer says so."""
    task: "asyncio.Task[None] | None" = None
    """What makes it, once it is under way."""
    follows: bool = True
    """Whether the client has numbered it right behind the call before, as far as that is known."""

    @property
    def expires_ns(self) -> int:
        """Until when it may be executed (ns since 1970). A call of the gateway is only signed when it is sent."""
        return self.queued_ns + LIFETIME_NS if isinstance(self.call, Call) else self.call.ingress_expiry_ns


def size_of(call: Request | Call) -> int:
    """Bytes of a call."""
    return len(call.arg if isinstance(call, Call) else call.body)


def sequence_number(call: Request | Call) -> int | None:
    """The sequence number of a client's message; None where that is not to be found (generations v0 and v1)."""
    return None if isinstance(call, Call) else call.sequence_num
