"""What a plugin may implement. Plugins import this from ``appliance.plugins``."""

from dataclasses import dataclass
from math import inf

import pluggy

from appliance.gateway.hooks import CanisterMessage, ClientMessage, Ending, Happening, Visit, Who

PROJECT = "icws"
"""What the markers, and with ``.plugins`` the entry points, are named after."""

hook = pluggy.HookimplMarker(PROJECT)
"""Decorates the functions or methods of a plugin that are hooks."""
_decides = pluggy.HookspecMarker(PROJECT)(firstresult=True)
_is_told = pluggy.HookspecMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A plugin's no. The client is told ``reason``, and to come back after ``retry_after_s``; not at all if None.

    Raises ValueError for a time that is none, and TypeError for what is neither a text nor a number.
    """

    reason: str
    retry_after_s: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str):
            raise TypeError(f"the reason of a refusal is a text, not {type(self.reason).__name__}")
        if self.retry_after_s is not None and not 0 <= self.retry_after_s < inf:
            raise ValueError(f"nobody can come back after {self.retry_after_s} s")


class Specification:
    """The hooks. A hook takes as many of these arguments as it wants, by their names.

    Each plugin has a thread of its own, where its hooks run one after the other, so they may block for as long as the
    ``timeout`` of the plugin is. What raises or takes longer counts as a failure; a hook that fails again and again is
    switched off for a while. ``admit``, ``open`` and ``client_message`` decide: None is no objection. While such a hook
    fails nothing is refused, unless the plugin has an attribute ``required`` that is true: then everything is.
    """

    @_decides
    def admit(self, visit: Visit) -> Refusal | None:
        """Whether to accept a WebSocket. A refusal is HTTP status 403, or 503 with ``Retry-After``."""

    @_decides
    def open(self, who: Who) -> Refusal | None:
        """Whether a client may open its session. Its key is verified; its canister is not asked yet."""

    @_decides
    def client_message(self, who: Who, message: ClientMessage) -> Refusal | None:
        """Whether to pass a message to the canister. A refusal closes the socket, for what follows would be out of
        order."""

    @_is_told
    def canister_message(self, who: Who, message: CanisterMessage) -> None:
        """A message went to the client."""

    @_is_told
    def close(self, who: Who, ending: Ending) -> None:
        """A socket is gone."""

    @_is_told
    def event(self, event: Happening) -> None:
        """Something else happened: ``session.opened``, ``canister.state``, ``reload``, ``drain`` and so on."""

    @_is_told
    def stop(self) -> None:
        """The plugin is taken out; nothing is called after this."""


DECIDING = ("admit", "open", "client_message")
TELLING = ("canister_message", "close", "event")
