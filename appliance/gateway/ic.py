"""The calls to the IC that the data plane makes; ``appliance.ic.agent.Agent`` implements them."""

from typing import Protocol

from appliance.crypto import Request
from appliance.ic.route import Route


class Source(Protocol):
    """Answers polls."""

    async def query(
        self,
        canister_id: bytes,
        method: str,
        arg: bytes,
        *,
        timeout_s: float | None = None,
        avoid_last_endpoint: bool = False,
    ) -> bytes:
        """The reply to a query in the gateway's name; with ``avoid_last_endpoint`` not from the last endpoint.

        Raises GatewayError.
        """


class Ic(Source, Protocol):
    """Answers polls and takes calls."""

    async def call(self, canister_id: bytes, method: str, arg: bytes) -> bytes:
        """The certified reply to a call in the gateway's name. Raises GatewayError."""

    async def submit(self, request: Request, /, *, route: Route | None = None) -> bytes | None:
        """Send a client's own signed bytes, repeatedly until they expire, to the endpoint of the route first. Returns
        the certified reply, or None where only acceptance can be known. Raises GatewayError.
        """

    async def accept(self, request: Request, route: Route, /) -> bool:
        """Send a client's own signed bytes to the endpoint of a route, and return True once a replica has them; False
        where that cannot be known. Raises nothing.
        """
