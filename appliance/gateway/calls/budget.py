"""The one budget of calls under way of a gateway: waiting for a turn, and giving it back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.config.schema import Relay as Settings
from appliance.gateway.calls.scheduler import Scheduler, Ticket


class TurnTimeout(Exception):
    """The turn of a call did not come in time."""


class CallBudget:
    """Lets calls begin when it is their turn (``Scheduler``)."""

    def __init__(self, settings: Settings) -> None:
        self.scheduler = Scheduler(settings.calls, settings.bytes)
        self._turns: dict[Ticket, asyncio.Future[None]] = {}

    def follow(self, settings: Settings) -> None:
        """Take another size. Calls under way go on."""
        self.scheduler.resize(settings.calls, settings.bytes)
        self._start()

    @asynccontextmanager
    async def turn(self, ticket: Ticket, timeout_s: float | None = None) -> AsyncIterator[None]:
        """Wait for the turn of a call, which is then under way until the context ends. Raises TurnTimeout."""
        self.scheduler.add(ticket)
        self._start()
        try:
            if not self.scheduler.has_started(ticket):
                await self._wait(ticket, timeout_s)
            yield
        finally:
            # Also for a ticket that still waits: its task was cancelled, or it waited for too long.
            self.scheduler.cancel(ticket)
            self._start()

    async def _wait(self, ticket: Ticket, timeout_s: float | None) -> None:
        self._turns[ticket] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self._turns[ticket]
        except TimeoutError:
            raise TurnTimeout from None
        finally:
            del self._turns[ticket]

    def _start(self) -> None:
        for ticket in self.scheduler.start():
            if (turn := self._turns.get(ticket)) is not None and not turn.done():
                turn.set_result(None)
