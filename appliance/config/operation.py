"""The sections of ``gateway.yaml`` for operators and their machines: the control plane and metrics.

A part of ``schema``, which has the other sections.
"""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from appliance.config.fields.address import TcpAddress, parse_address
from appliance.config.fields.effect import Live, Restart
from appliance.config.fields.section import Section
from appliance.config.fields.values import (
    Address,
    File,
    HostName,
    Misplaced,
    digits_as_text,
    none_or_several,
    unordered,
)


def _distinct(addresses: list[str]) -> list[str]:
    for position, address in enumerate(addresses):
        if address in addresses[:position]:
            raise Misplaced((position,), f"the address {address} is listed twice")
    return addresses


class Control(Section):
    """The control plane: API, web page, and the address that ``icws`` commands use."""

    listen: Annotated[list[Address], BeforeValidator(none_or_several), AfterValidator(_distinct), Restart()] = [
        "unix:data/control.sock"
    ]
    """One or more of ``unix:path`` (whoever may open the socket is an admin) and ``host:port`` (needs ``tokens``); null
    disables the control plane."""
    group: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"), Restart()] = None
    """Group of the Unix sockets, by name or number; the user of the gateway must be a member. null: its own group."""
    mode: Annotated[str, BeforeValidator(digits_as_text), Field(pattern=r"^0?[0-7]{3}$"), Restart()] = "660"
    """Permissions of the Unix sockets, as three octal digits."""
    tokens: Annotated[File | None, Live(is_always_read=True)] = None
    """File with one token per line: name, role (``viewer``, ``operator`` or ``admin``) and SHA-256 of the token in
    hexadecimal. ``icws tokens`` writes it."""
    hosts: Annotated[list[HostName], AfterValidator(unordered), Live()] = []
    """Host names of the API, without port. IP addresses and ``localhost`` always work; other names are refused, to
    protect against DNS rebinding."""
    history: Annotated[File | None, Restart()] = Path("data/history")
    """Folder for the revisions of the configuration (files with mode 0600). null keeps them in memory only."""
    keep: Annotated[int, Field(ge=2, le=10_000), Live()] = 50
    """Number of revisions to keep."""

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        for listen in self.listen:
            if self.tokens is None and isinstance(parse_address(listen), TcpAddress):
                advice = "name a file of tokens in control.tokens, `icws tokens new` makes its lines; or use unix:/path"
                raise Misplaced(("listen",), f"{listen} is open to other machines; {advice}")
        return self


class Metrics(Section):
    """Metrics."""

    listen: Annotated[Address | None, Restart()] = None
    """Address that serves ``/metrics`` and nothing else, without a token: ``host:port`` or ``unix:path``. Choose one
    that only your Prometheus can reach. If it is taken, the gateway runs without and tries again."""
    canisters: Annotated[int, Field(ge=0, le=1000), Live()] = 50
    """Number of canisters with a label of their own: those with the most clients. The rest shares ``_other``. The page
    has charts of so many, too, for which it keeps up to 100 kB of each.
    """
    reference_names: Annotated[bool, Live()] = False
    """Export ``clients_connected``, ``active_pollers`` and ``client_connected_count`` too, as the reference gateway
    does, for dashboards that exist."""
