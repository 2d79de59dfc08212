"""The gateway that is measured."""

from dataclasses import dataclass

from appliance.errors import GatewayError
from appliance.ic.principal import Principal


@dataclass
class BenchFailed(GatewayError):
    """A measurement could not be made. ``problem`` is a sentence."""

    problem: str

    def __str__(self) -> str:
        return self.problem


@dataclass(frozen=True)
class Target:
    """A gateway that speaks v2 at ``url``. Without ``pid`` its CPU and memory are not measured."""

    url: str
    principal: Principal
    pid: int | None = None
