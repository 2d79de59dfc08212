"""Clients and gateways of a WebSocket canister by name, in each wire generation, machine to machine."""

from typing import Any, ClassVar

from appliance.crypto import CertifiedMessage, SigningKey, encode_cbor
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment, Trap
from appliance.localnet.websocket.canister import Client, ClientPublicKey, Generation, WebSocketCanister, WsInitParams
from appliance.localnet.websocket.wire import ClientKey
from tests.localnet.machine import CANISTER, Machine, principal

ALICE, BOB, GATEWAY, OTHER_GATEWAY = (principal(name) for name in ("alice", "bob", "gateway", "other gateway"))
OK: dict[str, object] = {"Ok": None}
NO_GATEWAY = {"Err": "caller is not the gateway that has been registered during CDK initialization"}


class Echo(WebSocketCanister):
    """Sends every message back; traps, closes and records on demand."""

    app_message: ClassVar[str] = "blob"

    def __init__(
        self,
        params: WsInitParams | None = None,
        *,
        generation: Generation = "v2",
        gateway: Principal | None = None,
    ) -> None:
        super().__init__(params, generation=generation, gateway=gateway)
        self.events: list[tuple[str, Client]] = []

    def on_open(self, env: Environment, client: Client) -> None:
        self.events.append(("open", client))

    def on_message(self, env: Environment, client: Client, message: bytes) -> None:
        if message == b"close":
            return self.close(env, client)
        self.send(env, client, message)
        if message == b"trap":
            raise Trap("on purpose")
        return None

    def on_close(self, env: Environment, client: Client) -> None:
        self.events.append(("close", client))


def echo(generation: Generation, params: WsInitParams | None = None) -> Echo:
    """An Echo of any generation, at home with GATEWAY."""
    return Echo(params, generation=generation, gateway=None if generation == "v2" else GATEWAY)


class Ws(Machine):
    """The calls of clients and gateways of v1 and v2."""

    canister: Echo

    def open(self, who: Principal, nonce: int = 1, gateway: Principal = GATEWAY) -> Any:
        argument: dict[str, object] = {"client_nonce": nonce}
        if self.canister.gateway is None:
            argument["gateway_principal"] = gateway
        return self.call("ws_open", who, argument)

    def message(self, who: Principal, number: int, content: bytes, *, nonce: int = 1, service: bool = False) -> Any:
        message = {
            "client_key": ClientKey(who, nonce).to_candid(),
            "sequence_num": number,
            "timestamp": self.now_ns,
            "is_service_message": service,
            "content": content,
        }
        application_type = [] if self.canister.dialect.generation == "v1" else [None]
        return self.call("ws_message", who, {"msg": message}, *application_type)

    def keep_alive(self, who: Principal, number: int, *, nonce: int = 1) -> Any:
        return self.message(who, number, self.service_message("KeepAliveMessage", 1), nonce=nonce, service=True)

    def close(self, gateway: Principal, who: Principal, nonce: int = 1) -> Any:
        return self.call("ws_close", gateway, {"client_key": ClientKey(who, nonce).to_candid()})

    def service_message(self, kind: str, number: int) -> bytes:
        """An AckMessage or KeepAliveMessage as the generation encodes it."""
        acknowledgements = self.canister.dialect.acknowledgements
        assert acknowledgements is not None
        return acknowledgements.message.encode({kind: {"last_incoming_sequence_num": number}})

    def service(self, message: CertifiedMessage) -> Any:
        """The service message in a message."""
        assert message.is_service_message
        acknowledgements = self.canister.dialect.acknowledgements
        assert acknowledgements is not None
        return acknowledgements.message.decode(message.content)[0]


class Signer:
    """A client of v0: its key, and what it signs. The principal that it calls as is another matter."""

    def __init__(self, name: str) -> None:
        self._key = SigningKey.from_secret("ed25519", name.encode().ljust(32))
        self.key = ClientPublicKey(self._key.public_key[12:])

    def sign(self, content: bytes) -> bytes:
        return self._key.sign(content)

    def first(self, canister_id: bytes = CANISTER) -> bytes:
        """The content of its first message."""
        return encode_cbor({"canister_id": canister_id, "client_key": self.key})

    def message(self, number: object, message: object, **other: Any) -> bytes:
        """The content of a message to be relayed."""
        fields = {"client_key": self.key, "sequence_num": number, "timestamp": 1, "message": message}
        return encode_cbor({**fields, **other})


class WsV0(Machine):
    """The calls of clients and gateways of v0."""

    canister: Echo

    def register(self, caller: bytes, key: bytes) -> Any:
        return self.call("ws_register", caller, {"client_key": key})

    def open(self, who: Signer, *, gateway: bytes = GATEWAY) -> Any:
        return self.open_signed(who.first(), who.sign(who.first()), gateway=gateway)

    def open_signed(self, content: bytes, signature: bytes, *, gateway: bytes = GATEWAY) -> Any:
        return self.call("ws_open", gateway, {"msg": content, "sig": signature})

    def established(self, key: bytes, *, gateway: bytes = GATEWAY) -> Any:
        return self.call("ws_message", gateway, {"msg": {"IcWebSocketEstablished": key}})

    def direct(self, caller: bytes, key: bytes, message: bytes) -> Any:
        return self.call("ws_message", caller, {"msg": {"DirectlyFromClient": {"client_key": key, "message": message}}})

    def relayed(self, who: Signer, number: int, message: bytes) -> Any:
        content = who.message(number, message)
        return self.relayed_signed(content, who.sign(content))

    def relayed_signed(self, content: bytes, signature: bytes, *, gateway: bytes = GATEWAY) -> Any:
        return self.call("ws_message", gateway, {"msg": {"RelayedByGateway": {"content": content, "sig": signature}}})

    def close(self, key: bytes, *, gateway: bytes = GATEWAY) -> Any:
        return self.call("ws_close", gateway, {"client_key": key})

    def join(self, who: Signer, caller: bytes = ALICE) -> None:
        """Everything up to the open connection."""
        assert self.register(caller, who.key) == OK
        assert "Ok" in self.open(who)
        assert self.established(who.key) == OK
