"""A running gateway with everything around it, as the operations of the API receive it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from appliance.control.auth.audit import Audit
from appliance.control.auth.tokens import Tokens
from appliance.control.health.cluster import ClusterNode
from appliance.control.health.health import Health
from appliance.control.health.loop_lag import LoopLagMonitor
from appliance.control.models import LogLevel, Plugin
from appliance.control.observe.drains import Drains
from appliance.control.observe.events import Events
from appliance.control.observe.metrics_history import MetricsHistory
from appliance.control.reload.reloads import Reloads
from appliance.gateway.gateway import Gateway
from appliance.gateway.sockets.listener import Listener


class Log(Protocol):
    """The level of the log, which can be changed."""

    @property
    def level(self) -> LogLevel:
        """The lowest level that is logged."""

    def set_level(self, level: LogLevel) -> None:
        """Log this level and above from now on."""


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
    loop_lag: LoopLagMonitor
    metrics_history: MetricsHistory
    drains: Drains
    metrics: Callable[[], bytes]
    """Every metric, in the text format of Prometheus."""
    plugins: Callable[[], Sequence[Plugin]] = tuple
    node: ClusterNode | None = None
    """This node in its cluster; None where it is alone."""
    is_worker: bool = False
    """Whether its supervisor answers the API, and asks this process."""
    started_at_ns: int = field(default_factory=time.time_ns)
    urls: list[str] = field(default_factory=list)
    """Of the API; empty if the API is not served."""
    metrics_url: str = ""
    """Where metrics alone are served; empty if they are not."""
    problems: list[Callable[[], str | None]] = field(default_factory=list)
    """Each returns a problem that the gateway runs with, as a sentence, or None."""

    @property
    def url(self) -> str:
        """The first address of the API; empty if the API is not served."""
        return self.urls[0] if self.urls else ""
