"""What the API needs of the parts of a running gateway that stand beside it, and all of them together."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from appliance.control.audit import Audit
from appliance.control.drains import Drains
from appliance.control.events import Events
from appliance.control.health import Health, Pulse
from appliance.control.models import LogLevel, Plugin
from appliance.control.recall import Recall
from appliance.control.reload import Reloads
from appliance.control.tokens import Tokens
from appliance.gateway.gateway import Gateway
from appliance.gateway.sockets.listener import Listener


class Log(Protocol):
    """What is logged."""

    @property
    def level(self) -> LogLevel:
        """The least that is logged."""

    def set_level(self, level: LogLevel) -> None:
        """Log this from now on."""


@dataclass
class Control:
    """A running gateway, as the API sees it."""

    version: str
    gateway: Gateway
    listener: Listener
    reloads: Reloads
    log: Log
    tokens: Tokens
    audit: Audit
    events: Events
    health: Health
    pulse: Pulse
    recall: Recall
    drains: Drains
    metrics: Callable[[], bytes]
    """All of them, as Prometheus reads them."""
    plugins: Callable[[], Sequence[Plugin]] = tuple
    started_at_ns: int = field(default_factory=time.time_ns)
    url: str = ""
    """Where the API is; empty where it is nowhere."""
