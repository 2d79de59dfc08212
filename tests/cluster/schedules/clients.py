"""Clients that talk through the cluster, and come back at another node after a close that allows it."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from appliance.client import connect
from appliance.client.connection import Connection
from appliance.client.errors import ConnectFailed, ConnectionClosed
from appliance.client.sessions.session import Limits
from appliance.crypto import SigningKey, Verifier
from appliance.errors import GatewayError
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.websocket.dialect import Generation
from tests.cluster.schedules.canister import TEXT

_PATIENT = Limits(ack_ns=3_600_000_000_000)
"""The canisters of these runs acknowledge nothing (see `Room`)."""
COME_BACK_S = 0.2
UNDER_WAY = 2
"""Messages that a client has sent and not heard again."""


@dataclass
class Session:
    """One session: ``sent`` and ``received`` are texts, ``end`` is None while it is open. ``opening`` is the number
    that the canister gave it, in its first message. ``is_left``: the client closed it itself."""

    name: str
    node: str
    generation: Generation
    sent: list[str] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    end: GatewayError | None = None
    is_left: bool = False

    @property
    def opening(self) -> int | None:
        """The number of the opening at the canister; None as long as no message came."""
        return int(self.received[0].partition(":")[0]) if self.received else None

    @property
    def is_open(self) -> bool:
        """Whether neither side has ended it."""
        return self.end is None and not self.is_left

    @property
    def unheard(self) -> int:
        """Messages that it sent, and that the canister has not sent to everybody yet."""
        return len(self.sent) - sum(text.split(":", 2)[2].startswith(f"{self.name}:") for text in self.received)


@dataclass(frozen=True)
class Place:
    """What a client has to know of the network."""

    canister_id: Principal
    verifier: Verifier
    network_url: str
    url_of: Callable[[str], str | None]
    """The URL of a node, None while it has none."""


class Participant:
    """A client that is at a node, and at the next one of ``nodes`` after each end of its session. ``keeps_key``: all
    its sessions have one key (v0) or principal (v1, v2)."""

    def __init__(self, name: str, generation: Generation, nodes: list[str], *, keeps_key: bool) -> None:
        self.name = name
        self.generation = generation
        self.keeps_key = keeps_key
        self.sessions: list[Session] = []
        self.refusals: list[GatewayError] = []
        """Why sessions did not open, in their order."""
        self.rounds = 0
        """Messages that it heard again, in all its sessions."""
        self._nodes = nodes
        self._key = SigningKey.generate("ed25519")
        self.is_quiet = False
        """Whether it sends nothing more."""
        self.is_leaving = asyncio.Event()

    @property
    def session(self) -> Session | None:
        """The open one."""
        return self.sessions[-1] if self.sessions and self.sessions[-1].is_open else None

    async def take_part(self, place: Place) -> None:
        """Hold one session after the other until ``is_leaving``, or until one ends with a code that forbids more."""
        turn = 0
        while not self.is_leaving.is_set():
            node = self._nodes[turn % len(self._nodes)]
            if (url := place.url_of(node)) is None or not await self._hold(place, node, url):
                await asyncio.sleep(COME_BACK_S)  # a real client waits, too
            turn += 1
            if self.refusals and not _may_come_back(self.refusals[-1]):
                return

    async def _hold(self, place: Place, node: str, url: str) -> bool:
        key = self._key if self.keeps_key else SigningKey.generate("ed25519")
        named = f"{self.name}-{len(self.sessions) + len(self.refusals)}"
        try:
            if self.generation == "v0":
                connection: Connection[Any] = await connect(
                    f"{url}/v0", place.canister_id, verifier=place.verifier, network_url=place.network_url,
                    generation="v0", client_key=key,
                )  # fmt: skip
            else:
                connection = await connect(
                    f"{url}/{self.generation}", place.canister_id, verifier=place.verifier, limits=_PATIENT,
                    message_type=TEXT, identity=KeyIdentity(key),
                )  # fmt: skip
        except GatewayError as error:
            self.refusals.append(error)
            return False
        session = Session(named, node, self.generation)
        self.sessions.append(session)
        talking = asyncio.create_task(self._talk(connection, session))
        leaving = asyncio.create_task(self.is_leaving.wait())
        try:
            await asyncio.wait((talking, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            session.is_left = not talking.done()
            for each in (talking, leaving):
                each.cancel()
            await asyncio.wait((talking, leaving))
            await connection.close()
        return True

    async def _talk(self, connection: Connection[Any], session: Session) -> None:
        has_room = asyncio.Event()
        has_room.set()
        sending = asyncio.create_task(self._send(connection, session, has_room))
        try:
            while True:
                text = (await connection.receive()).value
                assert isinstance(text, str)
                session.received.append(text)
                if text.split(":", 2)[2].startswith(f"{session.name}:"):
                    self.rounds += 1
                    has_room.set()
        except GatewayError as error:
            session.end = error
            if not _may_come_back(error):
                self.refusals.append(error)
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, GatewayError):
                await sending

    async def _send(self, connection: Connection[Any], session: Session, has_room: asyncio.Event) -> None:
        while not self.is_quiet:
            text = f"{session.name}:{len(session.sent)}"
            session.sent.append(text)  # before it is sent: the canister may log it before this task goes on
            await connection.send(text)
            has_room.clear()
            while session.unheard >= UNDER_WAY:
                await has_room.wait()
                has_room.clear()


def _may_come_back(error: GatewayError) -> bool:
    if isinstance(error, ConnectionClosed):
        return error.come_back
    return isinstance(error, ConnectFailed) or error.close_code < 4500
