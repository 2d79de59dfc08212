"""Prices that a canister pushes: an example of messages that no client has asked for.

A client subscribes to symbols and gets their prices at once, then every second. The prices are made up: each is a
function of symbol and time, so all clients see the same. ``close_market`` closes every connection.
"""

import hashlib
import math
from typing import ClassVar, TypedDict

from appliance.localnet.canisters.canister import Environment
from appliance.localnet.websocket.candid_canister import CandidCanister
from appliance.localnet.websocket.canister import Client

INTERVAL_NS = 10**9
MAX_SYMBOLS = 20
"""For each client; further ones are ignored."""
MAX_SYMBOL = 12
"""Characters of a symbol; longer ones are cut."""


class Price(TypedDict):
    """The price of a symbol."""

    symbol: str
    price: float


class Prices(CandidCanister):
    """Pushes while somebody is subscribed."""

    app_message: ClassVar[str] = "variant { Subscribe : vec text; Price : record { symbol : text; price : float64 } }"
    methods: ClassVar[str] = (
        "price : (text) -> (float64) query;\nsubscribers : () -> (nat64) query;\nclose_market : () -> ();"
    )

    def init(self, env: Environment, *arguments: object) -> None:
        """Start without subscriptions."""
        super().init(env, *arguments)
        self._symbols: dict[Client, list[str]] = {}

    def on_value(self, env: Environment, client: Client, value: dict[str, list[str]]) -> None:
        """Subscribe, instead of any earlier subscription. Clients that send a price get nothing for it."""
        if "Subscribe" not in value:
            return
        if not self.has_subscribers:
            # Only the first: each `wake` replaces the one before, so that a second without a newcomer might never come.
            self.wake(env, env.time_ns + INTERVAL_NS)
        symbols = [symbol[:MAX_SYMBOL] for symbol in value["Subscribe"][:MAX_SYMBOLS]]
        self.undo_log.put(self._symbols, client, symbols)
        self._push_prices(env, client)

    def on_close(self, env: Environment, client: Client) -> None:
        """End the subscription, where there is one."""
        if client in self._symbols:
            self.undo_log.remove(self._symbols, client)

    def on_wake(self, env: Environment) -> None:
        """Push, and go on while anybody is there."""
        for client in self._symbols:
            self._push_prices(env, client)
        if self.has_subscribers:
            self.wake(env, env.time_ns + INTERVAL_NS)

    @property
    def has_subscribers(self) -> bool:
        """Whether any client has a subscription."""
        return bool(self._symbols)

    def price(self, env: Environment, symbol: str) -> float:
        """The price of a symbol now."""
        return price_at(symbol[:MAX_SYMBOL], env.time_ns)

    def subscribers(self, env: Environment) -> int:
        """How many clients have a subscription."""
        return len(self._symbols)

    def close_market(self, env: Environment) -> tuple[()]:
        """Close the connections of all subscribers."""
        for client in list(self._symbols):
            self.close(env, client)
        return ()

    def _push_prices(self, env: Environment, client: Client) -> None:
        for symbol in self._symbols[client]:
            self.send_value(env, client, {"Price": Price(symbol=symbol, price=price_at(symbol, env.time_ns))})


def price_at(symbol: str, time_ns: int) -> float:
    """Between 1 and 1000 by the symbol, and within 5 % around that by the time; two decimals."""
    digest = hashlib.sha256(symbol.encode()).digest()
    middle = 10 ** (3 * digest[0] / 255)
    phase, period_s = digest[1], 20 + digest[2] % 40
    swing = math.sin(time_ns / 1e9 / period_s + phase) + math.sin(time_ns / 1e9 * 1.7 + phase) / 4
    return round(middle * (1 + 0.04 * swing), 2)
