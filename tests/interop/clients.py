"""The clients that are examined, through the same few acts each: the unmodified SDKs and the client of this package."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self, cast

from appliance.client import Connection, ConnectionClosed, connect
from appliance.errors import GatewayError
from appliance.localnet.websocket.pingpong import APP_MESSAGE
from tests.interop import node
from tests.network import Generation, Network


class End(NamedTuple):
    """The code and the reason that a client's application is told when the connection ends."""

    code: int
    reason: str


class Client(Protocol):
    """What an application can do and see. Whatever comes out of turn is an AssertionError."""

    async def opened(self) -> None:
        """The session opens."""

    async def send(self, text: str) -> None:
        """Send a message of the ping-pong."""

    async def receive(self) -> str:
        """The text of the next message of the ping-pong."""

    async def close(self) -> None:
        """End the session."""

    async def ended(self) -> End:
        """The session ends, with no further message before."""


@dataclass(frozen=True)
class Live:
    """A kind of client that runs here.

    `start` takes the network and the gateway's URL. `untrusted` is what the reason says of a message that does not
    verify.
    """

    name: str
    generation: Generation
    untrusted: str
    start: Callable[[Network, str], AbstractAsyncContextManager[Client]]
    project: str | None = None
    """The folder with the packages that it needs."""


# --- ic-websocket-js ------------------------------------------------------------------------------------------------


class _SdkClient:
    def __init__(self, driver: node.Driver) -> None:
        self._driver = driver

    async def opened(self) -> None:
        await self._driver.expect("open")

    async def send(self, text: str) -> None:
        await self._driver.tell(send=text)

    async def receive(self) -> str:
        return cast("str", (await self._driver.expect("message"))["text"])

    async def close(self) -> None:
        await self._driver.tell(close=True)

    async def ended(self) -> End:
        *errors, close = await self._driver.lines()
        assert all(line["event"] == "error" for line in errors), errors
        assert close["event"] == "close", close
        return End(close["code"], close["reason"])


@dataclass(frozen=True)
class Sdk:
    """A release of ic-websocket-js, and the wire generation that it speaks."""

    version: str
    generation: Generation

    @property
    def project(self) -> str:
        """The folder with its packages."""
        return f"ic-websocket-js-{self.version}"

    def driver(self, network: Network, *, url: str | None = None, **options: Any) -> node.Driver:
        """One client of a network; `options` as in ``drivers/websocket.cjs``. Raises node.Unavailable."""
        settings = {
            "url": url or network.url,
            "networkUrl": network.localnet.url,
            "canisterId": str(network.canister_id),
            "identity": "secp256k1",
        }
        return node.Driver(node.project(self.project), "websocket.cjs", {**settings, **options})


SDKS = (
    Sdk("0.1.1", "v1"),
    Sdk("0.1.2", "v1"),
    Sdk("0.3.2", "v2"),
    Sdk("0.3.3", "v2"),
    Sdk("0.4.1", "v2"),
    Sdk("0.5.0", "v2"),
)


def _live(sdk: Sdk) -> Live:
    @asynccontextmanager
    async def start(network: Network, url: str) -> AsyncIterator[Client]:
        async with sdk.driver(network, url=url) as driver:
            yield _SdkClient(driver)

    return Live(f"ic-websocket-js {sdk.version}", sdk.generation, "Error receiving message", start, sdk.project)


# --- appliance.client -----------------------------------------------------------------------------------------------


class _OwnClient:
    """Opens when it is asked whether it is open, so that a refusal is seen by who asks."""

    def __init__(self, connecting: AbstractAsyncContextManager[Connection]) -> None:
        self._connecting = connecting
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: Any) -> None:
        if self._connection is not None:
            await self._connecting.__aexit__(*error)

    async def opened(self) -> None:
        self._connection = await self._connecting.__aenter__()

    async def send(self, text: str) -> None:
        assert self._connection is not None
        await self._connection.send({"text": text, "timestamp": 0})

    async def receive(self) -> str:
        assert self._connection is not None
        message = await self._connection.receive()
        return cast("dict[str, str]", message.value)["text"]

    async def close(self) -> None:
        assert self._connection is not None
        await self._connection.close()

    async def ended(self) -> End:
        try:
            if self._connection is None:
                await self.opened()
            text = await self.receive()
        except ConnectionClosed as closed:
            return End(closed.code, closed.text)
        except GatewayError as error:
            return End(error.close_code, str(error))
        raise AssertionError(f"the session has not ended: {text!r} came")


def _own(generation: Generation) -> Live:
    def start(network: Network, url: str) -> AbstractAsyncContextManager[Client]:
        message_type = None if generation == "v0" else APP_MESSAGE
        options: dict[str, Any] = {"network_url": network.localnet.url, "message_type": message_type}
        return _OwnClient(connect(url, network.canister_id, **options))

    return Live("appliance.client", generation, "cannot be trusted", start)


LIVE_SDKS = tuple(map(_live, SDKS))
LIVE_OWN = (_own("v0"), _own("v1"), _own("v2"))
