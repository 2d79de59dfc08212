"""The canister of the demonstration: it answers, and counts what it is told."""

from collections import Counter
from typing import Any

from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.websocket.canister import Client
from appliance.localnet.websocket.clients import Result
from appliance.localnet.websocket.pingpong import PingPong


class CountingPingPong(PingPong):
    """Ping-pong of v2 that keeps an account of its own, to compare with that of the clients."""

    def __init__(self) -> None:
        super().__init__()
        self.received: Counter[str] = Counter()
        """How often each text came."""
        self.opened: list[Principal] = []
        """The client of each session that it accepted."""
        self.told: Counter[tuple[Principal, int]] = Counter()
        """How often it was told that a session has ended: client and nonce, which is another one for each session."""

    def ws_open(self, env: Environment, args: Any) -> Result:
        """Accept a session, and count it."""
        answer = super().ws_open(env, args)
        if "Ok" in answer:
            self.opened.append(env.caller)
        return answer

    def ws_close(self, env: Environment, args: dict[str, Any]) -> Result:
        """Count, too, where it knows that already: a client that comes back replaces its earlier session."""
        key = args["client_key"]
        self.told[key["client_principal"], key["client_nonce"]] += 1
        return super().ws_close(env, args)

    def on_message(self, env: Environment, client: Client, message: bytes) -> None:
        """Answer, and count."""
        super().on_message(env, client, message)
        self.received[self._read(message)["text"]] += 1

    @property
    def connected(self) -> int:
        """How many sessions it has."""
        return len(self._clients)

    def told_of(self, client: Principal) -> list[int]:
        """How often it was told of each session of this client that it was told of."""
        return [count for (principal, _), count in self.told.items() if principal == client]
