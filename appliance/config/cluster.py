"""The section of ``gateway.yaml`` for several nodes that serve as one gateway. A part of ``schema``."""

from typing import Annotated

from pydantic import AfterValidator, Field

from appliance.config.fields.effect import Live, Restart
from appliance.config.fields.engine_url import check_engine_url
from appliance.config.fields.section import Section
from appliance.config.fields.units import Duration
from appliance.config.fields.values import NAME, File, Key

EngineAddress = Annotated[str, AfterValidator(check_engine_url)]


class Cluster(Section):
    """Several gateways with one identity that serve as one. Without this section a gateway is alone, or the workers of
    one machine (``gateway.workers``) are among themselves. See scaling.md."""

    url: Annotated[EngineAddress | None, Restart()] = None
    """The engine that the nodes share, Redis or Valkey: ``redis://HOST:PORT``, ``rediss://HOST:PORT`` with TLS,
    ``unix:///PATH``, or ``sentinel://HOST:PORT,HOST:PORT/NAME`` (``sentinels://`` with TLS). A user goes before the
    host (``redis://icws@HOST``), a number of a database behind it. null: the supervisor of the workers of this machine,
    which are all nodes then."""
    name: Annotated[str, Field(pattern=NAME), Restart()] = "main"
    """Name of the cluster, the same at all of its nodes. Several clusters may share an engine."""
    node: Annotated[str | None, Field(pattern=NAME), Restart()] = None
    """Name of this node, which no other node of the cluster may have; workers add ``.1``, ``.2`` and so on. null: the
    name of this machine."""
    password_file: Annotated[Key | None, Live(is_always_read=True)] = None
    """File with the password of the engine; or ``credential:NAME``, ``env:NAME`` as in ``gateway.identity``. Each
    connection reads it."""
    ca: Annotated[File | None, Restart()] = None
    """PEM file with the authorities that may have signed the certificate of the engine. null: those of this machine."""
    claim_timeout: Annotated[Duration, Field(ge=0.001, le=5), Live()] = 0.02
    """Time that an opening message waits until the engine has confirmed that no other node used it. Then it goes on
    without."""
    timeout: Annotated[Duration, Field(ge=0.1, le=60), Restart()] = 3.0
    """Time for a connection to the engine and for a heartbeat. Then the engine counts as away."""
    commands: Annotated[int, Field(ge=4, le=1000), Restart()] = 32
    """Commands to the engine under way at the same time, each with a connection. Further ones are not made, as if the
    engine were away."""
    claims: Annotated[int, Field(ge=1000, le=10_000_000), Restart()] = 250_000
    """Openings and places that the supervisor of workers keeps as their engine, about 500 bytes each. Above, it is as
    if the engine were away. Redis has a limit of its own."""
