"""Reload classes: when a change of a key takes effect. Each field of the schema has one."""

from dataclasses import dataclass
from typing import ClassVar, Literal

EffectName = Literal["live", "new sessions", "restart"]


@dataclass(frozen=True)
class Effect:
    """Root of the classes. ``name`` is the word for it, ``meaning`` the sentence."""

    name: ClassVar[EffectName]
    meaning: ClassVar[str]


@dataclass(frozen=True)
class Live(Effect):
    """A change reaches everything at once; no socket is closed for it."""

    name = "live"
    meaning = "a change takes effect at once"


@dataclass(frozen=True)
class NewSessions(Effect):
    """A change is for sessions that begin after it; those that are there keep what they began with."""

    name = "new sessions"
    meaning = "a change is for sessions that begin after it"


@dataclass(frozen=True)
class Restart(Effect):
    """A change waits for the next start."""

    name = "restart"
    meaning = "a change waits for the next start"
