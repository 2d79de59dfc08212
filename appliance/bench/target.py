"""The gateway that is measured."""

import ssl
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
    """A gateway that speaks v2 at ``url``. Without ``pid`` its CPU and memory are not measured. ``tls`` is how clients
    begin TLS, None where they speak none.
    """

    url: str
    principal: Principal
    pid: int | None = None
    tls: ssl.SSLContext | None = None


def unverified() -> ssl.SSLContext:
    """TLS with whoever answers: for a gateway of one's own, whose certificate nobody has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
