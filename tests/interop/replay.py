"""Lives a recorded session again: what the client sent is sent again over real sockets, byte for byte, to this gateway
in front of a canister on the local IC that says what the recorded one said.

What comes back must be what the recording has, but for times, certificates and the gateway's name. The clocks of the
gateway and of the local IC stand where they stood then, because signed calls expire.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
from websockets.asyncio.client import ClientConnection, connect

from appliance.config.schema import Config
from appliance.crypto import SigningKey, Verifier, decode_cbor
from appliance.gateway.gateway import Gateway
from appliance.gateway.sockets.listener import Listener
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.net import Localnet
from appliance.localnet.state.clock import ManualClock
from appliance.localnet.websocket.canister import WebSocketCanister, WsInitParams
from appliance.localnet.websocket.wire import SERVICE_MESSAGE
from tests.interop.keyless import Keyless
from tests.interop.node import PATIENCE_S
from tests.interop.recording import CANISTER_ID, Frame, Recording, content_of, is_certified, meaning, open_message

ACK_INTERVAL_MS = 61_000


class Remembering(WebSocketCanister):
    """Says what the recorded canister said, each thing when that one did."""

    def __init__(self, recording: Recording, gateway: Principal) -> None:
        params = WsInitParams(send_ack_interval_ms=None if recording.generation == "v0" else ACK_INTERVAL_MS)
        super().__init__(params, generation=recording.generation, gateway=gateway)
        self._words = deque(recording.said)
        self.left = asyncio.Event()

    def on_open(self, env: Environment, client: Any) -> None:
        """That of v0 greeted."""
        if self.dialect.generation == "v0":
            self.send(env, client, self._words.popleft())

    def on_message(self, env: Environment, client: Any, message: bytes) -> None:
        self.send(env, client, self._words.popleft())

    def on_close(self, env: Environment, client: Any) -> None:
        self.left.set()

    def _receive_service(self, env: Environment, client: Any, content: bytes) -> None:
        """It closed after the sign of life, also in v1, which has no word for that."""
        super()._receive_service(env, client, content)
        if self.dialect.generation == "v1":
            close = SERVICE_MESSAGE.encode({"CloseMessage": {"reason": {"ClosedByApplication": None}}})
            self._push(env, client, close, is_service_message=True)
        self.close(env, client.client)


@dataclass(frozen=True)
class Stage:
    """Where a recording is played."""

    localnet: Localnet
    clock: ManualClock
    canister: Remembering
    gateway: Gateway
    url: str


@asynccontextmanager
async def stage(recording: Recording, *, late_ns: int = 0) -> AsyncIterator[Stage]:
    """Gateway and canister as they were then, or `late_ns` later."""
    clock = ManualClock(recording.began_ns + late_ns)
    identity = KeyIdentity(SigningKey.generate("ed25519"))
    principal = recording.gateway or identity.principal
    canister = Remembering(recording, principal)
    config = Config.model_validate(
        {
            "gateway": {"listen": "127.0.0.1:0"},
            "polling": {"min_interval": 0.005, "max_interval": 0.02},
            "canisters": [{"id": str(CANISTER_ID), "generation": recording.generation}],
        }
    )
    async with (
        Localnet(clock=clock) as localnet,
        HttpTransport([localnet.url], timeout_s=15, max_reply=4 * 1024**2) as transport,
    ):
        localnet.create_canister(canister, specified_id=CANISTER_ID)
        verifier = Verifier(localnet.root_key)
        agent = Agent(transport, identity, verifier, clock=clock.now_ns)
        ic = agent if principal == identity.principal else Keyless(agent, principal, localnet.replica)
        gateway = Gateway(config, ic=ic, verifier=verifier, principal=principal, clock=clock.now_ns)
        async with gateway, Listener(gateway) as listener:
            yield Stage(localnet, clock, canister, gateway, f"{listener.url}/{recording.generation}")


async def play(recording: Recording, *, late_ns: int = 0) -> None:
    """Play it to its end. Raises AssertionError for what differs, and ConnectionClosed where the gateway refuses."""
    async with (
        stage(recording, late_ns=late_ns) as here,
        connect(here.url, compression=None) as socket,
        aiohttp.ClientSession(here.localnet.url) as http,
    ):
        for frame in recording.frames:
            async with asyncio.timeout(PATIENCE_S):
                match frame["dir"]:
                    case "client->gateway":
                        await _send(socket, frame)
                    case "client->replica":
                        await _ask(here, http, frame)
                    case "gateway->client":
                        await _expect(here, socket, recording, frame)
        await asyncio.wait_for(here.canister.left.wait(), PATIENCE_S)
        assert here.gateway.counters.opened == 1


async def _send(socket: ClientConnection, frame: Frame) -> None:
    if frame["kind"] == "WS binary":
        await socket.send(content_of(frame))
    elif frame["code"] == 1005:  # the absence of a code
        async with socket.send_context():
            socket.protocol.send_close()
    else:
        await socket.close(frame["code"], frame["reason"])
        assert (socket.close_code, socket.close_reason) == (frame["code"], frame["reason"])


async def _expect(here: Stage, socket: ClientConnection, recording: Recording, frame: Frame) -> None:
    if frame["what"] == "AckMessage":
        here.clock.advance(ACK_INTERVAL_MS * 10**6)
    received = await socket.recv()
    if is_certified(frame):
        assert isinstance(received, bytes)
        verifier = Verifier(here.localnet.root_key)
        message = open_message(verifier, received, recording.generation, now_ns=here.clock.now_ns())
        assert meaning(message) == meaning(recording.opened(frame))
    else:
        said = content_of(frame)
        assert received == (said.decode() if frame["kind"] == "WS text" else said)


async def _ask(here: Stage, http: aiohttp.ClientSession, frame: Frame) -> None:
    """Repeat a request to the replica, a question for the outcome of a call until there is one."""
    _, method, path = frame["kind"].split()
    while True:
        async with http.request(method, path, data=content_of(frame), headers=frame["headers"]) as reply:
            assert reply.ok, await reply.text()
            if not path.endswith("read_state") or _is_replied(here, frame, await reply.read()):
                return


def _is_replied(here: Stage, frame: Frame, body: bytes) -> bool:
    certificate = cast("dict[str, bytes]", decode_cbor(body))["certificate"]
    verifier = Verifier(here.localnet.root_key)
    tree = verifier.verify_certificate(certificate, CANISTER_ID, now_ns=here.clock.now_ns())
    (path,) = ([bytes.fromhex(label) for label in path] for path in frame["paths"])
    return tree.lookup([*path, b"status"]) == b"replied"
