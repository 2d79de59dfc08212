"""The close calls of a node, as the engine has to know of them: nobody takes over a place that is being closed."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from appliance.cluster.engine import Engine
from appliance.cluster.registry.own import OwnClients, Process
from appliance.errors import EngineAway
from appliance.gateway.nodes import Holding, Known, Place
from appliance.gateway.tasks import Tasks


class Closing:
    """Asks before each close call, and tells the engine of its end. ``settle_s`` is the time after which a contact is
    believed about places.
    """

    def __init__(
        self,
        process: Process,
        engine: Engine,
        own: OwnClients,
        tasks: Tasks,
        *,
        monotonic: Callable[[], float],
        settle_s: float,
        at_once: int,
    ) -> None:
        """``at_once`` is how many questions are under way at a time."""
        self.settle_s = settle_s
        self._process = process
        self._engine = engine
        self._own = own
        self._tasks = tasks
        self._monotonic = monotonic
        self._asking = asyncio.Semaphore(at_once)
        self._unreported: set[Place] = set()

    async def release(self, place: Place) -> Holding:
        """See Nodes."""
        process = self._process
        async with self._asking:  # many leave at once, and none of them is in a hurry
            # The end of an earlier close call, if the engine were told of it later, would let go of the place.
            is_ending = place in self._unreported or self._own.is_ending(place)
            if is_ending or not self.is_settled:
                return "unknown"
            try:
                return await process.commands.run(
                    lambda: self._engine.release(process.name, process.incarnation, place), process.timeout_s
                )
            except EngineAway:
                return "unknown"

    async def may_tell(self, known: Known) -> Holding:
        """See Nodes."""
        async with self._asking:
            if known.place in self._unreported:
                return "unknown"  # as above
            return await self._own.may_tell(known, is_settled=self.is_settled)

    def released(self, place: Place) -> None:
        """See Nodes."""
        self._unreported.add(place)
        if self._process.contact.state == "joined":
            self._tasks.start(self._report_soon(place))

    async def report(self) -> None:
        """Tell the engine of each close call whose end it was not told of. Raises EngineAway."""
        for place in list(self._unreported):
            await self._report(place, is_vital=True)

    @property
    def is_settled(self) -> bool:
        """Whether the engine is believed about places by now."""
        return self._process.contact.is_settled(self._monotonic(), self.settle_s)

    async def _report_soon(self, place: Place) -> None:
        with suppress(EngineAway):  # then the engine is told with the next heartbeat that it answers
            await self._report(place, is_vital=False)

    async def _report(self, place: Place, *, is_vital: bool) -> None:
        process = self._process
        released = partial(self._engine.released, process.name, process.incarnation, place)
        await process.commands.run(released, process.timeout_s, is_vital=is_vital)
        self._unreported.discard(place)
