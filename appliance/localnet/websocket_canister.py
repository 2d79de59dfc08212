"""The WebSocket backend canister, wire generation v2: what ic-websocket-cdk 0.4.1 does (IC-WebSocket CDK, ``lib.rs``).

An application is a subclass with the hooks ``on_open``, ``on_message`` and ``on_close``; it calls ``send`` and
``close``.
"""

from dataclasses import dataclass
from typing import ClassVar, TypedDict

from appliance.errors import CandidError
from appliance.ic.principal import ANONYMOUS, Principal
from appliance.localnet import websocket_wire as wire
from appliance.localnet.canister import Environment, Trap
from appliance.localnet.message_queue import MessageQueues
from appliance.localnet.python_canister import PythonCanister
from appliance.localnet.websocket_wire import ClientKey, ClientKeyValue, WebsocketMessage

Result = dict[str, object]
"""``variant {Ok; Err: text}``."""
OK: Result = {"Ok": None}


@dataclass(frozen=True)
class WsInitParams:
    """How the canister treats its clients (CDK, ``WsInitParams``).

    ``send_ack_interval_ms``: time between acknowledgements to every client, also how long messages wait to be polled;
    must be greater than the keep-alive timeout. ``max_number_of_returned_messages``: per poll.
    """

    max_number_of_returned_messages: int = 50
    send_ack_interval_ms: int = 300_000


class WsError(Exception):
    """What the CDK answers as ``Err``: its text is part of the interface."""


@dataclass
class _Client:
    key: ClientKey
    gateway: Principal
    last_keep_alive_ns: int
    last_sent_num: int = 0
    expected_num: int = 1
    was_acknowledged: bool = False


class OpenArguments(TypedDict):
    """Of ``ws_open``."""

    client_nonce: int
    gateway_principal: Principal


class CloseArguments(TypedDict):
    """Of ``ws_close``."""

    client_key: ClientKeyValue


class MessageArguments(TypedDict):
    """Of ``ws_message``."""

    msg: WebsocketMessage


class GetMessagesArguments(TypedDict):
    """Of ``ws_get_messages``."""

    nonce: int


