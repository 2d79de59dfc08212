"""A prepared change that holds no resources (see ``control.reload.reloadable.PreparedChange``)."""

from collections.abc import Callable


class ImmediateChange:
    """Calls one function on commit. There is nothing to roll back or to clean up."""

    def __init__(self, apply: Callable[[], None]) -> None:
        """``apply`` makes the change at once and must not fail."""
        self._apply = apply

    def commit(self) -> None:
        """Make the change."""
        self._apply()

    async def rollback(self) -> None:
        """Do nothing: nothing was prepared that needs to be released."""

    async def cleanup(self) -> None:
        """Do nothing: nothing was replaced that needs to be released."""
