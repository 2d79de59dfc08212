"""Opens sessions at a gateway, for each wire generation."""

import secrets
import ssl as tls
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection

from appliance.client.channel import Channel
from appliance.client.opening import open_socket
from appliance.client.sessions.enveloped import EnvelopedSession
from appliance.client.sessions.session import Generation, Limits
from appliance.client.sessions.v1 import SessionV1
from appliance.client.sessions.v2 import SessionV2
from appliance.crypto import Verifier
from appliance.errors import GatewayError
from appliance.ic.identity import Identity
from appliance.ic.principal import Principal

ENVELOPED: Mapping[Generation, type[EnvelopedSession]] = {"v1": SessionV1, "v2": SessionV2}
"""Generations whose messages are envelopes that an identity signs. For v0 see `register`."""


@dataclass(frozen=True)
class ConnectParameters:
    """The parameters of every session of a connection."""

    canister_id: Principal
    identity: Identity
    verifier: Verifier
    limits: Limits | None
    ssl: tls.SSLContext | None
    clock: Callable[[], int]
    """Nanoseconds since 1970."""


class Connector(ABC):
    """Opens sessions. For the canister, each session is a new client."""

    def __init__(self, parameters: ConnectParameters) -> None:
        self.parameters = parameters

    async def open(self, gateway: str) -> Channel:
        """An open session through the gateway with this URL. Raises ConnectFailed, or the GatewayError that ended the
        session before the canister accepted the client; nothing is left open then."""
        channel = self._channel(await open_socket(gateway, self.parameters.ssl))
        try:
            await channel.opened()
        except GatewayError as error:
            await channel.close(error.close_code, str(error))
            raise
        except BaseException:
            await channel.close(1000, "")
            raise
        return channel

    async def close(self) -> None:  # noqa: B027 - most share nothing
        """Release what the sessions share. May be called again."""

    @abstractmethod
    def _channel(self, socket: ClientConnection) -> Channel:
        """A new session on a socket that has just been opened."""


class EnvelopedConnector(Connector):
    """Opens sessions of v1 and v2, each with a nonce of its own."""

    def __init__(self, parameters: ConnectParameters, generation: Generation) -> None:
        super().__init__(parameters)
        self._session_class = ENVELOPED[generation]

    def _channel(self, socket: ClientConnection) -> Channel:
        parameters = self.parameters
        session = self._session_class(
            parameters.canister_id,
            parameters.identity,
            parameters.verifier,
            client_nonce=secrets.randbits(64),
            now_ns=parameters.clock(),
            limits=parameters.limits,
        )
        return Channel(socket, session, parameters.clock)
