"""Since when a node holds its places: a value without I/O."""

from collections.abc import Iterable, Iterator

from appliance.gateway.nodes import Place

OPENING_S = 600.0
"""Time in which a session opens, or does not: openings expire within five minutes."""


class Places:
    """Times are seconds of a monotonic clock: they become those of the engine when the engine is told."""

    def __init__(self) -> None:
        self._since: dict[Place, float] = {}

    def take(self, place: Place, at: float) -> None:
        """An opening message of this place is relayed."""
        if place.group:
            self._since[place] = at

    def since(self, place: Place) -> float | None:
        """When it was taken last; None where that is not known."""
        return self._since.get(place)

    def held(self, places: Iterable[Place], at: float) -> Iterator[tuple[Place, float]]:
        """These with the time since when; others are forgotten when they cannot open any more. One that was never taken
        counts from now on.
        """
        held = {each: self._since.get(each, at) for each in places}
        self._since = {each: since for each, since in self._since.items() if at - since < OPENING_S} | held
        yield from held.items()
