"""The calls that replicas have received and that are in no block yet."""

from dataclasses import dataclass

from appliance.localnet.state.ingress import Call
from appliance.localnet.subnet.draws import Draws, Span


@dataclass
class _Entry:
    call: Call
    expiry_ns: int
    arrivals_ns: list[int]
    """When each replica has it; in order of the replicas' numbers."""


class IngressPools:
    """One pool per replica. A call that one of them receives is known to the others after a delay of its own."""

    def __init__(self, replicas: int, gossip_s: Span, draws: Draws) -> None:
        self._replicas = replicas
        self._gossip_s = gossip_s
        self._draws = draws
        self._entries: dict[bytes, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def receive(self, call: Call, replica: int, *, now_ns: int, expiry_ns: int) -> Call:
        """Add a call that a user has sent to a replica. Returns the call that has this request id already, if any."""
        arrivals = [self._arrival_ns(call.request_id, replica, other, now_ns) for other in range(self._replicas)]
        entry = self._entries.get(call.request_id)
        if entry is None:
            self._entries[call.request_id] = _Entry(call, expiry_ns, arrivals)
            return call
        entry.arrivals_ns = [min(pair) for pair in zip(entry.arrivals_ns, arrivals, strict=True)]
        return entry.call

    def take(self, maker: int, *, now_ns: int, limit: int) -> list[Call]:
        """Remove the calls for a block: those that its maker has, in the order in which it received them.

        The IC sorts the calls of a canister by their arrival at the block maker; nothing else orders them.
        """
        known = [entry for entry in self._entries.values() if entry.arrivals_ns[maker] <= now_ns]
        known.sort(key=lambda entry: entry.arrivals_ns[maker])
        calls = [entry.call for entry in known[:limit]]
        for call in calls:
            del self._entries[call.request_id]
        return calls

    def remove_expired(self, *, now_ns: int) -> None:
        """Remove calls that no block may take any more; they have no outcome, ever."""
        expired = [request_id for request_id, entry in self._entries.items() if entry.expiry_ns < now_ns]
        for request_id in expired:
            del self._entries[request_id]

    def _arrival_ns(self, request_id: bytes, sender: int, receiver: int, now_ns: int) -> int:
        if sender == receiver:
            return now_ns
        return now_ns + round(self._draws.uniform(self._gossip_s, "gossip", request_id, sender, receiver) * 1e9)
