"""A change of the running gateway that is prepared and has nothing to release."""

from collections.abc import Callable


class Ready:
    """Waits to be made."""

    def __init__(self, make: Callable[[], None]) -> None:
        """``make`` makes it, at once, and cannot fail."""
        self._make = make

    def swap(self) -> None:
        """Make it."""
        self._make()

    async def discard(self) -> None:
        """It is not wanted."""

    async def retire(self) -> None:
        """It was made."""
