"""Clients that talk through the gateway, and come back after a close code that allows it."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from appliance.client import Connection, connect
from appliance.client.errors import ConnectionClosed
from appliance.crypto import SigningKey, Verifier
from appliance.errors import GatewayError
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from tests.faults.canister import TEXT
from tests.faults.oracle import SessionRecord

COME_BACK_S = 0.1
MAX_SESSIONS = 40

LogOf = Callable[[Principal], tuple[Sequence[str], Sequence[str]]]


class Participant:
    """A client that comes at ``comes_s``, and sends these texts in each of its sessions, ``pause_s`` apart, until one
    session has lasted. Each session has a principal of its own, so that the canister's log tells them apart."""

    def __init__(self, name: str, *, comes_s: float = 0.0, texts: Sequence[str] = (), pause_s: float = 0.1) -> None:
        self.name = name
        self.sessions: list[SessionRecord] = []
        self._comes_s = comes_s
        self._texts = texts
        self._pause_s = pause_s
        self._has_sent_all = False
        self._is_open = False
        self.has_given_up = False
        """Whether it holds no further session: the last one ended with a code that forbids more."""

    async def take_part(self, url: str, canister_id: Principal, verifier: Verifier) -> None:
        """Hold one session after the other until cancelled, or until one ends with a code that forbids more."""
        await asyncio.sleep(self._comes_s)
        for _ in range(MAX_SESSIONS):
            identity = KeyIdentity(SigningKey.generate("ed25519"))
            record = SessionRecord(f"{self.name} (session {len(self.sessions) + 1})", identity.principal)
            self.sessions.append(record)
            self._has_sent_all = self._is_open = False
            try:
                async with connect(
                    url, canister_id, identity=identity, verifier=verifier, message_type=TEXT
                ) as connection:
                    self._is_open = True
                    await self._converse(connection, record)
            except GatewayError as error:
                record.end = error
            self._is_open = False
            if not isinstance(record.end, ConnectionClosed) or not record.end.come_back:
                break
            await asyncio.sleep(COME_BACK_S)
        self.has_given_up = True

    def is_settled(self, log_of: LogOf) -> bool:
        """Whether its session is open and nothing is on its way in either direction."""
        if not (self._is_open and self._has_sent_all):
            return False
        session = self.sessions[-1]
        received, sent = log_of(session.principal)
        return (list(received), list(sent)) == (session.sent, session.received)

    @property
    def state(self) -> str:
        """For people."""
        session = self.sessions[-1] if self.sessions else None
        if session is None:
            return f"{self.name} has not come"
        count = f"sent {len(session.sent)} of {len(self._texts)}, received {len(session.received)}"
        return f"{session.client} {'is open' if self._is_open else 'is not open'}, {count}, end {session.end}"

    async def _converse(self, connection: Connection, record: SessionRecord) -> None:
        sending = asyncio.create_task(self._send_all(connection, record))
        try:
            while True:
                record.received.append((await connection.receive()).value)
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, GatewayError):
                await sending

    async def _send_all(self, connection: Connection, record: SessionRecord) -> None:
        for text in self._texts:
            # Before it is sent: the canister's log may have it before this task goes on.
            record.sent.append(text)
            await connection.send(text)
            await asyncio.sleep(self._pause_s)
        self._has_sent_all = True
