"""Clients that talk all the time, and keep an account of it."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from appliance.cli.develop.several_nodes.account import Account
from appliance.client import Backoff, Connection, Lost, Message, Restored, RetryFailed, connect
from appliance.client.reconnect import Change
from appliance.crypto import SigningKey, Verifier
from appliance.errors import GatewayError
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.websocket.pingpong import APP_MESSAGE

PACE_S = 0.5
"""Between two messages."""
_ENDING = " ping"
"""What the canister adds."""


@dataclass(frozen=True)
class Where:
    """The canister, and the gateways in the order in which a client tries them."""

    urls: list[str]
    canister: Principal
    verifier: Verifier


@dataclass
class Talker:
    """A client: sends numbered messages, and reconnects where its session ends.

    ``lost_at`` and ``restored_at`` are the times of the last end of a session and of the next beginning, by
    ``time.monotonic``; ``error`` is what ended it for good.
    """

    name: str
    where: Where

    def __post_init__(self) -> None:
        self.identity = KeyIdentity(SigningKey.generate("ed25519"))
        self.account = Account()
        self.opened_after_s: float | None = None
        self.losses = 0
        self.comes_back = True
        """Whether it opens another session where one has ended; else it leaves for good."""
        self.lost_at: float | None = None
        self.restored_at: float | None = None
        self.cause = ""
        """Why the last session ended, as the client was told."""
        self.error: GatewayError | None = None
        self._numbers = 0
        self._is_over = False
        self._is_closed = False
        self._connection: Connection[Any] | None = None

    @property
    def principal(self) -> Principal:
        """It names this client at the canister and at the gateways."""
        return self.identity.principal

    @property
    def is_open(self) -> bool:
        """Whether it has a session now."""
        return self.opened_after_s is not None and (self.restored_at is not None or self.lost_at is None)

    @property
    def has_left(self) -> bool:
        """Whether it has ended for good."""
        return self.losses > 0 and not self.comes_back

    async def run(self) -> None:
        """Talk until `finish`, and read on until the connection is closed."""
        started = time.monotonic()
        try:
            self._connection = await connect(
                self.where.urls,
                self.where.canister,
                identity=self.identity,
                generation="v2",
                verifier=self.where.verifier,
                message_type=APP_MESSAGE,
                reconnect=Backoff(first=0.25, longest=2.0),
            )
            self.opened_after_s = time.monotonic() - started
            async with asyncio.TaskGroup() as both:
                both.create_task(self._talk(self._connection))
                both.create_task(self._read(self._connection))
        except* GatewayError as errors:
            if not self._is_closed:  # else it ended its session itself
                self.error = _first_of(errors)

    def finish(self) -> None:
        """Send no more."""
        self._is_over = True

    async def close(self) -> None:
        """End the session."""
        self.finish()
        self._is_closed = True
        if self._connection is not None:
            await self._connection.close()

    async def _talk(self, connection: Connection[Any]) -> None:
        while not self._is_over:
            self._numbers += 1
            text = f"{self.name} {self._numbers}"
            self.account.send(text)
            await connection.send({"text": text, "timestamp": time.time_ns()})
            await asyncio.sleep(PACE_S)

    async def _read(self, connection: Connection[Any]) -> None:
        async for event in connection.events():
            self._take(event)
            if isinstance(event, Lost) and not self.comes_back:
                await self.close()

    def _take(self, event: Message[Any] | Change) -> None:
        match event:
            case Message(value={"text": str(text)}):
                if text.endswith(_ENDING):  # the first of a session greets
                    self.account.answer(text.removesuffix(_ENDING))
            case Lost():
                self.losses += 1
                self.lost_at, self.restored_at = time.monotonic(), None
                self.cause = str(event.cause)
                self.account.end_session(value["text"] for value in event.unacknowledged)
            case Restored():
                self.restored_at = time.monotonic()
            case Message() | RetryFailed():
                pass


def _first_of(errors: BaseExceptionGroup[GatewayError]) -> GatewayError:
    first = errors.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
