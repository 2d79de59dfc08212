"""An IC in memory behind the data plane's own ``Ic`` protocol: canisters that queue messages as the CDK does, with real
certificates over real trees. What it is told to do wrong, it does wrong.
"""

import asyncio
import copy
import hashlib
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable

from appliance.crypto import BlsSecretKey, CandidTypes, Request, StateTree, encode_cbor, encode_certificate
from appliance.errors import BadReply, CandidError, CertificateError, GatewayError, Malformed, UncertifiedReject
from appliance.ic.principal import Principal
from appliance.ic.queries import EndpointReply
from appliance.ic.route import Route

ANSWER = CandidTypes("(variant {Ok; Err: text})")
OPEN = CandidTypes("(record {client_nonce: nat64; gateway_principal: principal})")
MESSAGE = CandidTypes("(record {msg: blob})")
CLOSE = CandidTypes("(record {client_key: record {client_principal: principal; client_nonce: nat64}})")
POLL = CandidTypes("(record {nonce: nat64})")
ACK = CandidTypes("(variant {AckMessage: record {last_incoming_sequence_num: nat64}})")
MESSAGES = CandidTypes(
    "(variant {Ok: record {messages: vec record {client_key: record {client_principal: principal; client_nonce: nat64};"
    " key: text; content: blob}; cert: blob; tree: blob; is_end_of_queue: bool}; Err: text})"
)
OK = ANSWER.encode({"Ok": None})
ROOT = BlsSecretKey.from_seed(b"the root of the tests, 32 bytes or more")


def err(text: str) -> bytes:
    return ANSWER.encode({"Err": text})


class FakeCanister:
    """``received`` has what clients sent, ``left`` the keys it was told of by ws_close."""

    def __init__(self, canister_id: Principal, gateway: Principal, *, batch: int = 50) -> None:
        self.id = canister_id
        self.gateway = gateway
        self.batch = batch
        self.reply_limit: int | None = None
        self.received: list[tuple[bytes, bytes]] = []
        self.left: list[bytes] = []
        self.on_message: Callable[[bytes, bytes], bytes] = lambda key, payload: OK
        self.on_open: Callable[[bytes], bytes] = lambda key: OK
        self.on_close: Callable[[bytes], bytes] = lambda key: OK
        self.install()

    def install(self) -> None:
        """As after a reinstallation: queue, nonces and clients are gone."""
        self.clients: Counter[bytes] = Counter()
        self.by_principal: dict[bytes, bytes] = {}
        self.queue: deque[tuple[int, bytes, bytes]] = deque()
        self.nonce = 0
        self.tree = StateTree()

    def key(self, nonce: int) -> str:
        return f"{self.gateway}_{nonce:020}"

    def acknowledge(self, at_ns: int) -> None:
        """Write an acknowledgement to every client of the canister, at this time."""
        content = ACK.encode({"AckMessage": {"last_incoming_sequence_num": 0}})
        for client_key in self.by_principal.values():
            self.send(client_key, content, is_service=True, at_ns=at_ns)

    def send(
        self, client_key: bytes, payload: bytes = b"", *, is_service: bool = False, at_ns: int | None = None
    ) -> None:
        self.clients[client_key] += 1
        content = b"\xd9\xd9\xf7" + encode_cbor(
            {
                "client_key": {
                    "client_principal": client_key[:-8],
                    "client_nonce": int.from_bytes(client_key[-8:], "big"),
                },
                "sequence_num": self.clients[client_key],
                "timestamp": time.time_ns() if at_ns is None else at_ns,
                "is_service_message": is_service or not payload,
                "content": payload,
            },
            tagged=False,
        )
        self.enqueue(client_key, content)

    def enqueue(self, client_key: bytes, content: bytes) -> None:
        """Certify any content and queue it for a client."""
        self.tree.set([b"websocket", self.key(self.nonce).encode()], hashlib.sha256(content).digest())
        self.queue.append((self.nonce, client_key, content))
        self.nonce += 1

    def update(self, request: Request) -> bytes:
        if request.method_name == "ws_open":
            (arg,) = OPEN.decode(request.arg)
            client_key = request.sender + arg["client_nonce"].to_bytes(8, "big")
            reply = self.on_open(client_key)
            if reply == OK:
                self.by_principal[request.sender] = client_key
                self.send(client_key)
            return reply
        (arg,) = MESSAGE.decode(request.arg)
        client_key = self.by_principal.get(request.sender)
        if client_key is None:
            return err(f"Client with principal {Principal(request.sender)} doesn't have an open connection")
        self.received.append((client_key, arg["msg"]))
        return self.on_message(client_key, arg["msg"])

    def close(self, arg: bytes) -> bytes:
        key = CLOSE.decode(arg)[0]["client_key"]
        client_key = key["client_principal"] + key["client_nonce"].to_bytes(8, "big")
        self.left.append(client_key)
        return self.on_close(client_key)

    def poll(self, nonce: int) -> bytes:
        found = [message for message in self.queue if message[0] >= nonce]
        batch = found[: self.batch]
        cert, tree = self._certify(batch) if batch else (b"", b"")
        messages = [
            {
                "client_key": {
                    "client_principal": Principal(client_key[:-8]),
                    "client_nonce": int.from_bytes(client_key[-8:], "big"),
                },
                "key": self.key(number),
                "content": content,
            }
            for number, client_key, content in batch
        ]
        end = len(batch) == len(found)
        reply = MESSAGES.encode({"Ok": {"messages": messages, "cert": cert, "tree": tree, "is_end_of_queue": end}})
        if self.reply_limit is not None and len(reply) > self.reply_limit:
            raise UncertifiedReject(5, "the payload is too large", "IC0504")
        return reply

    def without(self, *nonces: int) -> "FakeCanister":
        """The same canister with messages left out of its queue, all of it certified."""
        other = copy.copy(self)
        other.queue = deque(message for message in self.queue if message[0] not in nonces)
        other.tree = StateTree()
        for nonce, _, content in other.queue:
            other.tree.set([b"websocket", other.key(nonce).encode()], hashlib.sha256(content).digest())
        return other

    def _certify(self, batch: list[tuple[int, bytes, bytes]]) -> tuple[bytes, bytes]:
        state = StateTree()
        state.set([b"canister", self.id, b"certified_data"], self.tree.digest)
        state.set([b"time"], leb128(time.time_ns()))
        witness = state.witness([[b"canister", self.id], [b"time"]])
        first, last = self.key(batch[0][0]).encode(), self.key(batch[-1][0]).encode()
        shown = self.tree.witness_range([b"websocket"], first, last)
        return encode_certificate(witness, ROOT.sign_root(state.digest)), shown.to_cbor()


