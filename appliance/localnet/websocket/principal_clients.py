"""The clients of the wire generations v1 and v2: a principal and a nonce, in signed calls that a gateway relays."""

from dataclasses import dataclass
from typing import NotRequired, TypedDict

from appliance.ic.principal import ANONYMOUS, Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.canisters.python_canister import UndoLog
from appliance.localnet.websocket import wire
from appliance.localnet.websocket.clients import (
    OK,
    Admission,
    ApplicationMessage,
    Client,
    Clients,
    Connection,
    Incoming,
    ServiceMessage,
    WrongSequenceNumber,
    WsError,
)
from appliance.localnet.websocket.dialect import Dialect, Generation
from appliance.localnet.websocket.message_queue import MessageQueues
from appliance.localnet.websocket.wire import ClientKey, ClientKeyValue, WebsocketMessage


@dataclass(frozen=True)
class Texts:
    """The error texts of the CDK, with their values in braces."""

    anonymous: str
    already_open: str
    no_connection: str
    other_key: str
    wrong_number: str
    no_such_key: str


TEXTS: dict[Generation, Texts] = {
    "v1": Texts(
        anonymous="anonymous principal cannot open a connection",
        already_open="client with key {key} already has an open connection",
        no_connection="client with principal {principal} doesn't have an open connection",
        other_key="client with principal {caller} has a different key than the one used in the message",
        wrong_number="incoming client's message does not have the expected sequence number. "
        "Expected: {expected}, actual: {actual}. Client removed.",
        no_such_key="client with key {key} doesn't have an open connection",
    ),
    "v2": Texts(
        anonymous="Anonymous principal is not allowed",
        already_open="Client with key {key} already has an open connection",
        no_connection="Client with principal {principal} doesn't have an open connection",
        other_key="Client with principal {claimed} has a different key than the one used in the message",
        wrong_number="Expected incoming sequence number {expected} but got {actual}",
        no_such_key="Client with key {key} doesn't have an open connection",
    ),
}


class OpenArguments(TypedDict):
    """Of ``ws_open``; v1 knows its gateway."""

    client_nonce: int
    gateway_principal: NotRequired[Principal]


class PrincipalClients(Clients):
    """A principal has one current connection, the newest: only its messages are accepted, and only it gets messages."""

    def __init__(self, dialect: Dialect, undo_log: UndoLog, queues: MessageQueues, gateway: Principal | None) -> None:
        super().__init__(dialect, undo_log, queues, gateway)
        self._texts = TEXTS[dialect.generation]
        self._current: dict[Client, Connection] = {}

    def admit(self, env: Environment, args: OpenArguments) -> Admission:
        """See Clients."""
        if env.caller == ANONYMOUS:
            raise WsError(self._texts.anonymous)
        if env.caller == self.gateway:
            raise WsError("caller is the registered gateway which can't open a connection for itself")
        key = ClientKey(env.caller, args["client_nonce"])
        if key in self.connections:
            raise WsError(self._texts.already_open.format(key=key))
        gateway = self.gateway or args["gateway_principal"]
        connection = Connection(key, env.caller, gateway, env.time_ns, expected_num=1)
        replaced = self._current.get(env.caller) if self.dialect.replaces_older else None
        return Admission(connection, replaced, OK)

    def add(self, connection: Connection) -> None:
        """See Clients. It is the current one of its client."""
        super().add(connection)
        self.undo_log.put(self._current, connection.client, connection)

    def incoming(self, env: Environment, message: WebsocketMessage) -> Incoming:
        """See Clients."""
        connection = self.connection_of(env.caller)
        key = wire.client_key(message["client_key"])
        if key != connection.key:
            raise WsError(self._texts.other_key.format(caller=env.caller, claimed=key.principal))
        expected, actual = connection.expected_num, message["sequence_num"]
        if actual != expected:
            raise WrongSequenceNumber(connection, self._texts.wrong_number.format(expected=expected, actual=actual))
        self.undo_log.set(connection, "expected_num", expected + 1)
        if message["is_service_message"]:
            return ServiceMessage(connection, message["content"])
        return ApplicationMessage(connection.client, message["content"])

    def closing(self, env: Environment, key: ClientKeyValue) -> Connection:
        """See Clients."""
        self.check_gateway(env.caller)
        if self.gateway is None and env.caller not in self.queues:
            raise WsError(f"Gateway with principal {env.caller} is not registered")
        leaver = wire.client_key(key)
        connection = self.connections.get(leaver)
        if connection is None:
            raise WsError(self._texts.no_such_key.format(key=leaver))
        if connection.gateway != env.caller:
            raise WsError(f"Client with key {leaver} was not registered to gateway {env.caller}")
        return connection

    def connection_of(self, client: Client) -> Connection:
        """See Clients."""
        connection = self._current.get(client)
        if connection is None:
            raise WsError(self._texts.no_connection.format(principal=client))
        return connection

    def forget(self, connection: Connection) -> None:
        """See Clients. Removes the client's current connection, even where that is another one, as the CDK does."""
        super().forget(connection)
        if connection.client in self._current:
            self.undo_log.remove(self._current, connection.client)
