"""A process that the others gave up while it was only cut off, or stood still, and that goes on as another one."""

from collections.abc import Callable, Iterable
from typing import Protocol

from appliance.cluster.claims.places import Places
from appliance.cluster.registry.clients import field_of
from appliance.cluster.registry.own import OwnClients, Process
from appliance.cluster.registry.speaking import Speaking
from appliance.errors import GatewayError, NodeGivenUp
from appliance.gateway.nodes import Known, Place, Told


class Sessions(Protocol):
    """The gateway of this node."""

    def held(self) -> Iterable[Place]:
        """The places that its sessions have."""

    def end(self, was_told: Callable[[Known], Told], error: Callable[[], GatewayError], node: str) -> int:
        """Close the sessions whose canisters were told. Returns how many there were."""


class Returning:
    """``former`` is the process that was given up, until the engine knows the one that goes on: before that, the others
    may give it up once more.
    """

    def __init__(self, process: Process, own: OwnClients, speaking: Speaking, places: Places) -> None:
        self.former = ""
        self._process = process
        self._own = own
        self._speaking = speaking
        self._places = places

    async def end_told(self, incarnation: str, sessions: Sessions | None) -> int:
        """End the sessions whose canisters were told in the name of this process, and let nobody speak for it any more.
        Returns how many there were. Raises EngineAway.
        """
        told = await self._speaking.told_in_the_name_of(incarnation)
        places = [] if sessions is None else list(sessions.held())
        taken = await self._speaking.taken_from(incarnation, places)

        def was_told(known: Known) -> Told:
            field = field_of(known.canister_id, known.client_key)
            if (told_ms := told.get(field)) is None:
                return "maybe" if known.place in taken else "no"
            # A key of v0 may have opened another session here since then, before the close call or after it.
            since = self._places.since(known.place)
            if since is None or self._own.time.earliest_ms(since) <= told_ms:
                return "yes"
            self._own.came_later(field, told_ms)
            return "maybe"

        return 0 if sessions is None else sessions.end(was_told, NodeGivenUp, self._process.name)

    async def go_on(self, sessions: Sessions | None) -> None:
        """End what was told since this process has begun anew, if the others have given the former one up once more
        meanwhile. Raises EngineAway.
        """
        if self.former and await self._speaking.is_given_up(self.former):
            await self.end_told(self.former, sessions)
