"""How much load a scenario makes, and what it measured."""

from dataclasses import dataclass, field

from appliance.bench.histogram import Histogram


@dataclass(frozen=True)
class Load:
    """``rate`` is messages a second of all clients together, or clients a second where they only connect; ``size`` the
    bytes of an application message, ``block_s`` the time from a call to its block, ``patience_s`` how long to wait for
    what is missing at the end."""

    clients: int
    rate: float
    seconds: float
    size: int = 1000
    block_s: float = 0.1
    seed: int = 1
    patience_s: float = 30.0


@dataclass
class Result:
    """``unit`` names what ``offered`` and ``done`` count. Times in seconds, memory in bytes. ``is_quiet`` if so little
    is sent that CPU is a matter of time and not of what is done.

    ``cpu_s`` is the CPU of the gateway's process alone and ``loop_cpu_s`` the part of its event loop's thread; they,
    ``rss`` and ``threads`` are None if its process id is unknown. ``frames`` and ``bytes`` are what the clients
    received. ``closes`` counts sockets that the gateway closed, by reason. ``calibration_s`` is the CPU that this
    machine needed for a fixed piece of work at the same time. ``failure`` is why the scenario ended early, if it did.
    """

    scenario: str
    unit: str
    load: Load
    is_quiet: bool = False
    offered: int = 0
    done: int = 0
    wall_s: float = 0.0
    cpu_s: float | None = None
    loop_cpu_s: float | None = None
    rss: int | None = None
    threads: int | None = None
    rss_per_session: float | None = None
    stub_cpu_s: float | None = None
    calibration_s: float | None = None
    bytes: int = 0
    frames: int = 0
    lost: int = 0
    repeated: int = 0
    misrouted: int = 0
    verified: int = 0
    polls: int = 0
    closes: dict[str, int] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)
    note: str = ""
    failure: str = ""

    @property
    def rate(self) -> float | None:
        """Done a second; None in a quiet scenario."""
        return None if self.is_quiet or not self.wall_s else self.done / self.wall_s

    @property
    def cpu_us(self) -> float | None:
        """CPU of the gateway for each one done, in microseconds; None in a quiet scenario."""
        return None if self.cpu_s is None or self.is_quiet or not self.done else self.cpu_s * 1e6 / self.done

    @property
    def loop_cpu_us(self) -> float | None:
        """The part of ``cpu_us`` on the event loop's thread."""
        if self.loop_cpu_s is None or self.is_quiet or not self.done:
            return None
        return self.loop_cpu_s * 1e6 / self.done

    @property
    def cores(self) -> float | None:
        """Cores that the gateway kept busy."""
        return None if self.cpu_s is None or not self.wall_s else self.cpu_s / self.wall_s

    @property
    def bytes_per_frame(self) -> float | None:
        """On the wire, with the frame's head; None without messages."""
        return self.bytes / self.frames if self.frames else None

    @property
    def faults(self) -> list[str]:
        """What went wrong, in sentences. A gateway is right if there is nothing."""
        counts = {
            "messages were lost": max(self.lost, self.offered - self.done),
            "messages came again or in the wrong order": self.repeated,
            "messages came to the wrong client": self.misrouted,
        }
        found = [f"{count} {sentence}" for sentence, count in counts.items() if count]
        found += [self.failure] if self.failure else []
        found += [f"the gateway closed {count} sockets: {reason}" for reason, count in self.closes.items()]
        if self.frames and not self.verified:
            found.append("no message was verified")
        return found
