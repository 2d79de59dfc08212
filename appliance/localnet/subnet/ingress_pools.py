"""The calls that replicas have received and that are in no block yet."""

from dataclasses import dataclass

from appliance.localnet.state.ingress import Call
from appliance.localnet.subnet.draws import Draws, Span


@dataclass
class _Entry:
    call: Call
    expiry_ns: int
    receipts: list[tuple[int, int]]
    """The replicas that users have sent it to, and when those received it."""


class IngressPools:
    """One pool per replica. A call that one of them receives is known to the others after a delay of its own."""

    def __init__(self, gossip_s: Span, draws: Draws) -> None:
        self._gossip_s = gossip_s
        self._draws = draws
        self._entries: dict[bytes, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def receive(self, call: Call, replica: int, *, now_ns: int, expiry_ns: int) -> Call:
        """Add a call that a user has sent to a replica. Returns the call that has this request id already, if any."""
        entry = self._entries.setdefault(call.request_id, _Entry(call, expiry_ns, []))
        entry.receipts.append((replica, now_ns))
        return entry.call

    def take(self, maker: int, *, now_ns: int, limit: int) -> list[Call]:
        """Remove the calls for a block: those that its maker has, in the order in which it received them.

        The IC sorts the calls of a canister by their arrival at the block maker; nothing else orders them.
        """
        arrivals = [(self._arrival_ns(entry, maker), entry.call) for entry in self._entries.values()]
        known = sorted((each for each in arrivals if each[0] <= now_ns), key=lambda each: each[0])
        calls = [call for _, call in known[:limit]]
        for call in calls:
            del self._entries[call.request_id]
        return calls

    def remove_expired(self, *, now_ns: int) -> None:
        """Remove calls that no block may take any more; they have no outcome, ever."""
        expired = [request_id for request_id, entry in self._entries.items() if entry.expiry_ns < now_ns]
        for request_id in expired:
            del self._entries[request_id]

    def _arrival_ns(self, entry: _Entry, replica: int) -> int:
        """When a replica has the call."""
        return min(time_ns + self._gossip_ns(entry.call, receiver, replica) for receiver, time_ns in entry.receipts)

    def _gossip_ns(self, call: Call, receiver: int, replica: int) -> int:
        if receiver == replica:
            return 0
        return round(self._draws.uniform(self._gossip_s, "gossip", call.request_id, receiver, replica) * 1e9)
