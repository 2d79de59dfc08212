"""Opens sessions of wire generation v0. First it registers the client's key with the canister, by a call over HTTP."""

import asyncio

from websockets.asyncio.client import ClientConnection

from appliance.client.channel import Channel
from appliance.client.connector import Connector, ConnectParameters
from appliance.client.sessions.v0 import ANSWER, SessionV0, registration
from appliance.client.settings import Registration
from appliance.crypto import SigningKey
from appliance.errors import CanisterRefused, IcUnreachable, OpenTimeout, ReplyError, reading_reply
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport, Transport
from appliance.ic.principal import Principal


class DirectCalls:
    """Calls a canister of v0 as the identity that its clients' keys are registered by."""

    def __init__(self, transport: Transport, parameters: ConnectParameters) -> None:
        self._agent = Agent(transport, parameters.identity, parameters.verifier, clock=parameters.clock)
        self._canister_id: Principal = parameters.canister_id
        self._network = ", ".join(transport.urls)
        self._one_by_one = asyncio.Lock()

    async def register(self, key: SigningKey) -> None:
        """Register a client key. Raises as `message` does, and KeyUnusable for a key that is not Ed25519."""
        await self._call("ws_register", registration(key))

    async def message(self, arg: bytes) -> None:
        """Call `ws_message`; the canister gets messages in the order of these calls. Raises CanisterRefused or an
        IcError."""
        async with self._one_by_one:
            await self._call("ws_message", arg)

    async def _call(self, method: str, arg: bytes) -> None:
        try:
            with reading_reply(f"answer of {method}"):
                (answer,) = ANSWER.decode(await self._agent.call(self._canister_id, method, arg))
        except ReplyError as error:
            raise IcUnreachable(self._network, str(error)) from error
        if isinstance(answer, dict) and "Err" in answer:
            raise CanisterRefused(method, answer["Err"])


class DirectChannel(Channel):
    """Receives through the gateway, and sends straight to the canister, as the SDK of that time did."""

    def __init__(
        self, socket: ClientConnection, session: SessionV0, parameters: ConnectParameters, calls: DirectCalls
    ) -> None:
        super().__init__(socket, session, parameters.clock)
        self._direct = session.direct
        self._calls = calls

    async def send(self, content: bytes, value: object) -> None:
        """Call the canister, and wait for its certified answer. Raises NotOpen, CanisterRefused or an IcError."""
        await self._calls.message(self._direct(content))


class RegisteredConnector(Connector):
    """Opens sessions of v0: each with the given key, or else a new one."""

    def __init__(self, parameters: ConnectParameters, transport: HttpTransport, registration: Registration) -> None:
        """Takes over the transport: `close` closes it."""
        super().__init__(parameters)
        self._transport = transport
        self._calls = DirectCalls(transport, parameters)
        self._registration = registration
        self._key: SigningKey  # of the session that is being opened

    async def open(self, gateway: str) -> Channel:
        """As Connector.open, once the key is registered. Raises OpenTimeout, CanisterRefused or an IcError."""
        self._key = self._registration.key()
        patience_s = (self.parameters.limits or SessionV0.limits).open_ns / 1e9
        try:
            async with asyncio.timeout(patience_s):
                await self._calls.register(self._key)
        except TimeoutError:
            raise OpenTimeout(patience_s, "answer of the canister to ws_register") from None
        return await super().open(gateway)

    async def close(self) -> None:
        """Close the transport."""
        await self._transport.close()

    def _channel(self, socket: ClientConnection) -> Channel:
        parameters = self.parameters
        session = SessionV0(
            parameters.canister_id, self._key, parameters.verifier, now_ns=parameters.clock(), limits=parameters.limits
        )
        if self._registration.is_direct:
            return DirectChannel(socket, session, parameters, self._calls)
        return Channel(socket, session, parameters.clock)
