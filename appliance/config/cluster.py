"""The section of ``gateway.yaml`` for several nodes that serve as one gateway. A part of ``schema``."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from appliance.config.fields.address import UnixAddress, parse_address
from appliance.config.fields.effect import Live, Restart
from appliance.config.fields.engine_url import check_engine_url
from appliance.config.fields.section import Section
from appliance.config.fields.units import Duration, Size
from appliance.config.fields.values import NAME, File, Key

EngineAddress = Annotated[str, AfterValidator(check_engine_url)]


def check_peer(text: str) -> str:
    """The normal form of an address of a node, as others reach it. Raises ValueError with the problem."""
    where = parse_address(text)
    if not isinstance(where, UnixAddress):
        if where.host in ("0.0.0.0", "::"):  # noqa: S104 - refused
            raise ValueError(f"other nodes cannot connect to {where.host}; write an address that is this machine's own")
        if where.port == 0:
            raise ValueError("other nodes have to know the port; write one from 1 to 65535")
    return str(where)


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
    peer: Annotated[Annotated[str, AfterValidator(check_peer)] | None, Restart()] = None
    """Where this node shows the others that it lives, whatever the engine says: ``HOST:PORT`` or ``unix:PATH``, as the
    others reach it, and where it listens. null: nobody gives this node up when it dies, and its canisters are told of
    its clients by its next start."""
    outgoing: Annotated[Annotated[str, Field(pattern=NAME)] | None, Live()] = None
    """A name for the address that requests to the IC come from. An endpoint that asks one node to be left alone
    (``Retry-After``) is left alone by all nodes with the same name. null: the name of this machine. Set it where
    several machines are behind one address."""
    give_up_after: Annotated[Duration, Field(ge=5, le=3600), Live()] = 30.0
    """Time without a heartbeat after which the others give a node up that does not answer at its ``peer`` either: they
    tell its canisters that its clients left."""
    registry: Annotated[Size, Field(ge=1024**2, le=64 * 1024**3), Live()] = 64 * 1024**2
    """What the engine keeps for the clients of one node, about 600 bytes each, so that others can speak for it. For
    those beyond, only the next start of this node can."""
    claim_timeout: Annotated[Duration, Field(ge=0.001, le=5), Live()] = 0.02
    """Time that an opening message waits until the engine has confirmed that no other node used it. Then it goes on
    without."""
    limit_timeout: Annotated[Duration, Field(ge=0.001, le=1), Live()] = 0.02
    """Time for the engine to say what other nodes have used of the limits with ``scope: cluster``. Nobody waits for it;
    a later answer is ignored, and meanwhile this node knows of its own clients only."""
    limit_interval: Annotated[Duration, Field(ge=0.001, le=1), Live()] = 0.01
    """Least time between two such questions. Each is about all clients that used a limit since the one before."""
    limit_keys: Annotated[int, Field(ge=100, le=1_000_000), Live()] = 10_000
    """Addresses, clients and canisters that wait to be told to the engine. What those beyond use of their limits is
    counted by this node only."""
    timeout: Annotated[Duration, Field(ge=0.1, le=60), Restart()] = 3.0
    """Time for a connection to the engine and for a heartbeat. Then the engine counts as away."""
    request_timeout: Annotated[Duration, Field(ge=0.1, le=60), Live()] = 2.0
    """Time for another node to answer what this one asks it for an operator, such as its sessions. Then the answer
    names it as silent. Changes of its configuration have 45 s."""
    request_age: Annotated[Duration, Field(ge=1, le=3600), Live()] = 30.0
    """How far the time of such a request may be from the clock of the node that gets it. Beyond that it is refused: the
    engine may have held it back."""
    requests: Annotated[int, Field(ge=1, le=1000), Restart()] = 16
    """Such requests under way at the same time that this node has sent, and that it works at. Further ones are
    refused."""
    commands: Annotated[int, Field(ge=4, le=1000), Restart()] = 32
    """Commands to the engine under way at the same time, each with a connection. Further ones are not made, as if the
    engine were away."""
    share_polls: Annotated[Literal["auto", "always", "never"], Live()] = "auto"
    """Whether one node asks a canister for all that poll it. ``auto``: where all of them together would poll more often
    than ``polling.budget``."""
    memory: Annotated[Size, Field(ge=1024**2, le=16 * 1024**3), Live()] = 64 * 1024**2
    """Memory of the engine for shared polls: 10 s of replies of canisters, and less where they are more than that. The
    oldest make room."""
    audit_interval: Annotated[Duration, Field(ge=1, le=60), Live()] = 10.0
    """Time between two polls that a node makes itself of a canister that another one asks."""
    claims: Annotated[int, Field(ge=1000, le=10_000_000), Restart()] = 250_000
    """Openings and places that the supervisor of workers keeps as their engine, about 500 bytes each. Above, it is as
    if the engine were away. It keeps as many counts of rate limits; above, the oldest makes room. Redis has a limit of
    its own."""
