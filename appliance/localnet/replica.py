"""The replica: takes calls, executes one message at a time, certifies what came of it."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from appliance.crypto import Request, encode_cbor
from appliance.ic.principal import MANAGEMENT_CANISTER, Principal
from appliance.localnet.canister import QUERY_REPLY_LIMIT, Canister, Environment, MethodNotFound, Reject, Trap
from appliance.localnet.certification import LOCAL_IDS, Authority, Ranges, canister_id, is_hosted
from appliance.localnet.clock import Alarm, Clock
from appliance.localnet.ingress import Call, IngressHistory, Outcome, Rejection, Reply
from appliance.localnet.state import CertifiedState

ROUND_LIMIT = 100
"""Messages that are executed before others on the event loop get their turn."""

FIRST_CANISTER = LOCAL_IDS[0] + 1
"""The number of ``bkyz2-fmaaa-aaaaa-qaaaq-cai``, the first id that local networks give."""

log = logging.getLogger(__name__)


@dataclass
class _Installed:
    canister_id: Principal
    canister: Canister
    timer_ns: int = 0


class Replica:
    """A subnet of one node. Executes while it is entered (``async with``); everything else works at any time.

    It belongs to one event loop. The clock decides what the time is and when timers are due.
    """

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self.authority = authority
        self.clock = clock
        self.state = CertifiedState(authority, clock)
        self.ingress = IngressHistory(self.state)
        self._canisters: dict[Principal, _Installed] = {}
        self._next_number = FIRST_CANISTER
        self._queue: deque[Call] = deque()
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
        canister: Canister,
        *,
        arg: bytes = b"",
        specified_id: Principal | None = None,
        controllers: Iterable[Principal] = (),
    ) -> Principal:
        """Install a canister and return its id: the specified one or the next that is free.

        Raises ValueError for an id that is taken or not of this subnet, ExecutionError when the installation fails.
        """
        chosen = self._free_id() if specified_id is None else specified_id
        if chosen in self._canisters or not is_hosted(chosen):
            raise ValueError(f"{chosen} is taken" if chosen in self._canisters else f"{chosen} is not of this subnet")
        self._install(_Installed(chosen, canister), arg)
        self.state.set((b"canister", chosen, b"controllers"), encode_cbor(list(controllers)))
        return chosen

    def reinstall_canister(self, chosen: Principal, canister: Canister, *, arg: bytes = b"") -> None:
        """Replace a canister by another, or by itself, with an empty state. Raises KeyError for an unknown id and
        ExecutionError when the installation fails; then nothing is changed."""
        if chosen not in self._canisters:
            raise KeyError(str(chosen))
        self._install(_Installed(chosen, canister), arg)

    def hosts(self, canister: Principal) -> bool:
        """Whether there is such a canister."""
        return canister in self._canisters

    def _free_id(self) -> Principal:
        while canister_id(self._next_number) in self._canisters:
            self._next_number += 1
        return canister_id(self._next_number)

    def _install(self, installed: _Installed, arg: bytes) -> None:
        env = self._environment(installed, MANAGEMENT_CANISTER, self.state.next_time())
        installed.canister.install(arg, env)
        self._canisters[installed.canister_id] = installed
        path = (b"canister", installed.canister_id)
        self.state.set((*path, b"module_hash"), installed.canister.module_hash)
        self.state.set((*path, b"certified_data"), b"")
        self.state.delete((*path, b"metadata"))
        for name, content in installed.canister.metadata.items():
            self.state.set((*path, b"metadata", name.encode()), content)
        self._keep_effects(installed, env)
        self._arm()

    # --- calls ---

    def admit(self, request: Request) -> Rejection | None:
        """Whether a call may be taken: None, or the rejection that is told without executing anything."""
        target = Principal(request.canister_id)
        if target == MANAGEMENT_CANISTER:
            text = f"Management canister has no method '{request.method_name}'"
            return Rejection(3, text, "IC0302")
        if target not in self._canisters:
            return Rejection(3, f"Canister {target} not found", "IC0301")
        return None

    def submit(self, request: Request) -> Call:
        """Take a verified call that `admit` has nothing against; one that is known already is not taken again."""
        known = self.ingress.get(request.request_id)
        if known is not None:
            return known
        sender, target = Principal(request.sender), Principal(request.canister_id)
        call = Call(request.request_id, sender, target, request.method_name, request.arg)
        self.ingress.add(call)
        self._queue.append(call)
        self._wake.set()
        return call

    def query(self, request: Request, ranges: Ranges) -> Outcome:
        """Execute a verified query on the latest state; ``ranges`` is for the delegation in a data certificate."""
        installed = self._canisters.get(Principal(request.canister_id))
        rejection = self.admit(request)
        if installed is None or rejection is not None:
            return rejection or Rejection(3, "Canister not found", "IC0301")
        path = (b"canister", installed.canister_id, b"certified_data")
        env = self._environment(installed, Principal(request.sender), self.state.next_time())
        env.reply_limit = QUERY_REPLY_LIMIT
        env.certificate = lambda: self.state.leaf_certificate(path, ranges)
        run = installed.canister.query
        return _outcome(installed, lambda: run(request.method_name, request.arg, env))

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
            while self._queue or self._due():
                self._round()
                await asyncio.sleep(0)
            self._arm()
            self._idle.set()

    def _round(self) -> None:
        self.ingress.prune(now_ns=self.clock.now_ns())
        for installed in self._due():
            self._execute_timer(installed)
        for _ in range(min(ROUND_LIMIT, len(self._queue))):
            self._execute(self._queue.popleft())

    def _execute(self, call: Call) -> None:
        self.ingress.start(call)
        installed = self._canisters[call.canister_id]
        env = self._environment(installed, call.sender, self.state.next_time())
        run = installed.canister.update
        outcome = _outcome(installed, lambda: run(call.method, call.arg, env))
        if isinstance(outcome, Reply):
            self._keep_effects(installed, env)
        self.ingress.finish(call, outcome, now_ns=env.time_ns)

    def _execute_timer(self, installed: _Installed) -> None:
        installed.timer_ns = 0
        env = self._environment(installed, MANAGEMENT_CANISTER, self.state.next_time())
        outcome = _outcome(installed, lambda: _no_reply(installed.canister.on_timer, env))
        if isinstance(outcome, Reply):
            self._keep_effects(installed, env)
        else:
            log.error("the timer of canister %s failed: %s", installed.canister_id, outcome.message)

    def _environment(self, installed: _Installed, caller: Principal, time_ns: int) -> Environment:
        return Environment(installed.canister_id, caller, time_ns, installed.timer_ns)

    def _keep_effects(self, installed: _Installed, env: Environment) -> None:
        installed.timer_ns = env.timer_ns
        if env.certified_data is not None:
            self.state.set((b"canister", installed.canister_id, b"certified_data"), env.certified_data)

    # --- timers ---

    def _due(self) -> list[_Installed]:
        now_ns = self.clock.now_ns()
        return [c for c in self._canisters.values() if c.timer_ns and c.timer_ns <= now_ns]

    def _arm(self) -> None:
        """Have the earliest timer wake the replica."""
        earliest = min((c.timer_ns for c in self._canisters.values() if c.timer_ns), default=0)
        if earliest == self._alarm_ns:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_ns = earliest
        self._alarm = self.clock.call_at(earliest, self._ring) if earliest else None

    def _ring(self) -> None:
        self._alarm, self._alarm_ns = None, 0
        self._wake.set()


def _no_reply(run: Callable[[Environment], None], env: Environment) -> bytes:
    run(env)
    return b""


def _outcome(installed: _Installed, run: Callable[[], bytes]) -> Outcome:
    """Execute, and say in the replica's words what went wrong."""
    try:
        return Reply(run())
    except Reject as error:
        return Rejection(4, str(error), "IC0406")
    except MethodNotFound as error:
        problem, error_code = str(error), "IC0536"
    except Trap as error:
        problem, error_code = f"Canister called `ic0.trap` with message: '{error}'", "IC0503"
    except Exception:
        log.exception("the host of canister %s failed", installed.canister_id)
        problem, error_code = "the host of the canister failed", "IC0502"
    return Rejection(5, f"Error from Canister {installed.canister_id}: {problem}", error_code)
