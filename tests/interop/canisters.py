"""The canisters that clients are run against: the same ping-pong in Python and, on the real CDK, in Rust."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from appliance.crypto import CandidTypes
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Canister, Environment
from appliance.localnet.wasm.canister import WasmCanister
from appliance.localnet.websocket.canister import WsInitParams
from appliance.localnet.websocket.pingpong import PingPong
from appliance.localnet.websocket.wire import SERVICE_MESSAGE
from tests import demo
from tests.interop import cdks
from tests.network import Generation, Network, running


@dataclass(frozen=True)
class Backend:
    """A kind of canister: how one is made for a generation and for its gateway, and the argument of its installation.

    ``anew`` replaces the code of an installed one by the same, which forgets all clients.
    """

    name: str
    make: Callable[[Generation, Principal, WsInitParams | None], Canister]
    arg: Callable[[WsInitParams | None], bytes | Callable[[Principal], bytes]]
    anew: Callable[[Network], None]

    def serve(
        self, generation: Generation = "v2", params: WsInitParams | None = None, **options: Any
    ) -> AbstractAsyncContextManager[Network]:
        """A gateway in front of such a canister; `options` are those of ``running``."""
        arg = self.arg(params)
        return running(
            lambda gateway: self.make(generation, gateway, params), arg=arg, generation=generation, **options
        )


class Outspoken(PingPong):
    """Closes with the CloseMessage of v2 in a generation that does not have it, as canisters of later SDKs do."""

    def close(self, env: Environment, client: Any) -> None:
        message = SERVICE_MESSAGE.encode({"CloseMessage": {"reason": {"ClosedByApplication": None}}})
        self._push(env, self._clients.connection_of(client), message, is_service_message=True)
        super().close(env, client)


def _python(kind: type[PingPong]) -> Backend:
    def make(generation: Generation, gateway: Principal, params: WsInitParams | None) -> Canister:
        return kind(params, generation=generation, gateway=gateway)

    def anew(network: Network) -> None:
        canister = network.localnet.replica.canisters[network.canister_id].canister
        assert canister is not None
        network.localnet.reinstall_canister(network.canister_id, canister)

    return Backend(kind.__name__, make, lambda _params: b"", anew)


def _upgrade(network: Network) -> None:
    network.localnet.replica.upgrade_canister(network.canister_id, demo.module(), arg=demo.settings())


def _old(version: str) -> Backend:
    """Ping-pong on a CDK of wire generation v1, which is installed with the gateway's principal."""

    def install_arg(gateway: Principal) -> bytes:
        return CandidTypes("(text)").encode(str(gateway))

    def make(_generation: Generation, _gateway: Principal, _params: WsInitParams | None) -> Canister:
        return WasmCanister(cdks.module(version), cache=cdks.CACHE)

    def anew(network: Network) -> None:
        canister = WasmCanister(cdks.module(version), cache=cdks.CACHE)
        arg = install_arg(network.gateway.principal)
        network.localnet.reinstall_canister(network.canister_id, canister, arg=arg)

    return Backend(f"CDK {version}", make, lambda _params: install_arg, anew)


PYTHON = _python(PingPong)
OUTSPOKEN = _python(Outspoken)
RUST = Backend(
    "demo canister",
    lambda _generation, _gateway, _params: WasmCanister(demo.module(), cache=demo.CACHE),
    demo.settings,
    _upgrade,
)
BACKENDS = (PYTHON, RUST)
OLD = {version: _old(version) for version in cdks.VERSIONS}
"""By the release of ic-websocket-cdk."""
