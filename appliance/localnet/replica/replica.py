"""The replica: takes calls, executes one message at a time, certifies what came of it."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from appliance.crypto import Request, encode_cbor
from appliance.ic.principal import MANAGEMENT_CANISTER, Principal
from appliance.localnet.canisters.canister import Actor, Canister, Environment, ExecutionError
from appliance.localnet.canisters.record import Slot, Slots
from appliance.localnet.replica.executor import Executor, attempt
from appliance.localnet.replica.queries import QueryRun
from appliance.localnet.state.certification import LOCAL_IDS, Authority, Ranges, canister_id, is_hosted
from appliance.localnet.state.certified_state import CertifiedState
from appliance.localnet.state.clock import Alarm, Clock
from appliance.localnet.state.ingress import Call, IngressHistory
from appliance.localnet.state.outcome import CANISTER_REJECT, DESTINATION_INVALID, Outcome, Rejection

ROUND_LIMIT = 100
"""Messages that are executed before others on the event loop get their turn."""

ROUND_INSTRUCTIONS = 200_000_000
"""After so many instructions too: about a tenth of a second."""

FIRST_CANISTER = LOCAL_IDS[0] + 1
"""The number of ``bkyz2-fmaaa-aaaaa-qaaaq-cai``, the first id that local networks give."""

HEARTBEAT_NS = 1_000_000_000
"""Between two heartbeats of a canister that has them; about a block's time."""


