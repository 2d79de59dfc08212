"""Schedules: which faults strike when. A schedule follows from its name."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from tests.cluster.schedules.faults import FAULTS
from tests.cluster.schedules.stage import EngineKind, Settings

SEEDS = 3
"""Of each fault, in a whole run."""
MIXED = 10
_ANYWHERE = sorted(name for name, fault in FAULTS.items() if fault.engine == "redis-server")
SharePolls = Literal["always", "never"]


@dataclass(frozen=True)
class Schedule:
    """``faults`` strike one after the other, those of one group at the same time. Everything else that is drawn, such
    as the nodes that are struck, follows from ``settings``."""

    name: str
    faults: tuple[tuple[str, ...], ...]
    share_polls: SharePolls
    engine: EngineKind = "redis-server"

    def settings(self) -> Settings:
        """Of a run of this schedule."""
        return Settings(Random(self.name), self.share_polls, self.engine)


def schedule(name: str) -> Schedule:
    """The schedule with this name: ``FAULT/SEED`` or ``mixed/SEED``. Raises KeyError for another."""
    fault, _, seed = name.rpartition("/")
    if not seed.isdigit() or fault not in (*FAULTS, "mixed"):
        raise KeyError(name)
    random = Random(f"schedule {name}")
    share_polls: SharePolls = ("always", "never")[int(seed) % 2]
    if fault != "mixed":
        return Schedule(name, ((fault,),), share_polls, FAULTS[fault].engine)
    groups = []
    for _ in range(3):
        one = random.choice(_ANYWHERE)
        beside = random.choice([each for each in _ANYWHERE if not FAULTS[each].struck & FAULTS[one].struck])
        groups.append((one, beside) if random.random() < 0.5 else (one,))
    return Schedule(name, tuple(groups), share_polls)


def names() -> Iterator[str]:
    """Of all schedules that are run."""
    for fault in FAULTS:
        yield from (f"{fault}/{seed}" for seed in range(SEEDS))
    yield from (f"mixed/{seed}" for seed in range(MIXED))
