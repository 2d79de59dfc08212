"""Since when a node holds its places: a value without I/O."""

from collections.abc import Collection, Iterable, Iterator

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

    def __len__(self) -> int:
        return len(self._since)

    def since(self, place: Place) -> float | None:
        """When it was taken last; None where that is not known."""
        return self._since.get(place)

    def held(self, places: Iterable[Place], at: float) -> Iterator[tuple[Place, float]]:
        """These with the time since when; others are forgotten when they cannot open any more. One that was never taken
        counts from now on.
        """
        held = {each: self._since.get(each, at) for each in places}
        self.forget_others(held, at)
        self._since |= held
        yield from held.items()

    def forget_others(self, places: Collection[Place], at: float) -> None:
        """Forget those that cannot open any more and are not among these."""
        self._since = {each: since for each, since in self._since.items() if at - since < OPENING_S or each in places}
