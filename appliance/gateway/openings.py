"""Opening messages on their way to the canister: what has to be known and done before one leaves."""

import contextlib
from functools import partial

from appliance.errors import GatewayError
from appliance.gateway.calls.queued import QueuedCall
from appliance.gateway.calls.scheduler import Kind
from appliance.gateway.close_calls import CloseCalls
from appliance.gateway.epochs import Epochs
from appliance.gateway.journal.entry import entry_of, opening_of
from appliance.gateway.nodes import Nodes, claim_of
from appliance.gateway.peer import Peer
from appliance.gateway.successions import Successions
from appliance.protocol.events import Join


class Openings:
    """Relays opening messages.

    Whoever has a copy of one can send it to another node, or to the next process, and the IC answers it like the first:
    the same call is executed once. So it is claimed before it leaves. Where the cluster cannot say whether the copy is
    the first, the first certified message of the session does, by its time (``Peer.begins_with``).
    """

    def __init__(self, *, epochs: Epochs, close_calls: CloseCalls, nodes: Nodes, successions: Successions) -> None:
        self._epochs = epochs
        self._successions = successions
        self._close_calls = close_calls
        self._nodes = nodes

    async def send(self, join: Join, queued: QueuedCall, peer: Peer) -> bytes | None:
        """Relay the opening message of a client. Raises GatewayError."""
        await self._close_calls.wait_for_earlier(join)
        if not peer.has_left:  # it would never be heard of again
            self._successions.begin(join, peer)
        for each in self._epochs:
            await each.late_close_calls.wait_for(join)
        epoch = self._epochs.of(peer.gateway)
        close_call = peer.session.close_call()
        known = None if close_call is None else entry_of(join, close_call).known(peer.gateway)
        claim = claim_of(join)._replace(known=known)
        is_claimed = await self._nodes.claim(claim, partial(self._claimed_late, peer))
        peer.is_first_use = is_claimed or not claim.request_id  # of what the gateway signs there are no copies
        if peer.is_first_use:
            await self.add_to_journal(join, peer)
        poller = epoch.pollers.get(join.canister_id)
        async with poller.opening() if poller is not None else contextlib.nullcontext():
            peer.expect_messages()
            return await epoch.calls.send(queued, Kind.OPENING, join.client_key)

    async def add_to_journal(self, join: Join, peer: Peer) -> None:
        """Keep a client on disk that its canister may know from now on. Not one whose opening message may be a copy:
        after a crash the next process would end the session that was opened elsewhere.
        """
        if (close_call := peer.session.close_call()) is not None:
            entry = entry_of(join, close_call)
            self._nodes.know(entry.known(peer.gateway))
            await self._epochs.of(peer.gateway).journal.add(entry, opening_of(join))
            peer.is_journaled = True

    @staticmethod
    def _claimed_late(peer: Peer, error: GatewayError | None) -> None:
        """The cluster knows by now whether the opening message of a client was used elsewhere."""
        peer.is_first_use = error is None
        if error is not None:
            peer.forgotten(error)
