"""A canister of any generation in which everybody gets every message, and which logs what came and went."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from appliance.crypto import CandidTypes, decode_cbor, encode_cbor
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.websocket.canister import Client, WebSocketCanister
from appliance.localnet.websocket.clients import Connection, Key, Result
from appliance.localnet.websocket.dialect import Generation, WsInitParams

TEXT = "text"
_TYPES = CandidTypes(f"({TEXT})")


@dataclass
class Opening:
    """A connection as this canister has it. ``sent`` is what it wrote to the client. ``removals`` are the reasons for
    which it was removed: None where the gateway said that the client has left."""

    number: int
    connection: Connection
    sent: list[str] = field(default_factory=list)
    removals: list[str | None] = field(default_factory=list)
    is_replaced: bool = False
    """Whether the same key (v0) or principal (v1, v2) opened another one while it was open."""


class Room(WebSocketCanister):
    """What it writes begins with the number of the opening and that of the message: ``3:0:welcome``. What clients say
    begins with the name of their session, ``anna-2:17``.

    ``received`` are the texts by the name of the session. ``told`` counts the reports of a gateway that a client has
    left, by its key, and ``stray`` those that a connection of nobody had. ``removed`` is called with each opening that
    is removed.
    """

    app_message: ClassVar[str] = TEXT

    def __init__(self, generation: Generation, gateway: Principal, removed: Callable[[Opening], object]) -> None:
        # With blocks of 1 s the check of the keep-alives comes as late as these come early, and the CDK drops clients
        # that answer at once. No run takes an hour.
        patient = None if generation == "v0" else WsInitParams(send_ack_interval_ms=3_600_000)
        super().__init__(patient, generation=generation, gateway=gateway)
        self.openings: list[Opening] = []
        self.received: defaultdict[str, list[str]] = defaultdict(list)
        self.told: Counter[str] = Counter()
        self._current: dict[Key, Opening] = {}
        self._removed = removed

    @property
    def connected(self) -> int:
        """How many connections are open."""
        return len(self._clients)

    def forgotten(self) -> None:
        """It is installed anew, and knows nobody any more."""
        for opening in self._current.values():
            if not opening.removals:
                opening.removals.append("reinstalled")
        self._current.clear()

    def on_open(self, env: Environment, client: Client) -> None:
        """Greet the newcomer."""
        self._write(env, self._clients.connection_of(client), "welcome")

    def on_message(self, env: Environment, client: Client, message: bytes) -> None:
        """Log the text and send it to everybody."""
        text = decode_cbor(message) if self.dialect.generation == "v0" else _TYPES.decode(message)[0]
        assert isinstance(text, str)
        self.received[text.partition(":")[0]].append(text)
        for connection in self._clients:
            if not self._opening(connection).is_replaced:
                self._write(env, connection, text)

    def ws_close(self, env: Environment, args: dict[str, Any]) -> Result:
        """Count it."""
        self.told[repr(args["client_key"])] += 1
        return super().ws_close(env, args)

    def _remove(self, env: Environment, client: Connection, *, reason: str | None) -> None:
        super()._remove(env, client, reason=reason)
        opening = self._current.get(client.key)
        if opening is not None and opening.connection is client:
            opening.removals.append(reason)
            self._removed(opening)

    def _opening(self, connection: Connection) -> Opening:
        """In v0 a client may get messages between its opening and the report that its socket is open."""
        before = self._current.get(connection.key)
        if before is not None and before.connection is connection:
            return before
        for each in self._current.values():
            if not each.removals and _who(each.connection.key) == _who(connection.key):
                each.is_replaced = True
        self._current[connection.key] = opening = Opening(len(self.openings), connection)
        self.openings.append(opening)
        return opening

    def _write(self, env: Environment, connection: Connection, text: str) -> None:
        opening = self._opening(connection)
        whole = f"{opening.number}:{len(opening.sent)}:{text}"
        content = encode_cbor(whole) if self.dialect.generation == "v0" else _TYPES.encode(whole)
        self.send(env, connection.client, content)
        opening.sent.append(whole)


def _who(key: Key) -> object:
    return getattr(key, "principal", key)
