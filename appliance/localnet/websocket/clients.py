"""The open connections of a WebSocket canister, and the checks of calls about them: where the generations differ most.

These classes check and store; `WebSocketCanister` sends messages and calls hooks. A failed check raises WsError.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.canisters.python_canister import UndoLog
from appliance.localnet.websocket.dialect import Dialect
from appliance.localnet.websocket.message_queue import MessageQueues
from appliance.localnet.websocket.wire import ClientKey, ClientPublicKey

Client = Principal | ClientPublicKey
"""A client as the application names it: in v0 the client's 32-byte key, in v1 and v2 its principal."""
Key = ClientKey | ClientPublicKey
"""The address of a message: in v1 and v2 one connection of a client."""
Result = dict[str, object]
"""``variant {Ok; Err: text}``."""
OK: Result = {"Ok": None}


class WsError(Exception):
    """The CDK answers ``Err`` with this text, which is part of its interface and must not be reworded."""


@dataclass
class Connection:
    """A client's open connection. The numbers are of the last message to it and of the next one from it."""

    key: Key
    client: Client
    gateway: Principal
    last_keep_alive_ns: int
    expected_num: int
    last_sent_num: int = 0
    was_acknowledged: bool = False


class WrongSequenceNumber(WsError):
    """A wrong sequence number, after which the connection is to be removed."""

    def __init__(self, connection: Connection, text: str) -> None:
        super().__init__(text)
        self.connection = connection


@dataclass(frozen=True)
class Admission:
    """The result of ``ws_open``: a connection to add, one to remove before that, and the answer."""

    connection: Connection
    replaced: Connection | None
    answer: Result


@dataclass(frozen=True)
class SocketEstablished:
    """The gateway reports that the client's socket is open (v0)."""

    client: Client


@dataclass(frozen=True)
class ApplicationMessage:
    """A client's message for the application."""

    client: Client
    content: bytes


@dataclass(frozen=True)
class ServiceMessage:
    """A client's message for the CDK itself."""

    connection: Connection
    content: bytes


Incoming = SocketEstablished | ApplicationMessage | ServiceMessage
"""The content of a call of ``ws_message``."""


class Clients(ABC):
    """The open connections of a canister. ``gateway`` is the only one that may call, None where any may."""

    def __init__(self, dialect: Dialect, undo_log: UndoLog, queues: MessageQueues, gateway: Principal | None) -> None:
        self.dialect = dialect
        self.undo_log = undo_log
        self.queues = queues
        self.gateway = gateway
        self.connections: dict[Key, Connection] = {}

    def __iter__(self) -> Iterator[Connection]:
        """The open connections, the oldest first. A copy: the caller may remove them while iterating."""
        return iter(list(self.connections.values()))

    def __len__(self) -> int:
        return len(self.connections)

    def register(self, caller: Principal, key: ClientPublicKey) -> None:
        """Register the key that a client will sign with. Only v0 has this."""
        raise WsError(f"clients of generation {self.dialect.generation} do not register")

    @abstractmethod
    def admit(self, env: Environment, args: Any) -> Admission:
        """Check the argument of ``ws_open``."""

    @abstractmethod
    def incoming(self, env: Environment, message: Any) -> Incoming:
        """Check the message of ``ws_message``. Raises WrongSequenceNumber where that ends the connection."""

    @abstractmethod
    def closing(self, env: Environment, key: Any) -> Connection:
        """Check the key of ``ws_close``; returns the connection to remove."""

    @abstractmethod
    def connection_of(self, client: Client) -> Connection:
        """The connection that messages for a client go to."""

    def add(self, connection: Connection) -> None:
        """Add an open connection."""
        self.undo_log.put(self.connections, connection.key, connection)

    def forget(self, connection: Connection) -> None:
        """Remove a connection, if it is open."""
        if connection.key in self.connections:
            self.undo_log.remove(self.connections, connection.key)

    def check_gateway(self, caller: Principal) -> None:
        """Raises WsError for a caller other than the one gateway, where there is one."""
        if self.gateway not in (None, caller):
            raise WsError("caller is not the gateway that has been registered during CDK initialization")
