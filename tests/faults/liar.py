"""What a lying endpoint can know and make: real certificates of other times, other canisters and other networks, and a
gateway of its own at the canister.

A single liar has no key of the subnet. Where a function here signs, the result stands for a certificate that the subnet
has really made, only not for this moment or this question.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

from appliance.crypto import CandidInterface, CandidTypes, HashTree, SigningKey, Verifier, decode_cbor, encode_cbor
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.state.certification import Authority, leb128
from appliance.localnet.websocket.interface import interface
from tests.faults.canister import TEXT
from tests.faults.proxy import Answer, NothingToSpoil

PAGE = CandidInterface(interface("v2", TEXT)).methods["ws_get_messages"].results
OPEN = CandidTypes("(record {client_nonce: nat64; gateway_principal: principal})")
NONCE = CandidTypes("(record {nonce: nat64})")
FOLLOWERS = 5
"""Clients of the liar's gateway: more than the real one has, so that its queue is always ahead."""

Node = list[Any]
Page = dict[str, Any]

_FORK, _LABEL, _LEAF = 1, 2, 3


class Liar:
    """Of a network whose keys come from ``seed``. A context manager: inside it the liar has its own gateway."""

    def __init__(self, *, seed: bytes, url: str, root_key: bytes, canister_id: Principal) -> None:
        self.authority = Authority(subnet=True, seed=seed)
        self.stranger = Authority(subnet=True, seed=b"another network " + seed)
        self.canister_id = canister_id
        self._url = url
        self._root_key = root_key
        self._gateway: Agent | None = None

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[None]:
        """Register a gateway at the canister, by clients that open through it."""
        async with AsyncExitStack() as stack:
            transport = await stack.enter_async_context(HttpTransport([self._url], timeout_s=15, max_reply=1 << 22))
            verifier = Verifier(self._root_key)
            gateway = Agent(transport, _somebody(), verifier)
            for number in range(FOLLOWERS):
                follower = Agent(transport, _somebody(), verifier)
                arg = OPEN.encode({"client_nonce": number, "gateway_principal": gateway.principal})
                await follower.call(self.canister_id, "ws_open", arg)
            self._gateway = gateway
            yield

    async def foreign_page(self, nonce: int) -> bytes:
        """The canister's certified messages for the liar's gateway, as Candid."""
        if self._gateway is None:
            raise NothingToSpoil
        return await self._gateway.query(self.canister_id, "ws_get_messages", NONCE.encode({"nonce": nonce}))


def _somebody() -> KeyIdentity:
    return KeyIdentity(SigningKey.generate("ed25519"))


# --- replies to polls -----------------------------------------------------------------------------------------------


def nonce_asked(body: bytes) -> int:
    """The nonce that a poll begins at, from its envelope. Raises NothingToSpoil where it is another query."""
    envelope = cast("dict[str, Any]", decode_cbor(body))
    if envelope["content"]["method_name"] != "ws_get_messages":
        raise NothingToSpoil
    (arg,) = NONCE.decode(envelope["content"]["arg"])
    return cast("dict[str, int]", arg)["nonce"]


def page_of(answer: Answer) -> Page:
    """The page of messages in an answer. Raises NothingToSpoil where it has no messages."""
    page = any_page_of(answer)
    if not page["messages"]:
        raise NothingToSpoil
    return page


def any_page_of(answer: Answer) -> Page:
    """As `page_of`, also without messages."""
    fields = decode_cbor(answer.body) if answer.status == 200 else {}
    if not isinstance(fields, dict) or fields.get("status") != "replied":
        raise NothingToSpoil
    (result,) = PAGE.decode(fields["reply"]["arg"])
    if not isinstance(result, dict) or "Ok" not in result:
        raise NothingToSpoil
    return cast("Page", result["Ok"])


def with_reply(answer: Answer, arg: bytes) -> bytes:
    """The body of the answer with another reply; the node's signature stays and no longer fits."""
    fields = cast("dict[str, Any]", decode_cbor(answer.body))
    return encode_cbor({**fields, "reply": {"arg": arg}})


def with_page(answer: Answer, page: Page) -> bytes:
    """The same with another page."""
    return with_reply(answer, PAGE.encode({"Ok": page}))


# --- certificates ---------------------------------------------------------------------------------------------------


def with_certificate(answer: Answer, change: Callable[[bytes], bytes]) -> bytes:
    """The body of the answer with its certificate changed, of whatever kind the request is. Raises NothingToSpoil
    where it has none."""
    fields = decode_cbor(answer.body) if answer.status == 200 and answer.body else {}
    if not isinstance(fields, dict):
        raise NothingToSpoil
    if isinstance(certificate := fields.get("certificate"), bytes):
        return encode_cbor({**fields, "certificate": change(certificate)})
    page = page_of(answer)
    return with_page(answer, {**page, "cert": change(page["cert"])})


def fields_of(certificate: bytes) -> dict[str, Any]:
    """The fields of a certificate: tree, signature, perhaps delegation."""
    return cast("dict[str, Any]", decode_cbor(certificate))


def signed(tree: Node, authority: Authority, *, now_ns: int) -> bytes:
    """A certificate by the keys of a network over a tree, with a delegation of this time."""
    encoded = encode_cbor(tree)
    signature = authority.sign_state(HashTree.from_cbor(encoded).digest)
    delegation = authority.delegation("flat", now_ns=now_ns)
    assert delegation is not None
    subnet_id, certificate = delegation
    fields = {"subnet_id": bytes(subnet_id), "certificate": certificate}
    return encode_cbor({"tree": tree, "signature": signature, "delegation": fields})


def with_leaf(tree: Node, label: bytes, value: bytes) -> Node:
    """A tree whose leaf below a label has another value."""
    if tree[0] == _FORK:
        return [_FORK, with_leaf(tree[1], label, value), with_leaf(tree[2], label, value)]
    if tree[0] == _LABEL and tree[1] == label and tree[2][0] == _LEAF:
        return [_LABEL, label, [_LEAF, value]]
    return tree


def with_label(tree: Node, label: bytes, other: bytes) -> Node:
    """A tree with another name for a label, wherever it is."""
    if tree[0] == _FORK:
        return [_FORK, with_label(tree[1], label, other), with_label(tree[2], label, other)]
    if tree[0] == _LABEL:
        return [_LABEL, other if tree[1] == label else tree[1], with_label(tree[2], label, other)]
    return tree


def at_time(certificate: bytes, authority: Authority, time_ns: int, *, delegated_ns: int) -> bytes:
    """The certificate as the network would have made it at another time."""
    return signed(with_leaf(fields_of(certificate)["tree"], b"time", leb128(time_ns)), authority, now_ns=delegated_ns)
