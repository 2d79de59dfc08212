"""Which part of a gateway a worker is, and its share of what the machine has."""

from dataclasses import dataclass
from pathlib import Path

from appliance.config.schema import Config
from appliance.gateway.limits.memory import memory_limit

MIN_CALLS = 16
MIN_CALL_BYTES = 32 * 1024**2
MIN_MEMORY = 16 * 1024**2
"""Below these, ``relay.calls``, ``relay.bytes`` and ``limits.memory`` could not be configured either."""


@dataclass(frozen=True)
class Role:
    """Worker ``number`` (from 1) of ``count``. ``folder`` is private to the supervisor and its workers."""

    number: int
    count: int
    folder: Path

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes what one process alone may: the revisions of the configuration, and the
        audit log.
        """
        return self.number == 1

    @property
    def engine(self) -> Path:
        """The socket of the engine."""
        return self.folder / "engine.sock"

    @property
    def control(self) -> Path:
        """The socket where the supervisor asks this worker."""
        return self.folder / f"control.{self.number}.sock"

    @property
    def notify(self) -> Path:
        """The socket where the supervisor is notified, as systemd would be."""
        return self.folder / f"notify.{self.number}.sock"

    def node(self, name: str) -> str:
        """The name of this worker as a node, where the machine has this name."""
        return f"{name[:60]}.{self.number}"

    def share(self, config: Config) -> Config:
        """The configuration with the share of this worker in what is meant for the whole machine."""
        gateway, relay, limits = config.gateway, config.relay, config.limits
        memory = max(MIN_MEMORY, memory_limit(limits.memory) // self.count)
        return config.model_copy(
            update={
                "gateway": gateway.model_copy(update={"max_connections": -(-gateway.max_connections // self.count)}),
                "relay": relay.model_copy(
                    update={
                        "calls": max(MIN_CALLS, relay.calls // self.count),
                        "bytes": max(MIN_CALL_BYTES, relay.bytes // self.count),
                    }
                ),
                "drain": config.drain.model_copy(update={"rate": max(1.0, config.drain.rate / self.count)}),
                "polling": config.polling.model_copy(update={"budget": config.polling.budget / self.count}),
                "limits": limits.model_copy(update={"memory": str(memory)}),
            }
        )
