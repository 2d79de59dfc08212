"""``ws_close`` calls: they end, at the canister, the sessions of clients that are gone.

Four registers know a client that leaves. This is which of them lets go when:

    socket gone      ``Gateway.leave``: the client is a member no more and its key is closing (``Hub``): a client with
                     the same key is refused with ClientLeaving. ``pending`` counts it, and with it the listener
                     (``max_connections``). If its ``Join`` has an ``after``, ``_by_predecessor`` has the close call.
    relays settled   The client's own calls have ended. Only now ``ws_close`` is called: before, it could overtake a
                     message, and the canister would refuse that as one of an unknown client.
    close call done  Answered, failed, or not needed: ``_done`` frees the key, counts down and removes the entry of
                     ``_by_predecessor``, in one turn of the loop. There is no other place that frees a key.
    then             An opening with the same ``after``, which joined under another key and has waited in
                     ``wait_for_earlier``, is relayed.

A failed close call frees the key too: to keep it closing would lock the client out for as long as the gateway runs,
while canisters drop an old session by themselves, at the next opening or when its keep-alives stay away. The client
stays in the journal, and the next start tries again (``journal.late_close_calls``): by then its session, and any that
it opened since, is over. So does a client whose close call is cancelled because the time for stopping is over.

A canister of v2 that does not know the gateway refuses the close call with words that say so ("Gateway with
principal … is not registered"). It registers the gateway with the first client, so it has forgotten every client whose
session was open when the call was made. The refusal is certified.

In a cluster a client may be back at another node by then, with a key (v0) or a principal (v1) that the close call would
end there. So the cluster is asked first. A place that another node has taken over needs no close call; where nobody can
say, because the engine is away, the close call is a late one, which waits until that is known.

One that the canister does not know took the place of its client all the same, with its opening: it is given back, or
the session at the node that had it before would not be reported when it leaves.

One that leaves while another with the same ``after`` opens waits for the end of that: if it is open then, the canister
has replaced the session that left, and the close call would end the new one.

``after`` is needed beside the key because canisters of generation v1 keep one client for a principal while the key is
the session's own: the new session has another key, and the late close call of the old one would still remove it.
"""

import asyncio
import re
from collections.abc import Collection

import structlog

from appliance.errors import CanisterRefused, GatewayError, SessionReplaced
from appliance.gateway.epochs import Epoch
from appliance.gateway.hub import Hub
from appliance.gateway.journal.entry import entry_of
from appliance.gateway.nodes import Nodes, place_of
from appliance.gateway.peer import Peer
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.successions import Successions
from appliance.gateway.tasks import Tasks
from appliance.ic.principal import Principal
from appliance.protocol.events import Call, Join

_log = structlog.get_logger(__name__)

_UNKNOWN_GATEWAY = re.compile("Gateway with principal .* is not registered")


class CloseCalls:
    """The close calls that are due or under way. ``pending`` counts them."""

    def __init__(self, *, hub: Hub, tasks: Tasks, counters: Counters, nodes: Nodes, successions: Successions) -> None:
        self.pending = 0
        self._nodes = nodes
        self._successions = successions
        self._hub = hub
        self._tasks = tasks
        self._counters = counters
        self._by_predecessor: dict[tuple[Principal, bytes], set[asyncio.Task[None]]] = {}

    def start(self, join: Join, peer: Peer, epoch: Epoch) -> "asyncio.Task[None]":
        """Begin the close call of a client that has left the hub, and free its key afterwards. ``epoch`` is that of its
        session. Returns the task.
        """
        self.pending += 1
        others = self._successions.others(join)
        task = self._tasks.start(self._notify_closed(join, peer, epoch, others))
        if join.after:
            self._by_predecessor.setdefault((join.canister_id, join.after), set()).add(task)
        task.add_done_callback(lambda task: self._done(join, task))
        return task

    async def wait_for_earlier(self, join: Join) -> None:
        """Wait until no client with the same ``after`` has a close call pending."""
        # In a loop: another of them may leave while this waits.
        while earlier := self._by_predecessor.get((join.canister_id, join.after)):
            await asyncio.wait(earlier)

    def _done(self, join: Join, task: "asyncio.Task[None]") -> None:
        # A callback of the task, not its last line: it runs also when stopping cancels the task before its first line.
        self.pending -= 1
        self._hub.free(join)
        if (earlier := self._by_predecessor.get((join.canister_id, join.after))) is not None:
            earlier.discard(task)
            if not earlier:
                del self._by_predecessor[join.canister_id, join.after]

    async def _notify_closed(
        self, join: Join, peer: Peer, epoch: Epoch, others: "Collection[asyncio.Future[bool]]"
    ) -> None:
        await peer.relays.settled()
        if others:
            await asyncio.wait(others)  # not gather, which would pass a cancellation on to them
            if any(other.result() for other in others):
                peer.forgotten(SessionReplaced(str(Principal(join.principal))))
        # Asked only now: whether the canister knows the client may have been decided by the last of its calls.
        if not peer.is_known or (call := peer.session.close_call()) is None:
            if peer.is_journaled:  # else the entry is that of an earlier session, whose late close call is still due
                epoch.journal.remove(join.canister_id, join.client_key)
            if peer.is_journaled or peer.is_first_use:
                self._nodes.forget(join.canister_id, join.client_key)
            await self._give_back(join)
            return
        place = place_of(join)
        match await self._nodes.release(place):
            case "taken":
                epoch.journal.remove(join.canister_id, join.client_key)
                self._nodes.forget(join.canister_id, join.client_key)
            case "unknown":
                epoch.journal.keep(join.canister_id, join.client_key)
                epoch.late_close_calls.start([entry_of(join, call)])
            case "free":
                await self._call(join, call, peer, epoch)
                self._nodes.released(place)

    async def _give_back(self, join: Join) -> None:
        """The opening of a client took its place from another node, maybe, and the canister does not know the client:
        the session there must be reported when it leaves.
        """
        place = place_of(join)
        # Whoever else has the place here gives it back. Another close call would lose it before its end.
        others = self._by_predecessor.get((join.canister_id, join.after), ())
        if not place.group or self._successions.has_other(join) or len(others) > 1:
            return
        if await self._nodes.release(place) == "free":
            self._nodes.released(place)

    async def _call(self, join: Join, call: Call, peer: Peer, epoch: Epoch) -> None:
        open_then = list[bytes]()
        try:
            members = epoch.members(join.canister_id)
            open_then = [key for key, member in members.items() if member.is_open]
            reply = await epoch.calls.close(join.canister_id, join.client_key, call.arg)
            peer.session.answered(call.method_name, reply)
        except CanisterRefused as error:
            _log.debug("the canister had forgotten the client", client=join.client, cause=str(error))
            if _UNKNOWN_GATEWAY.match(error.text):
                epoch.forgotten(join.canister_id, open_then)
        except GatewayError as error:
            self._counters.failed_farewells[error.reason] += 1
            _log.warning("ws_close failed", client=join.client, cause=str(error))
            epoch.journal.keep(join.canister_id, join.client_key)
            return
        epoch.journal.remove(join.canister_id, join.client_key)
        self._nodes.forget(join.canister_id, join.client_key)
        self._counters.farewells += 1
