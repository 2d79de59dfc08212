"""Clients of every generation on real sockets: our sessions, with every check they make, driven step by step."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from appliance.client.sessions.session import Opened, Received, Send
from appliance.client.sessions.v0 import SessionV0, registration
from appliance.client.sessions.v1 import SessionV1
from appliance.client.sessions.v2 import SessionV2
from appliance.crypto import CandidTypes, SigningKey, Verifier, decode_cbor, encode_cbor
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import KeyIdentity
from appliance.localnet.websocket.pingpong import APP_MESSAGE
from tests.network import Network

APP = CandidTypes(f"({APP_MESSAGE})")


class Player:
    """One client. What its session finds wrong is raised by ``hear``."""

    def __init__(self, generation: str, session: Any, socket: ClientConnection) -> None:
        self.generation = generation
        self.session = session
        self.socket = socket
        self._heard: list[Any] = []

    async def open(self) -> None:
        for event in self.session.start(now_ns=time.time_ns()):
            await self.socket.send(event.frame)
        await self._until(Opened)

    def frame(self, text: str) -> bytes:
        """The next message, signed."""
        now_ns = time.time_ns()
        value = {"text": text, "timestamp": now_ns}
        content = encode_cbor(value) if self.generation == "v0" else APP.encode(value)
        return self.session.send(content, now_ns=now_ns).frame

    async def say(self, text: str) -> None:
        await self.socket.send(self.frame(text))

    async def hear(self) -> str:
        received = await self._until(Received)
        value = decode_cbor(received.content) if self.generation == "v0" else APP.decode(received.content)[0]
        return value["text"]

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the close that must follow, whatever comes before it."""
        try:
            while True:
                await self.socket.recv()
        except ConnectionClosed as error:
            return error.rcvd.code, error.rcvd.reason

    async def _until(self, kind: type) -> Any:
        while True:
            for position, event in enumerate(self._heard):
                if isinstance(event, kind):
                    return self._heard.pop(position)
            for event in self.session.receive(await self.socket.recv(), now_ns=time.time_ns()):
                if isinstance(event, Send):
                    await self.socket.send(event.frame)
                else:
                    self._heard.append(event)


async def register(network: Network, key: SigningKey, canister_id: bytes | None = None) -> None:
    """What a client of v0 does over HTTP before it connects."""
    async with HttpTransport([network.localnet.url], timeout_s=15, max_reply=1 << 20) as transport:
        agent = Agent(transport, KeyIdentity(key), Verifier(network.localnet.root_key))
        await agent.call(canister_id or network.canister_id, "ws_register", registration(key))


@asynccontextmanager
async def player(
    network: Network,
    *,
    generation: str | None = None,
    canister_id: bytes | None = None,
    key: SigningKey | None = None,
    url: str | None = None,
    is_registered: bool = True,
) -> AsyncIterator[Player]:
    """A connected client that has not said anything yet; of the network's generation and canister, if not told."""
    generation, canister_id = generation or network.generation, canister_id or network.canister_id
    key, verifier = key or SigningKey.generate("ed25519"), Verifier(network.localnet.root_key)
    now_ns = time.time_ns()
    if generation == "v0":
        session: Any = SessionV0(canister_id, key, verifier, now_ns=now_ns)
        if is_registered:
            await register(network, key, canister_id)
    else:
        kind = SessionV1 if generation == "v1" else SessionV2
        nonce = secrets.randbits(64)
        session = kind(canister_id, KeyIdentity(key), verifier, client_nonce=nonce, now_ns=now_ns)
    url = url or f"{network.listener.url}/{generation}"
    async with connect(url, compression=None, ping_timeout=None) as socket:  # a test may have the gateway stand still
        yield Player(generation, session, socket)


@asynccontextmanager
async def playing(network: Network, **options: Any) -> AsyncIterator[Player]:
    """A client whose session is open and that was greeted by the application."""
    async with player(network, **options) as client:
        await client.open()
        assert await client.hear() == "ping"
        yield client
