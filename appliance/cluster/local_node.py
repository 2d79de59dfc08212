"""The gateway of a node, as the cluster uses it; ``appliance.gateway.local_node.LocalNode`` implements it."""

from collections.abc import Callable, Iterable
from typing import Protocol

from appliance.errors import GatewayError
from appliance.gateway.limits.cluster_rates import ClusterRates
from appliance.gateway.nodes import Known, Place, Told
from appliance.ic.principal import Principal


class LocalNode(Protocol):
    """The gateway of this node."""

    def nudge(self, canister_id: Principal) -> None:
        """Poll a canister at once, if it is polled."""

    def pause(self, url: str, seconds: float) -> None:
        """Leave an endpoint of the IC alone."""

    def held(self) -> Iterable[Place]:
        """The places that sessions of this node have."""

    def known(self) -> Iterable[Known]:
        """The clients of sessions of this node that canisters may know."""

    def end(self, was_told: Callable[[Known], Told], error: Callable[[], GatewayError], node: str) -> int:
        """Close the sessions of clients that canisters were told of, in the name of this node. Returns how many there
        were.
        """

    def tell(self, known: Known) -> bool:
        """See ``registry.speaking.Teller``."""

    @property
    def untold(self) -> int:
        """See ``registry.speaking.Teller``."""

    def given_up(self, node: str, **facts: object) -> None:
        """See ``registry.speaking.Teller``."""

    @property
    def sessions(self) -> int:
        """How many there are."""

    @property
    def rates(self) -> ClusterRates:
        """Its rate limits, as far as other nodes count them, too."""

    @property
    def poll_budget(self) -> float:
        """Polls a second that it may make."""
