"""The one budget of calls under way of a gateway: waiting for a turn, and giving it back."""

import asyncio
from collections.abc import Callable

from appliance.config.schema import Relay as Settings
from appliance.gateway.calls.scheduler import Scheduler, Ticket


class TurnTimeout(Exception):
    """The turn of a call did not come in time."""


class CallBudget:
    """Lets calls begin when it is their turn (``Scheduler``)."""

    def __init__(self, settings: Settings, possible: Callable[[int], int] = int) -> None:
        """``possible`` is how many of so many calls the system allows."""
        self._possible = possible
        self.scheduler = Scheduler(possible(settings.calls), settings.bytes)
        self._turns: dict[Ticket, asyncio.Future[None]] = {}

    def follow(self, settings: Settings) -> None:
        """Take another size. Calls under way go on."""
        self.scheduler.resize(self._possible(settings.calls), settings.bytes)
        self._start()

    def drain(self, is_draining: bool) -> None:
        """Give close calls a larger part of the budget, or take it from them again."""
        self.scheduler.drain(is_draining)
        self._start()

    def turn(self, ticket: Ticket, timeout_s: float | None = None) -> "Turn":
        """An async context that waits for the turn of a call, which is then under way until the context ends. Entering
        it raises TurnTimeout."""
        return Turn(self, ticket, timeout_s)

    def begin(self, ticket: Ticket) -> bool:
        """Begin a call at once if there is room and none waits; returns whether it did. ``give_back`` ends it; ``take``
        waits where there is none.
        """
        return self.scheduler.begin(ticket)

    async def take(self, ticket: Ticket, timeout_s: float | None) -> None:
        """Wait for the turn of a call. Raises TurnTimeout."""
        self.scheduler.add(ticket)
        self._start()
        if self.scheduler.has_started(ticket):
            return
        try:
            await self._wait(ticket, timeout_s)
        except BaseException:  # it still waits: its task was cancelled, or it waited for too long
            self.give_back(ticket)
            raise

    def give_back(self, ticket: Ticket) -> None:
        """A call is over, or is not made."""
        self.scheduler.cancel(ticket)
        if self.scheduler.waiting:
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


class Turn:
    """The turn of one call (``CallBudget.turn``). A class: a generator would cost twice as much for each call."""

    __slots__ = ("_budget", "_ticket", "_timeout_s")

    def __init__(self, budget: CallBudget, ticket: Ticket, timeout_s: float | None) -> None:
        self._budget = budget
        self._ticket = ticket
        self._timeout_s = timeout_s

    async def __aenter__(self) -> None:
        await self._budget.take(self._ticket, self._timeout_s)

    async def __aexit__(self, *_: object) -> None:
        self._budget.give_back(self._ticket)
