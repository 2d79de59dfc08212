"""`connect`: opens a connection from the arguments of an application."""

import ssl as tls
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from appliance.client.channel import Channel
from appliance.client.codec import MessageType, codec_for
from appliance.client.connection import Connection
from appliance.client.connector import Connector, ConnectParameters, EnvelopedConnector
from appliance.client.reconnect import Backoff, Change, ReconnectState
from appliance.client.register import RegisteredConnector
from appliance.client.sessions.session import Generation, Limits
from appliance.client.settings import gateways_of, generation_of, registration_of, verifier_for
from appliance.crypto import SigningKey, Verifier
from appliance.errors import GatewayError
from appliance.ic.identity import KeyIdentity, adapt
from appliance.ic.principal import Principal
from appliance.ic.transport import HttpTransport

_TIMEOUT_S = 15.0  # of a request to the IC; it keeps calls open for up to 10 s
_MAX_REPLY = 4 * 1024**2  # bytes


@asynccontextmanager
async def connect(
    url: str | Sequence[str],
    canister_id: Principal | str,
    *,
    identity: object = None,
    generation: Generation | None = None,
    message_type: MessageType | None = None,
    type_name: str | None = None,
    network_url: str | None = None,
    root_key: bytes | str | None = None,
    verifier: Verifier | None = None,
    reconnect: bool | Backoff = False,
    on_change: Callable[[Change], object] | None = None,
    client_key: SigningKey | None = None,
    direct: bool = False,
    limits: Limits | None = None,
    ssl: tls.SSLContext | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> AsyncIterator[Connection]:
    """Open a session with a canister through a gateway, and close it at the end of the block.

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
    gateways = gateways_of(url)
    spoken = generation_of(gateways, generation)
    codec = codec_for(spoken, message_type, type_name)
    canister = Principal.from_text(canister_id) if isinstance(canister_id, str) else canister_id
    signer = KeyIdentity(SigningKey.generate("ed25519")) if identity is None else adapt(identity)
    registration = registration_of(spoken, network_url, client_key, direct=direct)
    trusted = verifier or await verifier_for(root_key, network_url)
    parameters = ConnectParameters(canister, signer, trusted, limits, ssl, clock)
    async with AsyncExitStack() as stack:
        connector: Connector
        if registration is None:
            connector = EnvelopedConnector(parameters, spoken)
        else:
            transport = HttpTransport([registration.network_url], timeout_s=_TIMEOUT_S, max_reply=_MAX_REPLY)
            connector = RegisteredConnector(parameters, await stack.enter_async_context(transport), registration)
        channel, state = await _first(connector, gateways)
        backoff = reconnect if isinstance(reconnect, Backoff) else Backoff()
        connection = Connection(
            channel,
            connector,
            codec,
            reconnect_state=ReconnectState(state.gateways, backoff),
            reconnect=reconnect is not False,
            on_change=on_change,
        )
        stack.push_async_callback(connection.close)
        yield connection


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
            before.append(f"before that, {state.gateway}: {error}")
            state = following
