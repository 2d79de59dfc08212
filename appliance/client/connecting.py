"""`connect`: opens a connection from the arguments of an application."""

import ssl as tls
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import KW_ONLY, dataclass
from typing import Any, Generic, Literal, Required, TypeAlias, TypedDict, Unpack, overload

from typing_extensions import TypeVar

from appliance.client.channel import Channel
from appliance.client.codec import CandidValue, MessageType, codec_for
from appliance.client.connection import Connection
from appliance.client.connector import Connector, ConnectParameters, EnvelopedConnector
from appliance.client.errors import MessageUntrusted, OtherNetwork
from appliance.client.opening import without_credentials
from appliance.client.reconnect import Backoff, Change, ReconnectState
from appliance.client.register import RegisteredConnector
from appliance.client.sessions.session import Generation, Limits
from appliance.client.settings import gateways_of, generation_of, registration_of, verifier_for
from appliance.crypto import SigningKey, Verifier
from appliance.errors import CertificateSignatureInvalid, GatewayError
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import KeyIdentity, adapt
from appliance.ic.principal import Principal

_TIMEOUT_S = 15.0  # of a request to the IC; it keeps calls open for up to 10 s
_MAX_REPLY = 4 * 1024**2  # bytes

V = TypeVar("V", default=CandidValue)
Url: TypeAlias = str | Sequence[str]
CanisterId: TypeAlias = Principal | str


@dataclass(frozen=True)
class Arguments:
    """Those of `connect`, where they are explained."""

    url: Url
    canister_id: CanisterId
    _: KW_ONLY
    identity: object = None
    generation: Generation | None = None
    message_type: MessageType | None = None
    type_name: str | None = None
    network_url: str | None = None
    root_key: bytes | str | None = None
    verifier: Verifier | None = None
    reconnect: bool | Backoff = False
    on_change: Callable[[Change], object] | None = None
    client_key: SigningKey | None = None
    direct: bool = False
    limits: Limits | None = None
    ssl: tls.SSLContext | None = None
    clock: Callable[[], int] = time.time_ns


class Options(TypedDict, total=False):
    """The arguments of `connect` by name, for type checkers: those that do not change the type of its values."""

    identity: object
    type_name: str | None
    network_url: str | None
    root_key: bytes | str | None
    verifier: Verifier | None
    reconnect: bool | Backoff
    on_change: Callable[[Change], object] | None
    client_key: SigningKey | None
    direct: bool
    limits: Limits | None
    ssl: tls.SSLContext | None
    clock: Callable[[], int]


# A class for each overload of `connect`, here and in `appliance.client.sync`. The two cannot inherit the overloads from
# one class: type checkers ignore a self type such as `connect[bytes]` in a base class, and with it the type of values.


class OptionsOfV0(Options):
    """Where values are CBOR."""

    generation: Literal["v0"]


class OptionsOfBytes(Options, total=False):
    """Where values are bytes."""

    generation: Generation | None
    message_type: None


class OptionsOfValues(Options, total=False):
    """Where values have a Candid type."""

    generation: Generation | None
    message_type: Required[MessageType | None]


