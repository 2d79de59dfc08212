"""A WebSocket canister whose application exchanges Candid values instead of bytes."""

from typing import Any

from appliance.crypto import CandidTypes
from appliance.errors import CandidError
from appliance.localnet.canisters.canister import Environment, Trap
from appliance.localnet.websocket.canister import Client, WebSocketCanister, WsInitParams


class CandidCanister(WebSocketCanister):
    """Speaks v2. Its values are of the type ``app_message``; a message of another type traps, which refuses it."""

    def __init__(self, params: WsInitParams | None = None) -> None:
        super().__init__(params)
        self._value_type = CandidTypes(f"({self.app_message})")

    def on_value(self, env: Environment, client: Client, value: Any) -> None:
        """A client has sent a value."""

    def send_value(self, env: Environment, client: Client, value: object) -> None:
        """Queue a value for a client. Raises WsError for a client without a connection."""
        self.send(env, client, self._value_type.encode(value))

    def on_message(self, env: Environment, client: Client, message: bytes) -> None:
        """Decode and pass on."""
        try:
            (value,) = self._value_type.decode(message)
        except CandidError as error:
            raise Trap(f"the message is no {self.app_message}: {error.problem}") from error
        self.on_value(env, client, value)
