"""What the data plane needs of the IC; ``appliance.ic.agent.Agent`` has it."""

from typing import Protocol

from appliance.crypto import Request


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
        """The reply to a query in the gateway's name, from another endpoint than the last time if asked so.

        Raises GatewayError.
        """


class Ic(Source, Protocol):
    """Takes calls too."""

    async def call(self, canister_id: bytes, method: str, arg: bytes) -> bytes:
        """The certified reply to a call in the gateway's name. Raises GatewayError."""

    async def submit(self, request: Request, /) -> bytes | None:
        """Send a client's own signed bytes, again and again until they expire. Returns the certified reply, or None
        where only acceptance can be known. Raises GatewayError.
        """
