"""The local IC as one thing: a replica and its HTTP port."""

from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from aiohttp import web

from appliance.ic.principal import Principal
from appliance.localnet.canister import Canister
from appliance.localnet.certification import Authority
from appliance.localnet.clock import Clock, SystemClock
from appliance.localnet.http import HttpInterface, Versions
from appliance.localnet.replica import Replica


class Localnet:
    """``async with Localnet() as net`` runs a local IC on a loopback port until the block is left.

    ``port`` 0 takes a free one, which is kept over ``stop_http`` and ``start_http``. With ``subnet`` states are signed
    by a subnet key under the root key, as on the mainnet. Equal seeds give equal keys and ids; without one the keys are
    random. ``clock`` is for tests that move the time.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        subnet: bool = False,
        seed: bytes | None = None,
        clock: Clock | None = None,
        versions: Versions | None = None,
    ) -> None:
        self.replica = Replica(Authority(subnet=subnet, seed=seed), clock or SystemClock())
        self._http = HttpInterface(self.replica, versions)
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises OSError where the port is taken."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.replica)
            stack.push_async_callback(self.stop_http)
            await self.start_http()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Where agents find it, without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def root_key(self) -> bytes:
        """DER, 133 bytes."""
        return self.replica.authority.root_key

    @property
    def subnet_id(self) -> Principal:
        """The subnet that hosts the canisters; the root subnet itself where there is no other."""
        return self.replica.authority.subnet_id

    def create_canister(
        self,
        canister: Canister,
        *,
        arg: bytes = b"",
        specified_id: Principal | None = None,
        controllers: Iterable[Principal] = (),
    ) -> Principal:
        """Install a canister; as `Replica.create_canister`."""
        return self.replica.create_canister(canister, arg=arg, specified_id=specified_id, controllers=controllers)

    def reinstall_canister(self, canister_id: Principal, canister: Canister, *, arg: bytes = b"") -> None:
        """Replace a canister by one with an empty state; as `Replica.reinstall_canister`."""
        self.replica.reinstall_canister(canister_id, canister, arg=arg)

    def upgrade_canister(self, canister_id: Principal, module: bytes, *, arg: bytes = b"") -> None:
        """Give a canister of Wasm other code; as `Replica.upgrade_canister`."""
        self.replica.upgrade_canister(canister_id, module, arg=arg)

    async def start_http(self) -> None:
        """Serve; does nothing while it does already. Raises OSError where the port is taken."""
        if self._runner is not None:
            return
        runner = web.AppRunner(self._http.application(), access_log=None, handle_signals=False, shutdown_timeout=0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, reuse_address=True).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._port = runner.addresses[0][1]
        self._runner = runner

    async def stop_http(self) -> None:
        """Close the port and every connection, at once; the replica lives on. Does nothing while it is closed."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
