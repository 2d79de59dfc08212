"""A canister in which every client gets every message, and which logs what it received and what it sent."""

from typing import ClassVar

from appliance.crypto import CandidTypes
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.websocket.canister import Client, WebSocketCanister

TEXT = "text"
_TYPES = CandidTypes(f"({TEXT})")


class Room(WebSocketCanister):
    """A message of one client is sent to all. With ``n`` clients each call thus puts ``n`` messages into the queue at
    once, so that replies to polls have something in the middle.

    ``received`` and ``sent`` are the log: the texts by client, in order, kept when the client has gone.
    """

    app_message: ClassVar[str] = TEXT

    def __init__(self) -> None:
        super().__init__()
        self.received: dict[Client, tuple[str, ...]] = {}
        self.sent: dict[Client, tuple[str, ...]] = {}

    @property
    def clients(self) -> list[Client]:
        """Who has a connection."""
        return [connection.client for connection in self._clients]

    def on_open(self, env: Environment, client: Client) -> None:
        """Greet the newcomer."""
        self._write(env, client, "welcome")

    def on_message(self, env: Environment, client: Client, message: bytes) -> None:
        """Log the text and send it to everybody."""
        (text,) = _TYPES.decode(message)
        assert isinstance(text, str)
        self._log(self.received, client, text)
        for each in self.clients:
            self._write(env, each, text)

    def log_of(self, client: Principal) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What was received from a client and what was sent to it."""
        return self.received.get(client, ()), self.sent.get(client, ())

    def _write(self, env: Environment, client: Client, text: str) -> None:
        self.send(env, client, _TYPES.encode(text))
        self._log(self.sent, client, text)

    def _log(self, log: dict[Client, tuple[str, ...]], client: Client, text: str) -> None:
        self.undo_log.put(log, client, (*log.get(client, ()), text))  # a call that traps must leave no entry
