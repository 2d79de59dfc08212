"""The calls to the IC that the data plane makes; ``appliance.ic.agent.Agent`` implements them."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from appliance.crypto import PollAnswer, PollQueue, Request
from appliance.errors import GatewayError
from appliance.ic.queries import QuerySignatures
from appliance.ic.route import Route

T = TypeVar("T")


class EndpointReply(Protocol):
    """The reply of one endpoint to a query."""

    @property
    def arg(self) -> bytes:
        """Candid."""

    @property
    def endpoint(self) -> str:
        """Its address."""

    @property
    def endpoints(self) -> int:
        """How many endpoints there are."""

    @property
    def doubt(self) -> GatewayError | None:
        """Why no node's signature proves it, where that is only reported."""

    @property
    def query(self) -> bytes:
        """The signed query."""

    @property
    def body(self) -> bytes:
        """What the endpoint sent."""

    @property
    def answer(self) -> PollAnswer | None:
        """The reply as it was read and verified on its way, if it was."""


class Source(Protocol):
    """Answers polls."""

    async def query_until(
        self,
        canister_id: bytes,
        method: str,
        arg: bytes,
        read: Callable[[EndpointReply], Awaitable[T]],
        *,
        signatures: QuerySignatures,
        timeout_s: float | None = None,
        queue: PollQueue | None = None,
        keeps_body: bool = False,
    ) -> T:
        """Query one endpoint after the other, in the gateway's name, until ``read`` accepts a reply; return what it
        makes of it. Each query of a canister begins at another endpoint than the last. Raises GatewayError.

        With the ``queue`` that the query is about, the reply may have an ``answer``: then query and body are there only
        with ``keeps_body``.
        """

    async def reread(
        self, canister_id: bytes, method: str, query: bytes, body: bytes, *, signatures: QuerySignatures
    ) -> tuple[bytes, GatewayError | None]:
        """The reply (Candid) in an answer to a query that another node of this gateway made, verified as an own one;
        and why no node's signature proves it, where that is only reported. Raises GatewayError.
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
