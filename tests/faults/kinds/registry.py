"""The kinds of faults by name."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import get_args

from tests.faults.proxy import Exchange, Kind

Strike = Callable[[Exchange], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """One kind of fault: ``strike`` answers an exchange, and is meant for ``requests`` of these kinds."""

    name: str
    requests: frozenset[Kind]
    strike: Strike

    @property
    def module(self) -> str:
        """The module that defines it."""
        function: object = self.strike.func if isinstance(self.strike, partial) else self.strike
        return str(function.__module__)


FAULTS: dict[str, Fault] = {}


def fault(*requests: Kind) -> Callable[[Strike], Strike]:
    """Register a function as a kind of fault, for requests of these kinds, without any for all."""

    def register(strike: Strike) -> Strike:
        return add(strike.__name__, strike, *requests)

    return register


def add(name: str, strike: Strike, *requests: Kind) -> Strike:
    """As `fault`, under another name than the function's. Raises ValueError for a name that is taken."""
    if name in FAULTS:
        raise ValueError(f"there is a fault {name} already")
    FAULTS[name] = Fault(name, frozenset(requests or get_args(Kind)), strike)
    return strike
