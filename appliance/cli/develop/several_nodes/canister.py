"""The canister of the demonstration: it answers, and counts what it is told."""

from collections import Counter

from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.websocket.canister import Client
from appliance.localnet.websocket.pingpong import PingPong


class CountingPingPong(PingPong):
    """Ping-pong that keeps an account of its own, to compare with that of the clients."""

    def __init__(self) -> None:
        super().__init__()
        self.received: Counter[str] = Counter()
        """How often each text came."""
        self.ended: Counter[Principal] = Counter()
        """How many sessions of each client it was told the end of."""

    def on_message(self, env: Environment, client: Client, message: bytes) -> None:
        """Answer, and count."""
        super().on_message(env, client, message)
        self.received[self._read(message)["text"]] += 1

    def on_close(self, env: Environment, client: Client) -> None:
        """Count."""
        super().on_close(env, client)
        assert isinstance(client, Principal)  # noqa: S101 - a client of v2
        self.ended[client] += 1

    @property
    def connected(self) -> int:
        """How many sessions it has."""
        return len(self._clients)