class connect(AbstractAsyncContextManager["Connection[V]"], Generic[V]):  # noqa: N801 - used as a function
    """A session with a canister through a gateway: ``async with connect(…) as connection`` closes it at the end of the
    block, ``connection = await connect(…)`` leaves that to `Connection.close`.

    The type of its values is bytes without a `message_type`, else `CandidValue` or the one in brackets:
    ``connect[Chat](…)``, with a TypedDict for a record. It is for type checkers, which do not see a generation in a
    path: to them, v0 is ``generation="v0"``.

    `url` is ``ws://`` or ``wss://``, or a list of such URLs: the first gateway that accepts the client is used.
    `generation` is the wire generation; without one it is the end of the path (``/v0``, ``/v1``, ``/v2``), else it is
    v2. `identity` is one of `appliance.ic.identity` or of another library that its `adapt` takes; without one a fresh
    Ed25519 key is made.

    Messages are verified by `verifier`, or against `root_key`: 133 bytes of DER, 266 hexadecimal digits, ``mainnet``,
    or ``fetch`` to trust what `network_url` answers, which is the default where there is such a URL, else ``mainnet``.

    `message_type` is the type of values: a Candid type such as ``record {text: text}``, or an interface (the path of a
    ``.did`` file, or its text) of which the type is the one named `type_name`, else the one that the second argument of
    ``ws_message`` is an ``opt`` of. Without it values are bytes. In v0 they are always CBOR.

    With `reconnect` a session that is lost is followed by another, over all gateways in turn, as `Backoff` says
    (True: by its defaults); `on_change` is called with each `Change`, and must not wait.

    In v0 the client's key, `client_key` or a fresh one for each session, is registered with the canister by `identity`,
    over HTTP at `network_url`; with `direct` messages to the canister go there, too, instead of through the gateway.

    `clock` is nanoseconds since 1970.

    Raises ConfigError for arguments that contradict each other; ConnectFailed where no socket opens; KeyUnusable;
    CandidError and OSError (in `message_type`); an IcError where the root key cannot be fetched or the client's key not
    be registered; and the GatewayError that ends the session before the canister accepted the client. Where there are
    several gateways it is the last one's, with notes of the others.
    """

    @overload
    def __init__(self, url: Url, canister_id: CanisterId, **options: Unpack[OptionsOfV0]) -> None: ...

    @overload
    def __init__(
        self: "connect[bytes]", url: Url, canister_id: CanisterId, **options: Unpack[OptionsOfBytes]
    ) -> None: ...

    @overload
    def __init__(self, url: Url, canister_id: CanisterId, **options: Unpack[OptionsOfValues]) -> None: ...

    def __init__(self, url: Url, canister_id: CanisterId, **options: Any) -> None:
        self._arguments = Arguments(url, canister_id, **options)
        self._connection: Connection[V] | None = None

    def __await__(self) -> Generator[Any, None, "Connection[V]"]:
        return _connection(self._arguments).__await__()

    async def __aenter__(self) -> "Connection[V]":
        self._connection = await self
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            await self._connection.close()


async def _connection(given: Arguments) -> Connection[Any]:
    gateways = gateways_of(given.url)
    generation = generation_of(gateways, given.generation)
    codec = codec_for(generation, given.message_type, given.type_name)
    connector = await _connector(given, generation)
    try:
        channel, state = await _first(connector, gateways)
    except BaseException as error:
        await connector.close()
        if type(error) is MessageUntrusted and _lacks_network(given, error):
            raise OtherNetwork(error.expected, error.cause) from error
        raise
    backoff = given.reconnect if isinstance(given.reconnect, Backoff) else Backoff()
    return Connection(
        channel,
        connector,
        codec,
        reconnect_state=ReconnectState(state.gateways, backoff),
        reconnect=given.reconnect is not False,
        on_change=given.on_change,
    )


async def _connector(given: Arguments, generation: Generation) -> Connector:
    canister = given.canister_id
    canister = Principal.from_text(canister) if isinstance(canister, str) else canister
    identity = KeyIdentity(SigningKey.generate("ed25519")) if given.identity is None else adapt(given.identity)
    registration = registration_of(generation, given.network_url, given.client_key, direct=given.direct)
    verifier = given.verifier or await verifier_for(given.root_key, given.network_url)
    parameters = ConnectParameters(canister, identity, verifier, given.limits, given.ssl, given.clock)
    if registration is None:
        return EnvelopedConnector(parameters, generation)
    transport = HttpTransport([registration.network_url], timeout_s=_TIMEOUT_S, max_reply=_MAX_REPLY)
    return RegisteredConnector(parameters, transport, registration)


def _lacks_network(given: Arguments, error: MessageUntrusted) -> bool:
    is_by_default = given.verifier is None and given.root_key is None and given.network_url is None
    return is_by_default and isinstance(error.cause, CertificateSignatureInvalid)


async def _first(connector: Connector, gateways: tuple[str, ...]) -> tuple[Channel, ReconnectState]:
    """A session through the first gateway that accepts the client; each is tried once, without a wait."""
    state = ReconnectState(gateways, Backoff(first=0, attempts=len(gateways)))
    before: list[str] = []
    while True:
        try:
            return await connector.open(state.gateway), state
        except GatewayError as error:
            following = state.after_failure(error)
            if following is None:
                for note in before:
                    error.add_note(note)
                raise
            before.append(f"before that, {without_credentials(state.gateway)}: {error}")
            state = following
