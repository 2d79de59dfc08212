"""The clients of the wire generation v0: an Ed25519 key that its owner registers before it signs with it.

Anybody may register any key, also anonymously; the last caller that did may send messages for it.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

from appliance.crypto import decode_cbor, verify_signature
from appliance.errors import GatewayError, KeyUnusable, Malformed, SignatureInvalid
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.canisters.python_canister import UndoLog
from appliance.localnet.websocket.clients import (
    Admission,
    ApplicationMessage,
    Client,
    Clients,
    Connection,
    Incoming,
    Key,
    SocketEstablished,
    WsError,
)
from appliance.localnet.websocket.dialect import Dialect
from appliance.localnet.websocket.message_queue import MessageQueues
from appliance.localnet.websocket.wire import ClientPublicKey

_DER_PREFIX = bytes.fromhex("302a300506032b6570032100")
_KEY_LENGTH, _SIGNATURE_LENGTH = 32, 64
_FIRST_MESSAGE = {"client_key": bytes, "canister_id": bytes}
_MESSAGE = {"client_key": bytes, "sequence_num": int, "timestamp": int, "message": bytes}


class Signed(TypedDict):
    """The argument of ``ws_open``."""

    msg: bytes
    sig: bytes


class KeyClients(Clients):
    """Registered keys, and the connections of those that the gateway has opened."""

    def __init__(self, dialect: Dialect, undo_log: UndoLog, queues: MessageQueues, gateway: Principal | None) -> None:
        super().__init__(dialect, undo_log, queues, gateway)
        self._callers: dict[Key, Principal] = {}

    def register(self, caller: Principal, key: ClientPublicKey) -> None:
        """See Clients."""
        self.undo_log.put(self._callers, key, caller)

    def admit(self, env: Environment, args: Signed) -> Admission:
        """See Clients. Opening again restarts the sequence numbers. The CDK does not check the canister id."""
        self.check_gateway(env.caller)
        first = _read("first message", args["msg"], _FIRST_MESSAGE)
        key = ClientPublicKey(first["client_key"])
        _check_lengths(key, args["sig"])
        self._check_registered(key)
        _verify(key, args["sig"], args["msg"])
        value = {
            "client_key": key.to_candid(),
            "canister_id": _principal(first["canister_id"]),
            "nonce": self.queues.next_nonce(env.caller),
        }
        return Admission(self._connection(env, key), None, {"Ok": value})

    def incoming(self, env: Environment, message: Mapping[str, Any]) -> Incoming:
        """See Clients. A wrong sequence number is refused; the expected one stays the same."""
        ((kind, value),) = message.items()
        if kind == "DirectlyFromClient":
            return self._direct(env, ClientPublicKey(value["client_key"]), value["message"])
        self.check_gateway(env.caller)
        if kind == "RelayedByGateway":
            return self._relayed(value["content"], value["sig"])
        self._check_registered(ClientPublicKey(value))
        return SocketEstablished(ClientPublicKey(value))

    def closing(self, env: Environment, key: bytes) -> Connection:
        """See Clients. Also for a client that has registered but not opened."""
        self.check_gateway(env.caller)
        leaver = ClientPublicKey(key)
        self._check_registered(leaver)
        return self.connections.get(leaver) or self._connection(env, leaver)

    def connection_of(self, client: Client) -> Connection:
        """See Clients."""
        connection = self.connections.get(ClientPublicKey(client))
        if connection is None:
            raise WsError("outgoing message to client num not initialized for client")
        return connection

    def forget(self, connection: Connection) -> None:
        """See Clients. Its key is no longer registered either."""
        super().forget(connection)
        self.undo_log.remove(self._callers, connection.key)

    def _connection(self, env: Environment, key: ClientPublicKey) -> Connection:
        return Connection(key, key, self.gateway or env.caller, env.time_ns, expected_num=0)

    def _check_registered(self, key: ClientPublicKey) -> None:
        if key not in self._callers:
            raise WsError("client's public key has not been previously registered by client")

    def _direct(self, env: Environment, key: ClientPublicKey, message: bytes) -> Incoming:
        caller = self._callers.get(key)
        if caller is None:
            raise WsError("client was was not authenticated with II when it registered its public key")
        if caller != env.caller:
            raise WsError("caller is not the same that registered the public key")
        return ApplicationMessage(key, message)

    def _relayed(self, content: bytes, signature: bytes) -> Incoming:
        message = _read("message", content, _MESSAGE)
        key = ClientPublicKey(message["client_key"])
        self._check_registered(key)
        _check_lengths(key, signature)
        _verify(key, signature, content)
        connection = self.connections.get(key)
        if connection is None:
            raise WsError("expected incoming message num not initialized for client")
        if message["sequence_num"] != connection.expected_num:
            raise WsError(
                "incoming client's message relayed from WS Gateway does not have the expected sequence number"
            )
        self.undo_log.set(connection, "expected_num", connection.expected_num + 1)
        return ApplicationMessage(key, message["message"])


def _read(what: str, content: bytes, fields: Mapping[str, type]) -> dict[str, Any]:
    """A map in CBOR with at least these fields."""
    try:
        decoded = decode_cbor(content, what=what)
    except GatewayError as error:
        raise WsError(str(error)) from error
    if not isinstance(decoded, dict):
        raise WsError(f"malformed {what}: no map")
    for name, kind in fields.items():
        if name not in decoded:
            raise WsError(f"missing field `{name}`")
        if type(decoded[name]) is not kind:  # a bool is an int otherwise
            raise WsError(f"malformed {what}: wrong type of field `{name}`")
    return decoded


def _principal(data: bytes) -> Principal:
    try:
        return Principal(data)
    except Malformed as error:
        raise WsError(str(error)) from error


def _check_lengths(key: bytes, signature: bytes) -> None:
    if len(key) != _KEY_LENGTH:
        raise WsError("Invalid public key")
    if len(signature) != _SIGNATURE_LENGTH:
        raise WsError("Invalid signature")


def _verify(key: bytes, signature: bytes, message: bytes) -> None:
    """Without a separator, as v0 signs."""
    try:
        verify_signature(_DER_PREFIX + key, signature, message)
    except KeyUnusable as error:
        raise WsError("Invalid public key") from error
    except SignatureInvalid as error:
        raise WsError("Signature doesn't verify") from error
