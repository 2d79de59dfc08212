"""The replica: the canisters of a subnet, the calls and queries of users, and the certified state."""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from appliance.crypto import Request, encode_cbor
from appliance.ic.principal import MANAGEMENT_CANISTER, Principal
from appliance.localnet.canisters.canister import Canister, Environment, ExecutionError
from appliance.localnet.canisters.record import CanisterRecord, CanisterRecords, CanisterSnapshot
from appliance.localnet.replica.executor import Executor
from appliance.localnet.replica.rounds import HEARTBEAT_NS, Rounds
from appliance.localnet.replica.view import View
from appliance.localnet.state.certification import LOCAL_IDS, Authority, Ranges, canister_id, is_hosted
from appliance.localnet.state.certified_state import CertifiedState
from appliance.localnet.state.clock import Clock
from appliance.localnet.state.ingress import Call, IngressHistory
from appliance.localnet.state.outcome import Outcome, Rejection

FIRST_CANISTER = LOCAL_IDS[0] + 1
"""The number of ``bkyz2-fmaaa-aaaaa-qaaaq-cai``, the first id that local networks give."""


class Replica:
    """A subnet of one node. Executes messages while it is entered (``async with``); the rest works at any time.

    It belongs to one event loop. ``rounds`` executes messages when they arrive and timers when the clock says so.
    ``executor.management`` is the management canister. ``next_number`` is the number of the next canister id to try; it
    only grows, so that the id of a deleted canister is never given to another.
    """

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self.authority = authority
        self.clock = clock
        self.state = CertifiedState(authority, clock)
        self.ingress = IngressHistory(self.state)
        self.canisters = CanisterRecords(authority)
        self.executor = Executor(self.canisters, self.state, self.ingress)
        self.next_number = FIRST_CANISTER
        self.rounds = Rounds(self.canisters, self.executor, self.ingress, clock)
        self.view = View(self.canisters, self.executor, self.state, self.state.next_time)

    async def __aenter__(self) -> Self:
        self.rounds.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.rounds.stop()

    # --- canisters ---

    def create_canister(
        self,
        canister: Canister | None = None,
        *,
        arg: bytes = b"",
        specified_id: Principal | None = None,
        controllers: Iterable[Principal] = (),
        caller: Principal = MANAGEMENT_CANISTER,
    ) -> Principal:
        """Create a canister, install ``canister`` where given, and return the id: the specified one or the next.
        ``caller`` is the caller of the installation.

        Raises ValueError for an id that is taken or not of this subnet, ExecutionError when the installation fails.
        """
        canister_id = self._free_id() if specified_id is None else specified_id
        self._check_free(canister_id)
        owners = list(controllers)
        record = CanisterRecord(canister_id, controllers=frozenset(owners))
        if canister is not None:
            self._install(record, canister, arg, caller)
        self.canisters.add(record)
        self.next_number += specified_id is None
        if canister is None:
            self.state.set((b"canister", canister_id, b"certified_data"), b"")
        self.set_controllers(canister_id, owners)
        self.rounds.arm_timer()
        return canister_id

    def restore_canister(self, record: CanisterRecord, *, certified_data: bytes = b"") -> None:
        """Add a canister that was saved, without executing any of its code. Raises ValueError as `create_canister`."""
        self._check_free(record.canister_id)
        self.canisters.add(record)
        self._publish_code(record)
        self.state.set((b"canister", record.canister_id, b"certified_data"), certified_data)
        self.state.set((b"canister", record.canister_id, b"controllers"), encode_cbor(list(record.controllers)))
        self.rounds.arm_timer()
        self.rounds.wake()

    def reinstall_canister(
        self, canister_id: Principal, canister: Canister, *, arg: bytes = b"", caller: Principal = MANAGEMENT_CANISTER
    ) -> None:
        """Replace code and state of a canister; its open calls are rejected.

        Raises KeyError for an unknown id and ExecutionError when the installation fails; nothing is changed then.
        """
        record = self.canisters[canister_id]
        self._install(record, canister, arg, caller)
        self.executor.reject_open_calls(record, "Canister has been reinstalled")
        self.rounds.arm_timer()

    def upgrade_canister(
        self,
        canister_id: Principal,
        module: bytes,
        *,
        arg: bytes = b"",
        caller: Principal = MANAGEMENT_CANISTER,
        skip_pre_upgrade: bool = False,
        keep_memory: bool | None = None,
    ) -> None:
        """Replace the code of a Wasm canister and keep its stable memory, as `Actor.upgrade`.

        Raises KeyError for an unknown id and ExecutionError when it fails; nothing is changed then.
        """
        record = self.canisters[canister_id]
        if record.actor is None:
            raise ExecutionError("only a canister of Wasm can be upgraded")
        env = self._environment(record, caller)
        record.actor.upgrade(module, arg, env, skip_pre_upgrade=skip_pre_upgrade, keep_memory=keep_memory)
        self._commit(record, env)
        self._publish_code(record)
        self.rounds.arm_timer()

    def load_snapshot(self, canister_id: Principal, snapshot: CanisterSnapshot) -> None:
        """Replace code, memories, chunks, certified data and timer by those of a snapshot, without executing any code;
        open calls are rejected. Raises KeyError for an unknown id."""
        record = self.canisters[canister_id]
        record.canister, record.chunks = snapshot.canister.snapshot(), snapshot.chunks.copy()
        record.timer_ns = snapshot.timer_ns
        record.version += 1
        self._publish_code(record)
        self.state.set((b"canister", canister_id, b"certified_data"), snapshot.certified_data)
        self.executor.reject_open_calls(record, "Canister has been restored from a snapshot")
        self.rounds.arm_timer()

    def uninstall_canister(self, canister_id: Principal) -> None:
        """Remove code and state; open calls are rejected. Raises KeyError for an unknown id."""
        record = self.canisters[canister_id]
        record.canister, record.timer_ns, record.heartbeat_ns = None, 0, 0
        record.version += 1
        path = (b"canister", canister_id)
        self.state.delete((*path, b"module_hash"))
        self.state.delete((*path, b"metadata"))
        self.state.set((*path, b"certified_data"), b"")
        self.executor.reject_open_calls(record, "Canister has been uninstalled")
        self.rounds.arm_timer()

    def delete_canister(self, canister_id: Principal) -> None:
        """Remove a canister and everything that is recorded about it. Raises KeyError for an unknown id."""
        self.uninstall_canister(canister_id)
        self.canisters.remove(canister_id)
        self.state.delete((b"canister", canister_id))

    def stop_canister(self, canister_id: Principal, on_done: Callable[[bool], None]) -> None:
        """Accept no more calls. Calls ``on_done`` once: with True when the open calls are answered, with False when the
        canister is started before that. Raises KeyError for an unknown id."""
        record = self.canisters[canister_id]
        if record.status == "stopped":
            on_done(True)
            return
        record.status = "stopping"
        record.on_stopped.append(on_done)
        self.executor.check_stopped(record)

    def start_canister(self, canister_id: Principal) -> None:
        """Accept calls again. Raises KeyError for an unknown id."""
        record = self.canisters[canister_id]
        waiting, record.on_stopped = record.on_stopped, []
        record.status = "running"
        record.version += 1
        for on_done in waiting:
            on_done(False)
        self.rounds.arm_timer()
        self.rounds.wake()

    def set_controllers(self, canister_id: Principal, controllers: Iterable[Principal]) -> None:
        """Set the principals that may change the canister. Raises KeyError for an unknown id."""
        record, ordered = self.canisters[canister_id], list(controllers)
        record.controllers = frozenset(ordered)
        record.version += 1
        self.state.set((b"canister", canister_id, b"controllers"), encode_cbor(ordered))

    def _check_free(self, canister_id: Principal) -> None:
        if canister_id in self.canisters or not is_hosted(canister_id):
            raise ValueError(
                f"{canister_id} is taken" if canister_id in self.canisters else f"{canister_id} is not of this subnet"
            )

    def _free_id(self) -> Principal:
        while canister_id(self.next_number) in self.canisters:
            self.next_number += 1
        return canister_id(self.next_number)

    def _install(self, record: CanisterRecord, canister: Canister, arg: bytes, caller: Principal) -> None:
        env = self._environment(record, caller)
        env.timer_ns = 0
        canister.install(arg, env)
        record.canister = canister
        self._publish_code(record)
        self.state.set((b"canister", record.canister_id, b"certified_data"), b"")
        self._commit(record, env)

    def _environment(self, record: CanisterRecord, caller: Principal) -> Environment:
        return self.canisters.environment(record, caller, self.state.next_time())

    def _publish_code(self, record: CanisterRecord) -> None:
        """Put module hash and public metadata into the state tree."""
        path, canister = (b"canister", record.canister_id), record.canister
        self.state.delete((*path, b"metadata"))
        if canister is None:
            return
        self.state.set((*path, b"module_hash"), canister.module_hash)
        for name, content in canister.metadata.items():
            self.state.set((*path, b"metadata", name.encode()), content)
        has_heartbeat = record.actor is not None and record.actor.has_heartbeat
        record.heartbeat_ns = self.clock.now_ns() + HEARTBEAT_NS if has_heartbeat else 0

    def _commit(self, record: CanisterRecord, env: Environment) -> None:
        record.timer_ns = env.timer_ns
        record.cycles = env.cycles.balance
        record.version += 1
        if env.certified_data is not None:
            self.state.set((b"canister", record.canister_id, b"certified_data"), env.certified_data)

    # --- calls ---

    def admit(self, request: Request) -> Rejection | None:
        """None where a call may be submitted; as `View.admit`, with the latest state."""
        return self.view.admit(request)

    def submit(self, request: Request) -> Call:
        """Submit a verified call that `admit` accepts; it is executed in a later round.

        A request id that is known gets its first call back: posting the same bytes again must not execute it twice.
        """
        known = self.ingress.get(request.request_id)
        if known is not None:
            return known
        sender, target = Principal(request.sender), Principal(request.canister_id)
        call = Call(request.request_id, sender, target, request.method_name, request.arg)
        self.ingress.add(call)
        self.executor.enqueue(call)
        self.rounds.wake()
        return call

    def query(self, request: Request, ranges: Ranges) -> Outcome:
        """Execute a verified query on the latest state, as `View.query`."""
        return self.view.query(request, ranges)

    async def settle(self) -> None:
        """Wait until every call that was accepted and every timer that is due has been executed."""
        await self.rounds.settle()
