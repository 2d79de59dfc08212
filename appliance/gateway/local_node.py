"""The gateway of a node, as its cluster uses it."""

from collections.abc import Iterator

from appliance.gateway.gateway import Gateway
from appliance.gateway.nodes import Place, place_of
from appliance.ic.principal import Principal


class LocalNode:
    """Implements ``cluster.node.LocalNode``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @property
    def sessions(self) -> int:
        """Clients that have joined."""
        return len(self._gateway.hub)

    def nudge(self, canister_id: Principal) -> None:
        """Poll a canister at once, if it is polled: another node has sent something to it."""
        for epoch in self._gateway.epochs:
            if (poller := epoch.pollers.get(canister_id)) is not None:
                poller.nudge()

    def held(self) -> Iterator[Place]:
        """The places that sessions of this gateway have in the cluster."""
        for peer in self._gateway.connections:
            if peer.join is not None and peer.is_known and (place := place_of(peer.join)).group:
                yield place
