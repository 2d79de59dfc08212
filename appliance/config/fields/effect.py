"""Reload classes: when a change of a key takes effect. Each field of the schema has one."""

from dataclasses import dataclass
from typing import ClassVar, Literal

EffectName = Literal["live", "new sessions", "restart"]


@dataclass(frozen=True)
class Effect:
    """Base of the reload classes. ``meaning`` is a sentence for operators."""

    name: ClassVar[EffectName]
    meaning: ClassVar[str]


@dataclass(frozen=True)
class Live(Effect):
    """A change takes effect at once and closes no socket.

    With ``is_always_read`` the gateway reads the file that the key names at each use, not at reloads: what changes in
    it is in effect already, and no change of the configuration.
    """

    name = "live"
    meaning = "a change takes effect at once"
    is_always_read: bool = False


@dataclass(frozen=True)
class NewSessions(Effect):
    """A change applies to sessions that begin after it. Open sessions keep their settings."""

    name = "new sessions"
    meaning = "a change is for sessions that begin after it"


@dataclass(frozen=True)
class Restart(Effect):
    """A change takes effect at the next start."""

    name = "restart"
    meaning = "a change waits for the next start"