class WebSocketCanister(PythonCanister):
    """Holds the clients, counts their messages both ways, acknowledges and drops the silent ones."""

    app_message: ClassVar[str] = "reserved"
    """The Candid type of the application's messages."""
    methods: ClassVar[str] = ""
    """Further Candid methods of the application, each a line ``name : type;``."""
    keep_alive_timeout_ms: ClassVar[int] = 60_000
    """How long a client may take to answer an acknowledgement (CDK, ``CLIENT_KEEP_ALIVE_TIMEOUT_MS``)."""

    def __init_subclass__(cls) -> None:
        """Compose the interface from the application's part."""
        super().__init_subclass__()
        cls.did = wire.interface(cls.app_message, cls.methods)

    def __init__(self, params: WsInitParams | None = None) -> None:
        super().__init__()
        self.params = params or WsInitParams()
        self._interval_ns = self.params.send_ack_interval_ms * 1_000_000
        self._reset()

    # --- the application ---

    def on_open(self, env: Environment, client: Principal) -> None:
        """A client has opened a connection."""

    def on_message(self, env: Environment, client: Principal, message: bytes) -> None:
        """A client has sent a message, Candid of the application's type."""

    def on_close(self, env: Environment, client: Principal) -> None:
        """A client's connection is gone."""

    def send(self, env: Environment, client: Principal, message: bytes) -> None:
        """Queue a message for a client. Raises WsError for a client without a connection."""
        self._push(env, self._client_of(client), message, is_service_message=False)

    def close(self, env: Environment, client: Principal) -> None:
        """Close a client's connection. Raises WsError for a client without a connection."""
        self._remove(env, self._client_of(client), reason="ClosedByApplication")

    # --- Candid methods ---

    def init(self, env: Environment, *arguments: object) -> None:
        """Start the timers. Traps for parameters that cannot be."""
        if self.params.send_ack_interval_ms <= self.keep_alive_timeout_ms:
            raise Trap("send_ack_interval_ms must be greater than CLIENT_KEEP_ALIVE_TIMEOUT_MS")
        self._reset()
        self._ack_at_ns = env.time_ns + self._interval_ns
        self._arm(env)

    def ws_open(self, env: Environment, args: OpenArguments) -> Result:
        """A client opens a connection through a gateway; replaces an older one of the same principal."""
        if env.caller == ANONYMOUS:
            return _err("Anonymous principal is not allowed")
        key = ClientKey(env.caller, args["client_nonce"])
        old = self._clients.get(env.caller)
        if old is not None and old.key == key:
            return _err(f"Client with key {key} already has an open connection")
        if old is not None:
            self._remove(env, old, reason=None)
        client = _Client(key, args["gateway_principal"], env.time_ns)
        self.journal.put(self._clients, env.caller, client)
        self._queues.join(client.gateway)
        self._push_service(env, client, {"OpenMessage": {"client_key": key.to_candid()}})
        self.on_open(env, env.caller)
        return OK

    def ws_message(self, env: Environment, args: MessageArguments, _type: object) -> Result:
        """A client's message, from the application or a keep-alive."""
        message = args["msg"]
        try:
            client = self._client_of(env.caller)
            self._check_order(env, client, message)
            if message["is_service_message"]:
                self._receive_service(env, client, message["content"])
            else:
                self.on_message(env, env.caller, message["content"])
        except WsError as error:
            return _err(str(error))
        return OK

    def ws_close(self, env: Environment, args: CloseArguments) -> Result:
        """A gateway tells that a client's socket is gone."""
        key = wire.client_key(args["client_key"])
        if env.caller not in self._queues:
            return _err(f"Gateway with principal {env.caller} is not registered")
        client = self._clients.get(key.principal)
        if client is None or client.key != key:
            return _err(f"Client with key {key} doesn't have an open connection")
        if client.gateway != env.caller:
            return _err(f"Client with key {key} was not registered to gateway {env.caller}")
        self._remove(env, client, reason=None)
        return OK

    def ws_get_messages(self, env: Environment, args: GetMessagesArguments) -> Result:
        """The caller's own messages as a gateway; none for others."""
        page = self._queues.page(env.caller, args["nonce"], self.params.max_number_of_returned_messages)
        certificate = env.data_certificate() if page.messages else b""
        if certificate is None:
            raise Trap("no data certificate available, ws_get_messages must be a query")
        messages = [{"client_key": m.client, "key": m.key, "content": m.content} for m in page.messages]
        answer = {"messages": messages, "cert": certificate, "tree": page.tree}
        return {"Ok": answer | {"is_end_of_queue": page.is_end_of_queue}}

    # --- timers ---

    def timer(self, env: Environment) -> None:
        """Acknowledge every interval; look for silent clients a keep-alive timeout later."""
        if self._check_at_ns and env.time_ns >= self._check_at_ns:
            self.journal.set(self, "_check_at_ns", 0)
            self._check_keep_alive(env)
        if env.time_ns >= self._ack_at_ns:
            self.journal.set(self, "_ack_at_ns", env.time_ns + self._interval_ns)
            self.journal.set(self, "_check_at_ns", env.time_ns + self.keep_alive_timeout_ms * 1_000_000)
            self._acknowledge(env)
        self._arm(env)

    def _arm(self, env: Environment) -> None:
        env.set_timer(min(filter(None, (self._ack_at_ns, self._check_at_ns))))

    def _acknowledge(self, env: Environment) -> None:
        for client in list(self._clients.values()):
            received = {"last_incoming_sequence_num": client.expected_num - 1}
            self._push_service(env, client, {"AckMessage": received})
            self.journal.set(client, "was_acknowledged", value=True)

    def _check_keep_alive(self, env: Environment) -> None:
        self._queues.remove_deserted(env)
        for client in list(self._clients.values()):
            silent_ns = env.time_ns - client.last_keep_alive_ns
            if client.was_acknowledged and silent_ns > self.keep_alive_timeout_ms * 1_000_000:
                self._remove(env, client, reason="KeepAliveTimeout")

    # --- clients ---

    def _reset(self) -> None:
        self._clients: dict[Principal, _Client] = {}
        self._queues = MessageQueues(self.journal, max_age_ns=self._interval_ns)
        self._ack_at_ns = 0
        self._check_at_ns = 0

    def _client_of(self, principal: Principal) -> _Client:
        client = self._clients.get(principal)
        if client is None:
            raise WsError(f"Client with principal {principal} doesn't have an open connection")
        return client

    def _check_order(self, env: Environment, client: _Client, message: WebsocketMessage) -> None:
        if wire.client_key(message["client_key"]) != client.key:
            principal = message["client_key"]["client_principal"]
            raise WsError(f"Client with principal {principal} has a different key than the one used in the message")
        expected, actual = client.expected_num, message["sequence_num"]
        if actual != expected:
            self._remove(env, client, reason="WrongSequenceNumber")
            raise WsError(f"Expected incoming sequence number {expected} but got {actual}")
        self.journal.set(client, "expected_num", expected + 1)

    def _receive_service(self, env: Environment, client: _Client, content: bytes) -> None:
        try:
            (message,) = wire.SERVICE_MESSAGE.decode(content)
        except CandidError as error:
            raise WsError(f"Error decoding service message content: {error.problem}") from error
        if not isinstance(message, dict) or "KeepAliveMessage" not in message:
            raise WsError("Invalid service message")
        self.journal.set(client, "last_keep_alive_ns", env.time_ns)

    def _remove(self, env: Environment, client: _Client, *, reason: str | None) -> None:
        """Forget a client; with a reason it is told so."""
        if reason is not None:
            self._push_service(env, client, {"CloseMessage": {"reason": {reason: None}}})
        self.journal.remove(self._clients, client.key.principal)
        self._queues.leave(client.gateway, now_ns=env.time_ns)
        self.on_close(env, client.key.principal)

    # --- messages to clients ---

    def _push_service(self, env: Environment, client: _Client, message: dict[str, object]) -> None:
        self._push(env, client, wire.SERVICE_MESSAGE.encode(message), is_service_message=True)

    def _push(self, env: Environment, client: _Client, content: bytes, *, is_service_message: bool) -> None:
        self.journal.set(client, "last_sent_num", client.last_sent_num + 1)
        written = wire.message_content(
            client.key,
            sequence_num=client.last_sent_num,
            timestamp_ns=env.time_ns,
            is_service_message=is_service_message,
            content=content,
        )
        self._queues.push(env, client.gateway, client.key.to_candid(), written)


def _err(text: str) -> Result:
    return {"Err": text}
