"""The gateway of a node, as its cluster uses it."""

from collections.abc import Callable, Iterator
from typing import Protocol

from appliance.errors import GatewayError
from appliance.gateway.gateway import Gateway
from appliance.gateway.journal.entry import entry_of, entry_of_known
from appliance.gateway.limits.cluster_rates import ClusterRates
from appliance.gateway.nodes import Known, Place, Told, place_of
from appliance.gateway.peer import Peer
from appliance.ic.principal import Principal


class Endpoints(Protocol):
    """Those of the IC, as the gateway asks them (``ic.http.transport.HttpTransport``)."""

    def pause(self, url: str, seconds: float) -> None:
        """Leave one alone."""


class LocalNode:
    """Implements ``cluster.node.LocalNode``."""

    def __init__(self, gateway: Gateway, endpoints: Endpoints) -> None:
        self._gateway = gateway
        self._endpoints = endpoints

    @property
    def sessions(self) -> int:
        """Clients that have joined."""
        return len(self._gateway.hub)

    @property
    def rates(self) -> ClusterRates:
        """What it has allowed of the rate limits that all nodes count."""
        return self._gateway.limits.cluster

    @property
    def poll_budget(self) -> float:
        """Polls a second that it may make."""
        return self._gateway.epochs.poll_budget.rate

    def nudge(self, canister_id: Principal) -> None:
        """Poll a canister at once, if it is polled: another node has sent something to it."""
        for epoch in self._gateway.epochs:
            if (poller := epoch.pollers.get(canister_id)) is not None:
                poller.nudge()

    def pause(self, url: str, seconds: float) -> None:
        """Leave an endpoint alone: it has asked another node behind the same address to be."""
        self._endpoints.pause(url, seconds)

    def held(self) -> Iterator[Place]:
        """The places that sessions of this gateway have in the cluster."""
        for peer in self._gateway.connections:
            if peer.join is not None and peer.is_known and (place := place_of(peer.join)).group:
                yield place

    def known(self) -> Iterator[Known]:
        """The clients of sessions here that canisters may know. Not those that left and whose close call waits: they
        may have been told of by others.
        """
        for _, known in self._clients():
            yield known

    def end(self, was_told: Callable[[Known], Told], error: Callable[[], GatewayError], node: str) -> int:
        """Close the sessions of clients that canisters were told of, by other nodes in the name of this one. Where that
        is certain, no close call is made, unless whoever makes it dies. Returns how many there were.
        """
        ended = 0
        for peer, known in self._clients():
            told = was_told(known)
            if told == "yes":
                peer.forgotten(error())
                self._gateway.epochs.of(known.gateway).late_close_calls.start(
                    [entry_of_known(known._replace(node=node))]
                )
            elif told == "maybe":
                peer.fail(error())
            ended += told != "no"
        return ended

    def tell(self, known: Known) -> bool:
        """Have the canister told that a client of another node left, in the turn of its close call. Returns False for
        one whose session had a principal that this gateway does not sign for.
        """
        epoch = next((each for each in self._gateway.epochs if each.principal == known.gateway), None)
        if epoch is None:
            return False
        # Whoever has the session here is not told of, whatever the engine says.
        if known.client_key not in self._gateway.hub.members(known.canister_id):
            epoch.late_close_calls.start([entry_of_known(known)])
        return True

    @property
    def untold(self) -> int:
        """Close calls that are due for clients without a session here."""
        return self._gateway.epochs.pending_late_close_calls

    def given_up(self, node: str, **facts: object) -> None:
        """Publish that a node is given up."""
        self._gateway.event_bus.publish("node.given_up", node=node, **facts)

    def _clients(self) -> Iterator[tuple[Peer, Known]]:
        for peer in self._gateway.connections:
            if peer.join is not None and peer.is_known and (call := peer.session.close_call()) is not None:
                yield peer, entry_of(peer.join, call).known(peer.gateway)
