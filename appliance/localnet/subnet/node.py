"""One of several replicas: what it has received, what it knows, and what it answers."""

import asyncio
from collections.abc import Mapping, Sequence

from appliance.crypto import Request
from appliance.ic.principal import Principal
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.certification import Ranges
from appliance.localnet.state.clock import Clock, finishes_within
from appliance.localnet.state.ingress import Call
from appliance.localnet.state.outcome import Outcome, Rejection
from appliance.localnet.subnet.ingress_pools import IngressPools
from appliance.localnet.subnet.snapshot import Snapshot


class LaggingNode:
    """Implements `replica.node.Node`. Everything it answers is of the height that it knows."""

    def __init__(self, number: int, replica: Replica, pools: IngressPools, snapshot: Snapshot) -> None:
        self.number = number
        self._replica = replica
        self._clock: Clock = replica.clock
        self._pools = pools
        self._snapshot = snapshot
        self._waited_for: set[bytes] = set()
        self._reached: dict[int, asyncio.Event] = {}

    @property
    def height(self) -> int:
        """See Node."""
        return self._snapshot.state.height

    def learn(self, snapshot: Snapshot) -> None:
        """Know a later height; does nothing for an earlier one."""
        if snapshot.state.height <= self.height:
            return
        self._snapshot = snapshot
        for height in [height for height in self._reached if height <= self.height]:
            self._reached.pop(height).set()

    def admit(self, request: Request) -> Rejection | None:
        """See Node."""
        return self._snapshot.view.admit(request)

    def submit(self, request: Request) -> Call:
        """See Node. Puts the call into the pool of this replica, from where it comes to the others."""
        known = self._replica.ingress.get(request.request_id)
        if known is not None:
            return known
        sender, target = Principal(request.sender), Principal(request.canister_id)
        call = Call(request.request_id, sender, target, request.method_name, request.arg)
        return self._pools.receive(call, self.number, now_ns=self._clock.now_ns(), expiry_ns=request.ingress_expiry_ns)

    async def execute(self, request: Request, *, wait_s: float) -> bool:
        """See Node."""
        request_id = request.request_id
        # Another replica, which does not know of this wait, would wait: the IC tracks such requests replica by replica.
        if request_id in self._waited_for:
            return False
        call = self.submit(request)
        self._waited_for.add(request_id)
        try:
            return await finishes_within(self._clock, round(wait_s * 1e9), self._knows_outcome(call))
        finally:
            self._waited_for.discard(request_id)

    def query(self, request: Request, ranges: Ranges) -> Outcome:
        """See Node."""
        return self._snapshot.view.query(request, ranges)

    def sign(self, response: Mapping[str, object], request_id: bytes) -> dict[str, object]:
        """See Node. The time is that of the state, by which clients see how far the node lags behind."""
        time_ns = self._snapshot.state.time_ns
        return self._replica.authority.sign_response(response, request_id, time_ns, node=self.number)

    def certificate(self, paths: Sequence[Sequence[bytes]], ranges: Ranges) -> bytes:
        """See Node."""
        return self._snapshot.state.certificate(paths, ranges)

    async def _knows_outcome(self, call: Call) -> None:
        await call.done.wait()
        if self.height < call.height:
            await self._reached.setdefault(call.height, asyncio.Event()).wait()
