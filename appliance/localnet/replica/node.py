"""The nodes that answer requests of users. Where there is one, it knows the latest state at once."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from appliance.crypto import Request
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.certification import Ranges
from appliance.localnet.state.outcome import Outcome, Rejection


class Node(Protocol):
    """What the HTTP interface needs of the node that a request meets."""

    @property
    def height(self) -> int:
        """The height of the last certified state that it knows."""

    def admit(self, request: Request) -> Rejection | None:
        """None where a call may be submitted, otherwise the rejection."""

    def submit(self, request: Request) -> object:
        """Accept a call that `admit` accepts. One that was accepted before is not executed again."""

    async def execute(self, request: Request, *, wait_s: float) -> bool:
        """Submit a call and wait until its outcome is in the state of this node.

        False where that takes longer than ``wait_s``, and where another request waits for the same call: an agent that
        retries polls read_state instead.
        """

    def query(self, request: Request, ranges: Ranges) -> Outcome:
        """Execute a query."""

    def sign(self, response: Mapping[str, object], request_id: bytes) -> dict[str, object]:
        """The signature over the response to a query, an item of ``signatures``."""

    def certificate(self, paths: Sequence[Sequence[bytes]], ranges: Ranges) -> bytes:
        """A certificate of its state for these paths."""


class Nodes(Protocol):
    """The nodes of a subnet."""

    call_wait_s: float
    """How long a call of v3 or v4 waits for its outcome before it is answered with 202."""

    def pick(self) -> Node:
        """The node that the next request meets."""


class SingleNode:
    """Implements `Node` and `Nodes`: the replica itself."""

    def __init__(self, replica: Replica, *, call_wait_s: float) -> None:
        self._replica = replica
        self.call_wait_s = call_wait_s

    def pick(self) -> Node:
        """The one node."""
        return self

    @property
    def height(self) -> int:
        """See Node."""
        return self._replica.state.height

    def admit(self, request: Request) -> Rejection | None:
        """See Node."""
        return self._replica.admit(request)

    def submit(self, request: Request) -> object:
        """See Node."""
        return self._replica.submit(request)

    async def execute(self, request: Request, *, wait_s: float) -> bool:
        """See Node."""
        is_known = self._replica.ingress.get(request.request_id) is not None
        call = self._replica.submit(request)
        if is_known and not call.done.is_set():
            return False
        try:
            async with asyncio.timeout(wait_s):
                await call.done.wait()
        except TimeoutError:
            return False
        return True

    def query(self, request: Request, ranges: Ranges) -> Outcome:
        """See Node."""
        return self._replica.query(request, ranges)

    def sign(self, response: Mapping[str, object], request_id: bytes) -> dict[str, object]:
        """See Node."""
        return self._replica.authority.sign_response(response, request_id, self._replica.state.next_time())

    def certificate(self, paths: Sequence[Sequence[bytes]], ranges: Ranges) -> bytes:
        """See Node."""
        return self._replica.state.certificate(paths, ranges)
