"""Which wire generation is spoken where: by the path of the upgrade request, never by a guess."""

from collections.abc import Iterable
from typing import NamedTuple

from appliance.config.schema import Config
from appliance.ic.principal import Principal
from appliance.protocol.generations import SESSIONS

CANISTER = "/canister/"


class Route(NamedTuple):
    """What a path leads to: a wire generation, and the only canister to talk to if the path names one."""

    generation: str
    canister_id: Principal | None = None


def route(path: str, root: str, config: Config) -> Route | str:
    """The route of a request's path, or a sentence for people where there is none. ``root`` is spoken at ``/``."""
    path = path.partition("?")[0].rstrip("/")
    if not path:
        return Route(root)
    if path[1:] in SESSIONS:
        return Route(path[1:])
    if path.startswith(CANISTER):
        return _route_to(path.removeprefix(CANISTER), config)
    return f"There is no WebSocket here; it is at one of: {', '.join(['/', *_paths(SESSIONS)])}, {CANISTER}NAME\n"


def _route_to(name: str, config: Config) -> Route | str:
    canister = config.named(name)
    if canister is None:
        return f"There is no canister {name[:64]!r} in the configuration of this gateway.\n"
    if len(canister.generation) > 1:
        several = " or ".join(_paths(canister.generation))
        return f"Canister {name} serves several generations of clients; connect to {several}\n"
    return Route(canister.generation[0], canister.id)


def _paths(names: Iterable[str]) -> list[str]:
    return [f"/{name}" for name in names]
