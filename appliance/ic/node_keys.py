"""The keys of the nodes that sign replies to queries, from the certified state of their subnet.

Interface specification, "The system state tree": ``/subnet/<subnet id>/node/<node id>/public_key``.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from appliance.crypto import CertifiedTree, KnownNodes
from appliance.errors import GatewayError
from appliance.ic.principal import Principal

FRESH_NS = 300 * 10**9
"""How long keys are used without asking again; nodes come and go within days."""
STALE_NS = 3600 * 10**9
"""How long they are used while asking again fails."""
RETRY_NS = 10 * 10**9
"""Between two fetches for one canister because a node is unknown or a fetch failed: an endpoint that lies must not make
the gateway fetch for each reply."""
MAX_CANISTERS = 4096

_log = logging.getLogger(__name__)

Keys = dict[bytes, bytes]
Fetch = Callable[[bytes], Awaitable[CertifiedTree]]


@dataclass(slots=True)
class _Known:
    keys: Keys
    decoded: KnownNodes
    fetched_ns: int
    tried_ns: int


class NodeKeys:
    """Public keys (DER) by node id, for each canister those of its subnet. ``fetch`` returns the certified state at
    ``/subnet`` as it is for a canister; ``clock`` is in ns.
    """

    def __init__(self, fetch: Fetch, root_key: bytes, clock: Callable[[], int]) -> None:
        self._fetch = fetch
        self._root_subnet = Principal.self_authenticating(root_key)
        self._clock = clock
        self._known: dict[bytes, _Known] = {}

    def fresh(self, canister_id: bytes) -> Keys | None:
        """The keys of the subnet of a canister where ``of`` would return them without asking anybody."""
        known = self._known.get(canister_id)
        return known.keys if known is not None and self._clock() - known.fetched_ns < FRESH_NS else None

    def fresh_decoded(self, canister_id: bytes) -> KnownNodes | None:
        """The same for many replies."""
        known = self._known.get(canister_id)
        return known.decoded if known is not None and self._clock() - known.fetched_ns < FRESH_NS else None

    async def of(self, canister_id: bytes) -> Keys:
        """The keys of the subnet of a canister. Those that are known go on being used for an hour while newer ones
        cannot be fetched. Raises what ``fetch`` raises, and PathUnknown, where none are known.
        """
        known, now_ns = self._known.get(canister_id), self._clock()
        if known is not None and now_ns - known.fetched_ns < FRESH_NS:
            return known.keys
        if known is None or now_ns - known.fetched_ns >= STALE_NS:
            return await self._refresh(canister_id)
        if now_ns - known.tried_ns >= RETRY_NS:
            known.tried_ns = now_ns  # before the fetch: replies that come meanwhile must not begin another one
            try:
                return await self._refresh(canister_id)
            except GatewayError as error:
                _log.warning("the node keys of canister %s cannot be fetched: %s", Principal(canister_id), error)
        return known.keys

    async def after_unknown(self, canister_id: bytes) -> Keys | None:
        """Newer keys, because a node is not among the known; None where they were fetched just now, or cannot be."""
        known, now_ns = self._known.get(canister_id), self._clock()
        if known is not None:
            if now_ns - known.tried_ns < RETRY_NS:
                return None
            known.tried_ns = now_ns
        try:
            return await self._refresh(canister_id)
        except GatewayError:
            return None

    async def _refresh(self, canister_id: bytes) -> Keys:
        tree = await self._fetch(canister_id)
        nodes = [b"subnet", tree.subnet_id or self._root_subnet, b"node"]
        found = {node: tree.lookup([*nodes, node, b"public_key"]) for node in tree.children(nodes)}
        keys = {node: key for node, key in found.items() if key is not None}
        if len(self._known) >= MAX_CANISTERS:
            del self._known[next(iter(self._known))]
        now_ns = self._clock()
        self._known[canister_id] = _Known(keys, KnownNodes(keys), now_ns, now_ns)
        return keys
