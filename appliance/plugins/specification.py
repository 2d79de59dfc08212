"""The hooks that a plugin may implement. Plugins import this from ``appliance.plugins``."""

from dataclasses import dataclass
from math import inf

import pluggy

from appliance.gateway.hooks import CanisterMessage, ClientMessage, Ending, Happening, Visit, Who

PROJECT = "icws"
"""Name of the hook markers, and with ``.plugins`` of the group of entry points."""

hook = pluggy.HookimplMarker(PROJECT)
"""Decorates the functions or methods of a plugin that are hooks."""
_decides = pluggy.HookspecMarker(PROJECT)(firstresult=True)
_is_notified = pluggy.HookspecMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal by a plugin. The client gets ``reason``, and may retry after ``retry_after_s``; it must not if that is
    None.

    Raises ValueError for a time that is negative or infinite, and TypeError for a reason that is not a text.
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

    Each plugin has a thread of its own, where its hooks run one after the other, so they may block for up to the
    ``timeout`` of the plugin. A call that raises or takes longer is a failure; a hook that fails repeatedly is
    switched off for a while. ``admit``, ``open`` and ``client_message`` decide: None allows. While ``admit`` or
    ``open`` fails, everybody is refused, and while ``client_message`` fails, every message is passed; an attribute
    ``required`` of the plugin decides for all three: true refuses, false allows.
    """

    @_decides
    def admit(self, visit: Visit) -> Refusal | None:
        """Whether to accept a WebSocket. A refusal is HTTP status 403, or 503 with ``Retry-After``."""

    @_decides
    def open(self, who: Who) -> Refusal | None:
        """Whether a client may open its session. Its key is verified; its canister has not been called yet."""

    @_decides
    def client_message(self, who: Who, message: ClientMessage) -> Refusal | None:
        """Whether to pass a message to the canister. A refusal closes the socket: later messages would be out of
        sequence."""

    @_is_notified
    def canister_message(self, who: Who, message: CanisterMessage) -> None:
        """A message was sent to the client."""

    @_is_notified
    def close(self, who: Who, ending: Ending) -> None:
        """A connection ended."""

    @_is_notified
    def event(self, event: Happening) -> None:
        """Something else happened: ``session.opened``, ``canister.state``, ``reload``, ``drain`` and so on."""

    @_is_notified
    def stop(self) -> None:
        """The plugin is removed; no hook is called after this."""


DECISIONS = ("admit", "open", "client_message")
ADMISSIONS = ("admit", "open")
"""Those that decide about access."""
NOTIFICATIONS = ("canister_message", "close", "event")
