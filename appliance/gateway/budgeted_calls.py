"""Calls to the IC, each made when its turn in the budget has come."""

from collections.abc import Callable

from appliance.errors import CallExpired
from appliance.gateway.calls.budget import CallBudget, TurnTimeout
from appliance.gateway.calls.queued import QueuedCall
from appliance.gateway.calls.scheduler import Kind, Ticket
from appliance.gateway.ic import Ic
from appliance.protocol.events import Call


class BudgetedCalls:
    """Makes calls of clients, and the gateway's own."""

    def __init__(self, ic: Ic, budget: CallBudget, clock: Callable[[], int]) -> None:
        """``clock`` is ns since 1970."""
        self._ic = ic
        self._budget = budget
        self._clock = clock

    async def send(self, queued: QueuedCall, kind: Kind, client: bytes) -> bytes | None:
        """Make a call of a client. Raises GatewayError, CallExpired where its turn does not come in time."""
        call = queued.call
        ticket = Ticket(kind, call.canister_id, client, queued.size)
        if not self._budget.begin(ticket):
            await self._wait(queued, ticket)
        try:
            queued.begin()
            if isinstance(call, Call):
                return await self._ic.call(call.canister_id, call.method_name, call.arg)
            reply = await self._ic.submit(call, route=queued.route)
            queued.is_executed = reply is not None
            return reply
        finally:
            self._budget.give_back(ticket)

    async def _wait(self, queued: QueuedCall, ticket: Ticket) -> None:
        try:
            await self._budget.take(ticket, (queued.expires_ns - self._clock()) / 1e9)
        except TurnTimeout:
            under_way = self._budget.scheduler.under_way
            raise CallExpired(queued.call.method_name, f"{under_way} calls were under way") from None

    async def confirm(self, queued: QueuedCall) -> bool:
        """Whether a replica is known to have a call of a client that is under way. Raises nothing."""
        return not isinstance(queued.call, Call) and await self._ic.accept(queued.call, queued.route)

    async def close(self, canister_id: bytes, client_key: bytes, arg: bytes) -> bytes:
        """Make the ``ws_close`` call for a client. Raises GatewayError."""
        # No time limit: a close call that is given up leaves its client in the canister. Whoever stops has a deadline.
        async with self._budget.turn(Ticket(Kind.CLOSE, canister_id, client_key, len(arg))):
            return await self._ic.call(canister_id, "ws_close", arg)
