"""Somebody who has a copy of a client's opening message, and no key."""

import asyncio
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from appliance.cli.develop.several_nodes.clients import Where
from appliance.client.opening import open_socket
from appliance.client.sessions.session import Send, State
from appliance.client.sessions.v2 import SessionV2
from appliance.crypto import SigningKey
from appliance.ic.identity import KeyIdentity

PATIENCE_S = 10.0
"""Until a thief that is not closed counts as let in."""


@dataclass(frozen=True)
class Theft:
    """How it went."""

    code: int | None
    """The close code that the thief got; None where it was let in."""
    received: int
    """Messages that it got before."""
    is_owner_open: bool
    """Whether the session of the client went on."""


async def steal(where: Where, at_first: str, elsewhere: str) -> Theft:
    """Open a session at one gateway, and use a copy of its opening message at another.

    Raises ConnectFailed, and the GatewayError that ended the client's own session before it was open.
    """
    identity = KeyIdentity(SigningKey.generate("ed25519"))
    nonce = secrets.randbits(64)
    session = SessionV2(where.canister, identity, where.verifier, client_nonce=nonce, now_ns=time.time_ns())
    owner = await open_socket(at_first, None)
    try:
        opening = await _open(owner, session)
        code, received = await _replay(elsewhere, opening)
        return Theft(code, received, await _answers(owner))
    finally:
        await owner.close()


async def _answers(socket: ClientConnection) -> bool:
    """Whether the gateway answers a ping."""
    try:
        await (await socket.ping())
    except ConnectionClosed:
        return False
    return True


async def _open(socket: ClientConnection, session: SessionV2) -> bytes:
    """The opening message, once the canister has accepted the client."""
    opening = b""
    while session.state is not State.OPEN:
        for event in session.receive(await socket.recv(), now_ns=time.time_ns()):
            if isinstance(event, Send):
                opening = opening or event.frame
                await socket.send(event.frame)
    return opening


async def _replay(gateway: str, opening: bytes) -> tuple[int | None, int]:
    """Send it there. The code of the close, and how many messages came before."""
    socket = await open_socket(gateway, None)
    received = 0
    try:
        await socket.recv()  # the greeting
        await socket.send(opening)
        with suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    await socket.recv()
                    received += 1
        return socket.close_code, received
    finally:
        await socket.close()