class Replica:
    """A subnet of one node. Executes while it is entered (``async with``); everything else works at any time.

    It belongs to one event loop. The clock decides what the time is and when timers are due. What the management
    canister does is up to ``executor.management``. ``next_number`` is that of the id that is tried first for the next
    canister, so that no id is given twice.
    """

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self.authority = authority
        self.clock = clock
        self.state = CertifiedState(authority, clock)
        self.ingress = IngressHistory(self.state)
        self.slots = Slots(authority)
        self.executor = Executor(self.slots, self.state, self.ingress)
        self.next_number = FIRST_CANISTER
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._alarm: Alarm | None = None
        self._alarm_ns = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="localnet replica")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

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
        """Make a canister, install its code where it is given, and return its id: the specified one or the next.
        The canister sees the caller as the one that installs it.

        Raises ValueError for an id that is taken or not of this subnet, ExecutionError when the installation fails.
        """
        chosen = self._free_id() if specified_id is None else specified_id
        self._check_free(chosen)
        owners = list(controllers)
        slot = Slot(chosen, controllers=frozenset(owners))
        if canister is not None:
            self._install(slot, canister, arg, caller)
        self.slots.add(slot)
        self.next_number += specified_id is None
        if canister is None:
            self.state.set((b"canister", chosen, b"certified_data"), b"")
        self.set_controllers(chosen, owners)
        self._arm()
        return chosen

    def restore_canister(self, slot: Slot, *, certified_data: bytes = b"") -> None:
        """Put a canister back as it was, without executing anything of it. Raises ValueError as `create_canister`."""
        self._check_free(slot.canister_id)
        self.slots.add(slot)
        self._show_code(slot)
        self.state.set((b"canister", slot.canister_id, b"certified_data"), certified_data)
        self.state.set((b"canister", slot.canister_id, b"controllers"), encode_cbor(list(slot.controllers)))
        self._arm()
        self._wake.set()

    def reinstall_canister(
        self, chosen: Principal, canister: Canister, *, arg: bytes = b"", caller: Principal = MANAGEMENT_CANISTER
    ) -> None:
        """Give a canister other code, or the same, with an empty state; calls that it has in execution are refused.

        Raises KeyError for an unknown id and ExecutionError when the installation fails; then nothing is changed.
        """
        slot = self.slots[chosen]
        self._install(slot, canister, arg, caller)
        self.executor.abandon(slot, "Canister has been reinstalled")
        self._arm()

    def upgrade_canister(
        self,
        chosen: Principal,
        module: bytes,
        *,
        arg: bytes = b"",
        caller: Principal = MANAGEMENT_CANISTER,
        skip_pre_upgrade: bool = False,
        keep_memory: bool | None = None,
    ) -> None:
        """Give a canister of Wasm other code and keep its stable memory, as `Actor.upgrade`.

        Raises KeyError for an unknown id and ExecutionError when it fails; then nothing is changed.
        """
        slot = self.slots[chosen]
        if slot.actor is None:
            raise ExecutionError("only a canister of Wasm can be upgraded")
        env = self._environment(slot, caller)
        slot.actor.upgrade(module, arg, env, skip_pre_upgrade=skip_pre_upgrade, keep_memory=keep_memory)
        self._keep(slot, env)
        self._show_code(slot)
        self._arm()

    def uninstall_canister(self, chosen: Principal) -> None:
        """Remove code and state; calls in execution are refused. Raises KeyError for an unknown id."""
        slot = self.slots[chosen]
        slot.canister, slot.timer_ns, slot.heartbeat_ns = None, 0, 0
        slot.version += 1
        path = (b"canister", chosen)
        self.state.delete((*path, b"module_hash"))
        self.state.delete((*path, b"metadata"))
        self.state.set((*path, b"certified_data"), b"")
        self.executor.abandon(slot, "Canister has been uninstalled")
        self._arm()

    def delete_canister(self, chosen: Principal) -> None:
        """Remove a canister with all that it was. Raises KeyError for an unknown id."""
        self.uninstall_canister(chosen)
        self.slots.remove(chosen)
        self.state.delete((b"canister", chosen))

    def stop_canister(self, chosen: Principal, tell: Callable[[bool], None]) -> None:
        """Take no more calls, and ``tell(True)`` once those in execution are over, or ``tell(False)`` where it is
        started before. Raises KeyError for an unknown id."""
        slot = self.slots[chosen]
        if slot.status == "stopped":
            tell(True)
            return
        slot.status = "stopping"
        slot.on_stopped.append(tell)
        self.executor.check_stopped(slot)

    def start_canister(self, chosen: Principal) -> None:
        """Take calls again. Raises KeyError for an unknown id."""
        slot = self.slots[chosen]
        waiting, slot.on_stopped = slot.on_stopped, []
        slot.status = "running"
        slot.version += 1
        for tell in waiting:
            tell(False)
        self._arm()
        self._wake.set()

    def set_controllers(self, chosen: Principal, controllers: Iterable[Principal]) -> None:
        """Say who may change the canister. Raises KeyError for an unknown id."""
        slot, ordered = self.slots[chosen], list(controllers)
        slot.controllers = frozenset(ordered)
        slot.version += 1
        self.state.set((b"canister", chosen, b"controllers"), encode_cbor(ordered))

    def _check_free(self, chosen: Principal) -> None:
        if chosen in self.slots or not is_hosted(chosen):
            raise ValueError(f"{chosen} is taken" if chosen in self.slots else f"{chosen} is not of this subnet")

    def _free_id(self) -> Principal:
        while canister_id(self.next_number) in self.slots:
            self.next_number += 1
        return canister_id(self.next_number)

    def _install(self, slot: Slot, canister: Canister, arg: bytes, caller: Principal) -> None:
        env = self._environment(slot, caller)
        env.timer_ns = 0
        canister.install(arg, env)
        slot.canister = canister
        self._show_code(slot)
        self.state.set((b"canister", slot.canister_id, b"certified_data"), b"")
        self._keep(slot, env)

    def _environment(self, slot: Slot, caller: Principal) -> Environment:
        return self.slots.environment(slot, caller, self.state.next_time())

    def _show_code(self, slot: Slot) -> None:
        """Put into the state what everybody may know of the code."""
        path, canister = (b"canister", slot.canister_id), slot.canister
        self.state.delete((*path, b"metadata"))
        if canister is None:
            return
        self.state.set((*path, b"module_hash"), canister.module_hash)
        for name, content in canister.metadata.items():
            self.state.set((*path, b"metadata", name.encode()), content)
        has_heartbeat = slot.actor is not None and slot.actor.has_heartbeat
        slot.heartbeat_ns = self.clock.now_ns() + HEARTBEAT_NS if has_heartbeat else 0

    def _keep(self, slot: Slot, env: Environment) -> None:
        slot.timer_ns = env.timer_ns
        slot.cycles = env.cycles.balance
        slot.version += 1
        if env.certified_data is not None:
            self.state.set((b"canister", slot.canister_id, b"certified_data"), env.certified_data)

    # --- calls ---

    def admit(self, request: Request) -> Rejection | None:
        """Whether a call may be taken: None, or the rejection that is told without changing anything."""
        target = Principal(request.canister_id)
        if target == MANAGEMENT_CANISTER:
            management = self.executor.management
            return _not_offered(request.method_name) if management is None else management.admit(request)
        slot, refusal = self.slots.get(target), self.slots.refusal(target)
        if refusal is not None or slot is None or slot.actor is None:
            return refusal
        return self._inspect(slot, slot.actor, request)

    def _inspect(self, slot: Slot, actor: Actor, request: Request) -> Rejection | None:
        env = self.slots.environment(slot, Principal(request.sender), self.state.next_time())
        accepted: list[bool] = []
        problem = attempt(slot, env, lambda: accepted.append(actor.inspect(request.method_name, request.arg, env)))
        if problem is not None or accepted[0]:
            return problem
        return Rejection(CANISTER_REJECT, f"Canister {slot.canister_id} rejected the message", "IC0406")

    def submit(self, request: Request) -> Call:
        """Take a verified call that `admit` has nothing against; one that is known already is not taken again."""
        known = self.ingress.get(request.request_id)
        if known is not None:
            return known
        sender, target = Principal(request.sender), Principal(request.canister_id)
        call = Call(request.request_id, sender, target, request.method_name, request.arg)
        self.ingress.add(call)
        self.executor.take(call)
        self._wake.set()
        return call

    def query(self, request: Request, ranges: Ranges) -> Outcome:
        """Execute a verified query on the latest state; ``ranges`` is for the delegation in a data certificate."""
        target = Principal(request.canister_id)
        if target == MANAGEMENT_CANISTER:
            management, method = self.executor.management, request.method_name
            if management is None:
                return _not_offered(method)
            return management.query(method, request.arg, Principal(request.sender))
        path = (b"canister", target, b"certified_data")
        run = QueryRun(self.slots, self.state, lambda: self.state.leaf_certificate(path, ranges))
        return run.ask(target, request.method_name, request.arg, Principal(request.sender))

    async def settle(self) -> None:
        """Wait until every call that was taken and every timer that is due has been executed."""
        self._idle.clear()
        self._wake.set()
        await self._idle.wait()

    # --- rounds ---

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self.executor or self._is_due():
                self._round()
                await asyncio.sleep(0)
            self._arm()
            self._idle.set()

    def _round(self) -> None:
        now_ns = self.clock.now_ns()
        self.ingress.prune(now_ns=now_ns)
        for slot in list(self.slots):
            self._execute_tasks(slot, now_ns)
        limit = self.executor.instructions + ROUND_INSTRUCTIONS
        for _ in range(min(ROUND_LIMIT, len(self.executor))):
            self.executor.execute()
            if self.executor.instructions > limit:
                break

    def _execute_tasks(self, slot: Slot, now_ns: int) -> None:
        if slot.canister is not None and 0 < _due_ns(slot.timer_ns, slot) <= now_ns:
            slot.timer_ns = 0
            self.executor.execute_task(slot, slot.canister.on_timer, "timer")
        if slot.actor is not None and 0 < _due_ns(slot.heartbeat_ns, slot) <= now_ns:
            slot.heartbeat_ns = now_ns + HEARTBEAT_NS
            self.executor.execute_task(slot, slot.actor.on_heartbeat, "heartbeat")

    # --- timers ---

    def _next_ns(self) -> int:
        """When the next timer or heartbeat is due; 0 where there is none."""
        times = (_due_ns(due, slot) for slot in self.slots for due in (slot.timer_ns, slot.heartbeat_ns))
        return min((due for due in times if due), default=0)

    def _is_due(self) -> bool:
        return 0 < self._next_ns() <= self.clock.now_ns()

    def _arm(self) -> None:
        """Have the earliest timer wake the replica."""
        earliest = self._next_ns()
        if earliest == self._alarm_ns:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_ns = earliest
        self._alarm = self.clock.call_at(earliest, self._ring) if earliest else None

    def _ring(self) -> None:
        self._alarm, self._alarm_ns = None, 0
        self._wake.set()


def _due_ns(time_ns: int, slot: Slot) -> int:
    """When something is due; never while the canister does not run."""
    return time_ns if slot.status == "running" else 0


def _not_offered(method: str) -> Rejection:
    return Rejection(DESTINATION_INVALID, f"Management canister has no method '{method}'", "IC0302")
