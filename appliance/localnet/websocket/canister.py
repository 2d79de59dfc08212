"""The WebSocket backend canister: what ic-websocket-cdk does (IC-WebSocket CDK, ``lib.rs``), in every wire generation.

An application is a subclass with the hooks ``on_open``, ``on_message``, ``on_close`` and ``on_wake``. It calls
``send``, ``close`` and ``wake``. How the generations differ is in `dialect`.
"""

from typing import Any, ClassVar, TypedDict, assert_never

from appliance.errors import CandidError
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment, Trap
from appliance.localnet.canisters.python_canister import PythonCanister
from appliance.localnet.websocket.clients import (
    OK,
    ApplicationMessage,
    Client,
    Clients,
    Connection,
    Incoming,
    Result,
    ServiceMessage,
    SocketEstablished,
    WrongSequenceNumber,
    WsError,
)
from appliance.localnet.websocket.dialect import DIALECTS, Acknowledgements, Generation, WsInitParams
from appliance.localnet.websocket.interface import interface
from appliance.localnet.websocket.key_clients import KeyClients
from appliance.localnet.websocket.message_queue import MessageQueues
from appliance.localnet.websocket.principal_clients import PrincipalClients
from appliance.localnet.websocket.wire import ClientKey, ClientPublicKey, message_content

__all__ = ["Client", "ClientPublicKey", "Generation", "WebSocketCanister", "WsError", "WsInitParams"]

_MS = 1_000_000


class RegisterArguments(TypedDict):
    """Of ``ws_register``."""

    client_key: bytes


class GetMessagesArguments(TypedDict):
    """Of ``ws_get_messages``."""

    nonce: int


