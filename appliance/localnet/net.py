"""The local IC: a replica, its HTTP port, its page and its state folder."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from appliance import task_end
from appliance.crypto import SigningKey
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.canisters.candid_interface import FoundInterface
from appliance.localnet.canisters.canister import Canister
from appliance.localnet.canisters.record import CanisterRecord
from appliance.localnet.http.server import HttpInterface, Versions
from appliance.localnet.management.canister import ManagementCanister
from appliance.localnet.management.rules import ChangeOrigin
from appliance.localnet.page.routes import Page
from appliance.localnet.replica.node import SingleNode
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.certification import Authority, derive
from appliance.localnet.state.clock import Clock, SystemClock
from appliance.localnet.storage.state_folder import StateFolder
from appliance.localnet.subnet.conditions import Conditions
from appliance.localnet.subnet.subnet import Subnet
from appliance.localnet.subnet.travel import Travel

SAVE_INTERVAL_S = 2.0
SETTLE_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


class Localnet:
    """``async with Localnet() as net`` runs a local IC on a loopback port until the block is left.

    ``port`` 0 takes a free one, which is kept over ``stop_http`` and ``start_http``. States are signed by a subnet key
    under the root key, as on the mainnet, or with ``subnet`` False by the root key itself. Equal seeds give equal keys
    and ids; without one the keys are random. ``clock`` is for tests that move the time. Compiled modules are cached in
    the folder ``cache``. ``conditions`` are those of the subnet and of the way to it; without them one replica does
    everything at once.

    With ``state_dir`` keys, time and canisters are saved in that folder: read at the start, written every
    ``SAVE_INTERVAL_S`` in which something has changed, and at the end. Canisters in Python, open calls and the statuses
    of past calls are not saved. Raises StateUnusable where the folder cannot be used.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        subnet: bool | None = None,
        seed: bytes | None = None,
        clock: Clock | None = None,
        versions: Versions | None = None,
        state_dir: Path | None = None,
        cache: Path | None = None,
        conditions: Conditions | None = None,
    ) -> None:
        self.conditions = conditions or Conditions()
        self._folder = None if state_dir is None else StateFolder(state_dir)
        try:
            authority = self._authority(subnet, seed)
            facts = None if self._folder is None else self._folder.network
            ahead_ns = 0 if facts is None else facts.ahead_ns
            self.replica = Replica(authority, clock or SystemClock(ahead_ns=ahead_ns))
        except BaseException:
            self._close_folder()
            raise
        self.management = ManagementCanister(self.replica, cache=cache)
        self.replica.executor.management = self.management
        self.developer = KeyIdentity(SigningKey.from_secret("ed25519", derive(authority.seed, "developer")))
        self.page = Page(self.replica, self.developer, self.fast_forward)
        self._cache = cache
        self._subnet = Subnet(self.replica, self.conditions) if self.conditions.has_blocks else None
        self._http = self._http_interface(versions)
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises OSError where the port is taken."""
        async with AsyncExitStack() as stack:
            stack.callback(self._close_folder)
            if self._folder is not None:
                self._folder.restore(self.replica, cache=self._cache)
            await stack.enter_async_context(self._subnet or self.replica)
            await stack.enter_async_context(self._saving())
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
        """The URL for agents, without a slash at the end."""
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

    @property
    def names(self) -> dict[str, Principal]:
        """The ids of the canisters with names."""
        return {record.name: record.canister_id for record in self.replica.canisters if record.name}

    def deploy(
        self,
        name: str,
        module: bytes,
        *,
        arg: bytes = b"",
        controllers: Iterable[Principal] = (),
        interface: FoundInterface | None = None,
    ) -> Principal:
        """Install a Wasm module under a name: in a new canister, or as an upgrade of the canister with that name unless
        it runs the same module. The developer and ``controllers`` control it. The page shows ``interface`` if the
        module has none.

        Raises CallRejected, also for a failed installation; a new canister is deleted then.
        """
        origin, existing = ChangeOrigin(self.developer.principal), self.names.get(name)
        if existing is not None:
            record = self.replica.canisters[existing]
            record.beside = interface or record.beside
            if record.canister is None or record.canister.module_hash != sha256(module).digest():
                self.management.install(origin, record, _mode(record), module, arg)
            return existing
        record = self.management.create(origin, controllers=[origin.principal, *controllers])
        record.name, record.beside = name, interface or record.beside
        try:
            self.management.install(origin, record, {"install": None}, module, arg)
        except BaseException:
            self.replica.delete_canister(record.canister_id)
            raise
        self._publish()
        return record.canister_id

    async def fast_forward(self, seconds: float) -> None:
        """Move the clock ahead, and wait until everything is executed that is due by then: a timer once, however often
        it would have set itself again. Requests of clients with an unmoved clock are still accepted, but most of them
        refuse certificates from more than 5 minutes in the future. Raises ValueError for a negative number."""
        self.replica.clock.advance(round(seconds * 1e9))
        await self.settle()

    async def settle(self) -> None:
        """Wait until every call that was accepted and every timer that is due has been executed."""
        await (self._subnet or self.replica).settle()

    def save(self) -> bool:
        """Write the state now; False where nothing has changed or there is no state folder. Raises OSError."""
        return self._folder is not None and self._folder.save(self.replica)

    def create_canister(
        self,
        canister: Canister,
        *,
        arg: bytes = b"",
        specified_id: Principal | None = None,
        controllers: Iterable[Principal] = (),
    ) -> Principal:
        """Install a canister; as `Replica.create_canister`. Every replica knows it at once."""
        created = self.replica.create_canister(canister, arg=arg, specified_id=specified_id, controllers=controllers)
        self._publish()
        return created

    def reinstall_canister(self, canister_id: Principal, canister: Canister, *, arg: bytes = b"") -> None:
        """Replace code and state of a canister; as `Replica.reinstall_canister`."""
        self.replica.reinstall_canister(canister_id, canister, arg=arg)

    def upgrade_canister(self, canister_id: Principal, module: bytes, *, arg: bytes = b"") -> None:
        """Upgrade a canister of Wasm; as `Replica.upgrade_canister`."""
        self.replica.upgrade_canister(canister_id, module, arg=arg)

    async def start_http(self) -> None:
        """Open the port; does nothing while it is open. Raises OSError where the port is taken."""
        if self._runner is not None:
            return
        runner = web.AppRunner(self._application(), access_log=None, handle_signals=False, shutdown_timeout=0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, reuse_address=True).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._port = runner.addresses[0][1]
        self._runner = runner

    async def stop_http(self) -> None:
        """Close the port and every connection at once; the replica goes on. Does nothing while it is closed."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    # --- steps ---

    def _application(self) -> web.Application:
        application = self._http.application()
        self.page.add_to(application)
        return application

    def _authority(self, subnet: bool | None, seed: bytes | None) -> Authority:
        nodes = self.conditions.replicas
        is_new = self._folder is None or self._folder.network is None
        if subnet is None and is_new:
            subnet = self.conditions.subnet
        if self._folder is None:
            return Authority(subnet=bool(subnet), seed=seed, nodes=nodes)
        return self._folder.authority(subnet=subnet, seed=seed, nodes=nodes)

    def _http_interface(self, versions: Versions | None) -> HttpInterface:
        nodes = self._subnet or SingleNode(self.replica, call_wait_s=self.conditions.call_wait_s)
        travel = Travel(self.conditions, self.replica.clock) if self.conditions.round_trip_s[1] else None
        return HttpInterface(self.replica, versions, nodes=nodes, one_way=None if travel is None else travel.one_way)

    def _publish(self) -> None:
        if self._subnet is not None:
            self._subnet.publish()

    def _close_folder(self) -> None:
        if self._folder is not None:
            self._folder.close()

    @asynccontextmanager
    async def _saving(self) -> AsyncIterator[None]:
        """Save the state regularly and at the end, after every accepted call is executed."""
        task = asyncio.create_task(self._keep_saved(), name="localnet state")
        try:
            yield
        finally:
            if self._folder is not None:
                await self._settle()
            try:
                await task_end.cancel(task)
            finally:
                self.save()

    async def _settle(self) -> None:
        """Wait until no call is open, because open calls are not saved; at most ``SETTLE_TIMEOUT_S``, because canisters
        may call each other for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                await self.settle()
                while self.replica.executor:
                    await self.settle()

    async def _keep_saved(self) -> None:
        while self._folder is not None:
            await asyncio.sleep(SAVE_INTERVAL_S)
            await self._settle()
            try:
                self.save()
            except OSError as error:
                log.error("the state is not written: %s", error)  # noqa: TRY400  # the disk's fault, not ours


def _mode(record: CanisterRecord) -> dict[str, object]:
    """The mode of ``install_code`` that puts a module into a canister and keeps its data.

    Canisters with enhanced orthogonal persistence have data in main memory: they refuse upgrades without a choice.
    """
    if record.canister is None:
        return {"install": None}
    if record.actor is None or "enhanced-orthogonal-persistence" not in record.actor.private_metadata:
        return {"upgrade": None}
    return {"upgrade": {"skip_pre_upgrade": None, "wasm_memory_persistence": {"keep": None}}}