class FakeIc:
    """``before_query`` and ``before_submit`` are awaited first and may raise; ``spoil`` changes the reply to a poll. Of
    several ``endpoints`` each query begins at another; ``liars`` says what some of them answer from a nonce on.
    ``failed`` has the endpoints whose replies could not be used.
    """

    def __init__(self, *canisters: FakeCanister) -> None:
        self.canisters = {bytes(canister.id): canister for canister in canisters}
        self.log: list[tuple[str, bytes]] = []
        self.nonces: defaultdict[bytes, list[int]] = defaultdict(list)
        self.endpoints = ["http://one"]
        self.liars: dict[str, Callable[[int], bytes]] = {}
        self.asked: list[str] = []
        self.failed: list[str] = []
        self.spoil: Callable[[bytes], bytes] = lambda reply: reply
        self.before_query: Callable[[], object] = nothing
        self.before_submit: Callable[[Request], object] = nothing
        self.before_call: Callable[[], object] = nothing

    async def query_until(
        self, canister_id, method, arg, read, *, signatures, timeout_s=None, queue=None, keeps_body=False
    ):
        assert method == "ws_get_messages"
        problem: GatewayError | None = None
        for endpoint in self._rotated():
            self.asked.append(endpoint)
            await self.before_query()
            nonce = POLL.decode(arg)[0]["nonce"]
            self.nonces[bytes(canister_id)].append(nonce)
            lie = self.liars.get(endpoint)
            reply = lie(nonce) if lie else self.spoil(self.canisters[bytes(canister_id)].poll(nonce))
            try:
                return await read(EndpointReply(reply, endpoint, len(self.endpoints), None, arg, reply))
            except (BadReply, CertificateError, Malformed, CandidError) as error:
                self.failed.append(endpoint)
                problem = error
        raise problem

    async def reread(self, canister_id, method, query, body, *, signatures):
        assert method == "ws_get_messages"
        return body, None

    def _rotated(self) -> list[str]:
        first = self.endpoints.index(self.asked[-1]) + 1 if self.asked else 0
        return self.endpoints[first:] + self.endpoints[:first]

    async def accept(self, request: Request, route: Route, /) -> bool:
        return False

    async def submit(self, request: Request, /, *, route: Route | None = None) -> bytes | None:
        await self.before_submit(request)
        self.log.append((request.method_name, request.sender))
        canister = self.canisters.get(request.canister_id)
        if canister is None:
            raise UncertifiedReject(3, "Canister not found")
        return canister.update(request)

    async def call(self, canister_id, method, arg) -> bytes:
        assert method == "ws_close"
        await self.before_call()
        self.log.append((method, arg))
        return self.canisters[bytes(canister_id)].close(arg)


async def nothing(*_: object) -> None:
    await asyncio.sleep(0)


def leb128(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
