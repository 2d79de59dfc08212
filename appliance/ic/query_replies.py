"""Reads replies to queries, and verifies the signatures of nodes on them as far as that is wanted."""

from collections.abc import Callable
from functools import partial

from appliance.crypto import QueryReply, verify_query_reply
from appliance.errors import GatewayError, QuerySignatureUnknownNode
from appliance.ic.node_keys import Keys, NodeKeys
from appliance.ic.queries import QuerySignatures
from appliance.ic.replies import read_query_reply
from appliance.threads import READ_AT_ONCE, VERIFICATION


class QueryReplies:
    """Those of one agent. ``clock`` is in ns since 1970."""

    def __init__(self, node_keys: NodeKeys, clock: Callable[[], int]) -> None:
        self._node_keys = node_keys
        self._clock = clock

    async def open(
        self, canister_id: bytes, request_id: bytes, body: bytes, signatures: QuerySignatures
    ) -> tuple[bytes, GatewayError | None]:
        """The reply (Candid) to a query with this request id, and why no node's signature proves it, where that is only
        reported.

        Raises UncertifiedReject, Malformed or TooLarge; where signatures are enforced a QuerySignature error, and what
        fetching the keys of nodes raises.
        """
        arg, doubt = None, None
        if signatures.mode != "off":
            signed, doubt = await self._signed(canister_id, request_id, body, signatures)
            if doubt is not None and signatures.mode == "enforce":
                raise doubt
            arg = None if signed is None else signed.arg
        if arg is None:  # nobody wants it verified, or it is a rejection
            arg = read_query_reply(body)
        return arg, doubt

    async def _signed(
        self, canister_id: bytes, request_id: bytes, body: bytes, signatures: QuerySignatures
    ) -> tuple[QueryReply | None, GatewayError | None]:
        """The reply as nodes signed it, or what is wrong with their signatures."""
        try:
            keys = self._node_keys.fresh(canister_id) or await self._node_keys.of(canister_id)
            try:
                return await self._verify(body, request_id, keys, signatures), None
            except QuerySignatureUnknownNode:
                newer = await self._node_keys.after_unknown(canister_id)
                if newer is None:
                    raise
                return await self._verify(body, request_id, newer, signatures), None
        except GatewayError as error:
            return None, error

    async def _verify(self, body: bytes, request_id: bytes, keys: Keys, signatures: QuerySignatures) -> QueryReply:
        now_ns, max_age_ns = self._clock(), signatures.max_age_ns
        if len(body) <= READ_AT_ONCE:
            return verify_query_reply(body, request_id, keys, now_ns=now_ns, max_age_ns=max_age_ns)
        verify = partial(verify_query_reply, body, request_id, keys, now_ns=now_ns, max_age_ns=max_age_ns)
        return await VERIFICATION.run(verify)
