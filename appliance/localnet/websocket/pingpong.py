"""The ping-pong application of the reference's integration tests, on the WebSocket canister.

When a client opens, it gets ``ping``. Each message it sends comes back with `` ping`` behind its text: a client that
answers ``<text>-pong`` reads ``ping``, ``ping-pong ping``, ``ping-pong ping-pong ping`` and so on, each round trip its
own. The text ``close`` makes the application close the connection.
"""

from typing import ClassVar, TypedDict

from appliance.crypto import CandidTypes, decode_cbor, encode_cbor
from appliance.errors import CandidError, Malformed
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment, Trap
from appliance.localnet.websocket.canister import Client, Generation, WebSocketCanister, WsInitParams

APP_MESSAGE = "record { text : text; timestamp : nat64 }"
CLOSE = "close"


class AppMessage(TypedDict):
    """The message between client and canister; ``timestamp`` is the sender's time in nanoseconds.

    Candid of ``APP_MESSAGE`` in v1 and v2, in v0 a CBOR map of the same fields.
    """

    text: str
    timestamp: int


class PingPong(WebSocketCanister):
    """Answers every message, and counts its clients (``clients_connected : () -> (nat64) query``)."""

    app_message: ClassVar[str] = APP_MESSAGE
    methods: ClassVar[str] = "clients_connected : () -> (nat64) query;"

    def __init__(
        self,
        params: WsInitParams | None = None,
        *,
        generation: Generation = "v2",
        gateway: Principal | None = None,
    ) -> None:
        super().__init__(params, generation=generation, gateway=gateway)
        self._types = CandidTypes(f"({APP_MESSAGE})")

    def on_open(self, env: Environment, client: Client) -> None:
        """Greet."""
        self._send_text(env, client, "ping")

    def on_message(self, env: Environment, client: Client, message: bytes) -> None:
        """Answer, or close."""
        text = self._read(message)["text"]
        if text == CLOSE:
            self.close(env, client)
        else:
            self._send_text(env, client, f"{text} ping")

    def clients_connected(self, env: Environment) -> int:
        """How many connections are open."""
        return len(self._clients)

    def _send_text(self, env: Environment, client: Client, text: str) -> None:
        if self.dialect.generation == "v0":
            message = encode_cbor({"text": text, "timestamp": env.time_ns})
        else:
            message = self._types.encode(AppMessage(text=text, timestamp=env.time_ns))
        self.send(env, client, message)

    def _read(self, message: bytes) -> AppMessage:
        if self.dialect.generation == "v0":
            return _read_cbor(message)
        try:
            (decoded,) = self._types.decode(message)
        except CandidError as error:
            raise Trap(f"the message is no {APP_MESSAGE}: {error.problem}") from error
        return decoded  # type: ignore[return-value]  # the Candid type says so


def _read_cbor(message: bytes) -> AppMessage:
    try:
        decoded = decode_cbor(message, what="message")
    except Malformed as error:
        raise Trap(str(error)) from error
    match decoded:
        case {"text": str(text), "timestamp": int(timestamp)}:
            return AppMessage(text=text, timestamp=timestamp)
        case _:
            raise Trap("the message is no CBOR map of text and timestamp")