class WebSocketCanister(PythonCanister):
    """Holds the clients, numbers their messages in both directions, acknowledges them and removes silent clients.

    ``gateway`` is the principal of the only gateway that v0 and v1 accept; v2 accepts any and ignores it.
    Raises ValueError where it is missing, and for parameters that the generation does not have.
    """

    app_message: ClassVar[str] = "reserved"
    """The Candid type of the application's messages in v1 and v2."""
    methods: ClassVar[str] = ""
    """Further Candid methods of the application, each a line ``name : type;``."""

    def __init__(
        self,
        params: WsInitParams | None = None,
        *,
        generation: Generation = "v2",
        gateway: Principal | None = None,
    ) -> None:
        self.dialect = DIALECTS[generation]
        if self.dialect.has_one_gateway and gateway is None:
            raise ValueError(f"a canister of generation {generation} needs the principal of its one gateway")
        self.did = interface(generation, self.app_message, self.methods)
        super().__init__()
        self.gateway = gateway if self.dialect.has_one_gateway else None
        self.params = self.dialect.complete(params or WsInitParams())
        self._interval_ns = (self.params.send_ack_interval_ms or 0) * _MS
        self._timeout_ns = (self.params.keep_alive_timeout_ms or 0) * _MS
        self._reset()

    # --- the application ---

    def on_open(self, env: Environment, client: Client) -> None:
        """A client has opened a connection."""

    def on_message(self, env: Environment, client: Client, message: bytes) -> None:
        """A client has sent a message: Candid of the application's type, in v0 CBOR by custom."""

    def on_close(self, env: Environment, client: Client) -> None:
        """A client's connection is gone."""

    def on_wake(self, env: Environment) -> None:
        """The time of ``wake`` has come."""

    def wake(self, env: Environment, at_ns: int) -> None:
        """Call ``on_wake`` at this time, and not at an earlier one that was set before; 0 is never."""
        self.undo_log.set(self, "_wake_at_ns", at_ns)
        self._arm(env)

    def send(self, env: Environment, client: Client, message: bytes) -> None:
        """Queue a message for a client. Raises WsError for a client without a connection."""
        self._push(env, self._clients.connection_of(client), message, is_service_message=False)

    def close(self, env: Environment, client: Client) -> None:
        """Close a client's connection. Raises WsError for a client without a connection.

        v0 and v1 have no message for it: the client finds out when its next message is refused.
        """
        self._remove(env, self._clients.connection_of(client), reason="ClosedByApplication")

    # --- Candid methods ---

    def init(self, env: Environment, *arguments: object) -> None:
        """Start the timers. Traps for parameters that cannot be."""
        self._reset()
        acknowledgements = self.dialect.acknowledgements
        if acknowledgements is None:
            return
        if self._interval_ns <= self._timeout_ns:
            raise Trap(f"send_ack_interval_ms must be greater than {acknowledgements.keep_alive_timeout_name}")
        self._ack_at_ns = env.time_ns + self._interval_ns
        self._arm(env)

    def ws_register(self, env: Environment, args: RegisterArguments) -> Result:
        """A client announces its key (v0)."""
        self._clients.register(env.caller, ClientPublicKey(args["client_key"]))
        return OK

    def ws_open(self, env: Environment, args: Any) -> Result:
        """A client opens a connection through a gateway. In v0 the gateway does it for the client."""
        try:
            admission = self._clients.admit(env, args)
        except WsError as error:
            return _err(error)
        if admission.replaced is not None:
            self._remove(env, admission.replaced, reason=None)
        connection = admission.connection
        self._clients.add(connection)
        self._queues.join(connection.gateway)
        if isinstance(connection.key, ClientKey):  # v0 reports the open socket by a call of its own
            self._push_service(env, connection, {"OpenMessage": {"client_key": connection.key.to_candid()}})
            self.on_open(env, connection.client)
        return admission.answer

    def ws_message(self, env: Environment, args: dict[str, Any], _type: object = None) -> Result:
        """A client's message: of the application or a keep-alive. In v0 also the report that its socket is open."""
        try:
            self._receive(env, self._clients.incoming(env, args["msg"]))
        except WrongSequenceNumber as error:
            self._remove(env, error.connection, reason="WrongSequenceNumber")
            return _err(error)
        except WsError as error:
            return _err(error)
        return OK

    def ws_close(self, env: Environment, args: dict[str, Any]) -> Result:
        """A gateway reports that a client's socket is closed."""
        try:
            connection = self._clients.closing(env, args["client_key"])
        except WsError as error:
            return _err(error)
        self._remove(env, connection, reason=None)
        return OK

    def ws_get_messages(self, env: Environment, args: GetMessagesArguments) -> Result:
        """The messages queued for the calling gateway. Others get none, or an error where there is one gateway."""
        try:
            self._clients.check_gateway(env.caller)
        except WsError as error:
            return _err(error)
        limit = self.params.max_number_of_returned_messages or 0
        page = self._queues.page(env.caller, self._first_of_page(env, args["nonce"], limit), limit)
        certificate = env.data_certificate() if page.messages else b""
        if certificate is None:
            raise Trap("no data certificate available, ws_get_messages must be a query")
        content = self.dialect.content_name
        messages = [{"client_key": m.client, "key": m.key, content: m.content} for m in page.messages]
        answer: dict[str, object] = {"messages": messages, "cert": certificate, "tree": page.tree}
        if self.dialect.has_end_of_queue:
            answer["is_end_of_queue"] = page.is_end_of_queue
        return {"Ok": answer}

    # --- timers ---

    def timer(self, env: Environment) -> None:
        """Acknowledge every interval; check for silent clients a keep-alive timeout later; wake the application."""
        if self._wake_at_ns and env.time_ns >= self._wake_at_ns:
            self.undo_log.set(self, "_wake_at_ns", 0)
            self.on_wake(env)
        if self._check_at_ns and env.time_ns >= self._check_at_ns:
            self.undo_log.set(self, "_check_at_ns", 0)
            self._check_keep_alive(env)
        if self._ack_at_ns and env.time_ns >= self._ack_at_ns:
            self.undo_log.set(self, "_ack_at_ns", env.time_ns + self._interval_ns)
            self.undo_log.set(self, "_check_at_ns", env.time_ns + self._timeout_ns)
            self._acknowledge(env)
        self._arm(env)

    def _arm(self, env: Environment) -> None:
        # An execution without any of them turns the timer off: v0 has no acknowledgements.
        env.set_timer(min(filter(None, (self._ack_at_ns, self._check_at_ns, self._wake_at_ns)), default=0))

    def _acknowledge(self, env: Environment) -> None:
        for connection in self._clients:
            received = {"last_incoming_sequence_num": connection.expected_num - 1}
            self._push_service(env, connection, {"AckMessage": received})
            self.undo_log.set(connection, "was_acknowledged", value=True)

    def _check_keep_alive(self, env: Environment) -> None:
        self._queues.remove_unused(env)
        for connection in self._clients:
            silent_ns = env.time_ns - connection.last_keep_alive_ns
            if connection.was_acknowledged and silent_ns > self._timeout_ns:
                self._remove(env, connection, reason="KeepAliveTimeout")

    # --- clients ---

    def _reset(self) -> None:
        max_age_ns = None if self.dialect.keeps_messages else self._interval_ns
        self._queues = MessageQueues(self.undo_log, max_age_ns=max_age_ns)
        kind = KeyClients if self.dialect.registers_keys else PrincipalClients
        self._clients: Clients = kind(self.dialect, self.undo_log, self._queues, self.gateway)
        self._ack_at_ns = 0
        self._check_at_ns = 0
        self._wake_at_ns = 0

    def _receive(self, env: Environment, incoming: Incoming) -> None:
        match incoming:
            case SocketEstablished(client):
                self.on_open(env, client)
            case ApplicationMessage(client, content):
                self.on_message(env, client, content)
            case ServiceMessage(connection, content):
                self._receive_service(env, connection, content)
            case _:
                assert_never(incoming)

    def _receive_service(self, env: Environment, client: Connection, content: bytes) -> None:
        acknowledgements = self._acknowledgements()
        try:
            (message,) = acknowledgements.message.decode(content)
        except CandidError as error:
            raise WsError(f"Error decoding service message content: {error.problem}") from error
        if not isinstance(message, dict) or "KeepAliveMessage" not in message:
            raise WsError(acknowledgements.invalid_message)
        self.undo_log.set(client, "last_keep_alive_ns", env.time_ns)

    def _remove(self, env: Environment, client: Connection, *, reason: str | None) -> None:
        """Remove a client; with a reason it gets a CloseMessage, where the generation has one."""
        if reason is not None and self.dialect.sends_close_messages:
            self._push_service(env, client, {"CloseMessage": {"reason": {reason: None}}})
        self._clients.forget(client)
        self._queues.leave(client.gateway, now_ns=env.time_ns)
        self.on_close(env, client.client)

    # --- messages to clients ---

    def _first_of_page(self, env: Environment, nonce: int, limit: int) -> int:
        if nonce == 0 and self.dialect.nonce_zero_is_newest:
            return max(0, self._queues.next_nonce(env.caller) - limit)
        return nonce

    def _acknowledgements(self) -> Acknowledgements:
        if self.dialect.acknowledgements is None:
            raise WsError(f"generation {self.dialect.generation} has no service messages")
        return self.dialect.acknowledgements

    def _push_service(self, env: Environment, client: Connection, message: dict[str, object]) -> None:
        self._push(env, client, self._acknowledgements().message.encode(message), is_service_message=True)

    def _push(self, env: Environment, client: Connection, content: bytes, *, is_service_message: bool) -> None:
        self.undo_log.set(client, "last_sent_num", client.last_sent_num + 1)
        written = message_content(
            client.key,
            sequence_num=client.last_sent_num,
            timestamp_ns=env.time_ns,
            is_service_message=is_service_message,
            content=content,
        )
        self._queues.push(env, client.gateway, client.key.to_candid(), written)


def _err(error: WsError) -> Result:
    return {"Err": str(error)}
