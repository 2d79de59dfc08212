"""The workers of a gateway."""

from datetime import datetime
from typing import Literal

from appliance.control.models.base import Answer


class Worker(Answer):
    """One worker."""

    number: int
    state: Literal["starting", "ready", "stopping", "down"]
    """``down``: between its end and its next start."""
    pid: int | None
    """None while it has no process."""
    connections: int
    """Sockets of clients."""
    accepts: bool
    """Whether it takes newcomers, or would if it had no more than its part."""
    starts: int
    """How many processes it has had."""
    started_at: datetime | None
    """The present process, or the last one."""
    problem: str | None
    """Why its last process ended by itself; None once the next one is ready."""


class Workers(Answer):
    """The workers of this gateway, by number."""

    items: list[Worker]
    """Empty where the gateway is one process."""
    restarting: bool
    """Whether they are being restarted one by one."""
    problem: str | None
    """Why the last restart was given up."""
    engine_entries: int | None
    """Openings and places that the supervisor keeps as their engine; None where they have another."""
