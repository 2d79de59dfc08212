"""A plugin as an installed module, which wants to know of events and does nothing with them."""

from typing import Any

from appliance.plugins import Happening, Section, hook


class Plugin:
    """Says nothing."""

    class Settings(Section):
        """None."""

    def __init__(self, settings: Any) -> None:
        pass

    @hook
    def event(self, event: Happening) -> None:
        """Nothing follows."""
