"""Schedules: which endpoint shows which fault when, for which requests, how often. Values that follow from a name."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from math import inf
from random import Random

from tests.faults.kinds import FAULTS, Fault

OPENING_S = 1.5
"""How long a fault lasts that strikes from the beginning: longer than the first three attempts at a call."""
TALKING_S = (0.4, 2.0)
"""From when until when a fault strikes sessions that are open; as long, for the same reason."""
SHAPES = ("beside", "opening", "talking")
MIXED = 40
MIXED_ENDPOINTS = (1, 2, 2, 3)
MIXED_FAULTS = (2, 3, 4)
MIXED_BEGIN_S = 0.9
"""When a fault begins at the latest: while everybody talks."""
MIXED_END_S = 2.0


@dataclass(frozen=True)
class Rule:
    """An endpoint answers requests of the fault's kinds wrongly: from ``begins_s`` to ``ends_s`` after the first client
    came, each with this probability. On a busy machine nobody may have asked it meanwhile: then, once more after that.
    """

    endpoint: int
    fault: str
    begins_s: float
    ends_s: float
    probability: float = 1.0

    def concerns(self, endpoint: int, kind: str, now_s: float, *, has_struck: bool) -> bool:
        """Whether it may strike a request of this kind now."""
        is_now = self.begins_s <= now_s and (now_s < self.ends_s or not has_struck)
        return is_now and endpoint == self.endpoint and kind in FAULTS[self.fault].requests

    def __str__(self) -> str:
        until = "for ever" if self.ends_s == inf else f"until {self.ends_s:.2f} s"
        often = "" if self.probability == 1 else f", {self.probability:.0%} of the requests"
        return f"endpoint {self.endpoint}: {self.fault} from {self.begins_s:.2f} s {until}{often}"


@dataclass(frozen=True)
class Schedule:
    """A name, by which it is repeated, and what it says. The first rule that strikes a request answers it."""

    name: str
    endpoints: int
    rules: tuple[Rule, ...]

    @property
    def must_strike(self) -> bool:
        """Whether it shows nothing unless its fault has struck."""
        return not self.name.startswith("mixed/")

    @property
    def healed_s(self) -> float:
        """When the last fault that has an end has ended."""
        return max((rule.ends_s for rule in self.rules if rule.ends_s != inf), default=0.0)

    def choose(
        self, endpoint: int, kind: str, number: int, now_s: float, struck: Container[str]
    ) -> tuple[Fault, Random] | None:
        """The fault for the ``number``-th request of a kind at an endpoint, with the chances that it may take, or None
        for the honest answer. Drawn anew for each request, so that it does not depend on the order of others.
        ``struck`` are the faults that have struck at this endpoint."""
        for index, rule in enumerate(self.rules):
            random = Random(f"{self.name} {index} {endpoint} {kind} {number}")
            concerns = rule.concerns(endpoint, kind, now_s, has_struck=rule.fault in struck)
            if concerns and random.random() < rule.probability:
                return FAULTS[rule.fault], random
        return None

    def __str__(self) -> str:
        lines = [f"schedule {self.name}, {self.endpoints} endpoints", *(f"  {rule}" for rule in self.rules)]
        return "\n".join(lines)


def schedule(name: str) -> Schedule:
    """The schedule with this name: ``FAULT/SHAPE`` or ``mixed/SEED``. Raises KeyError for another.

    ``beside``: a faulty endpoint for ever, and an honest one after it. ``opening`` and ``talking``: the only endpoint
    is faulty when clients come, or while they talk, and honest then. ``mixed``: several faults of several endpoints,
    drawn by the seed; all end.
    """
    fault, _, shape = name.rpartition("/")
    if fault == "mixed" and shape.isdigit():
        return _mixed(name)
    if fault not in FAULTS or shape not in SHAPES:
        raise KeyError(name)
    if shape == "beside":
        return Schedule(name, 2, (Rule(0, fault, 0, inf),))
    begins_s, ends_s = (0.0, OPENING_S) if shape == "opening" else TALKING_S
    return Schedule(name, 1, (Rule(0, fault, begins_s, ends_s),))


def _mixed(name: str) -> Schedule:
    random = Random(name)
    endpoints = random.choice(MIXED_ENDPOINTS)
    rules = []
    for _ in range(random.choice(MIXED_FAULTS)):
        begins_s = random.uniform(0, MIXED_BEGIN_S)
        ends_s = random.uniform(begins_s + 0.2, MIXED_END_S)
        fault = random.choice(sorted(FAULTS))
        rules.append(Rule(random.randrange(endpoints), fault, begins_s, ends_s, random.choice((0.2, 0.5, 1.0))))
    return Schedule(name, endpoints, tuple(rules))


def names() -> Iterator[str]:
    """Of all schedules that are run."""
    for fault in FAULTS:
        yield from (f"{fault}/{shape}" for shape in SHAPES)
    yield from (f"mixed/{seed}" for seed in range(MIXED))
