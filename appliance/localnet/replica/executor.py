"""Executes messages, one after another, and delivers their results (interface specification, "Call contexts").

A message is a user's call, a canister's call, or the response to one. All are in one queue: the IC promises that the
messages from one canister to another arrive in order, and a single queue keeps that promise without any bookkeeping.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, assert_never

from appliance.crypto import Request
from appliance.ic.principal import MANAGEMENT_CANISTER, Principal
from appliance.localnet.canisters.calls import CallContext, OutgoingCall, PendingCall
from appliance.localnet.canisters.canister import Canister, Environment, ExecutionError
from appliance.localnet.canisters.record import CanisterRecord, CanisterRecords
from appliance.localnet.state.certified_state import CertifiedState
from appliance.localnet.state.ingress import Call, IngressHistory
from appliance.localnet.state.outcome import (
    CANISTER_ERROR,
    CANISTER_REJECT,
    DESTINATION_INVALID,
    Outcome,
    Rejection,
    Reply,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Response:
    """The response to a canister's call, with the cycles that the callee did not accept."""

    pending: PendingCall
    outcome: Outcome
    refund: int = 0


Message: TypeAlias = Call | PendingCall | Response


class Management(Protocol):
    """The interface of the management canister ``aaaaa-aa``."""

    def effective_id(self, method: str, arg: bytes) -> Principal | None:
        """The effective canister id of a call; None where it has none, or where the argument cannot be decoded."""

    def admit(self, request: Request) -> Rejection | None:
        """None where a user's call is accepted, otherwise the rejection."""

    def query(self, method: str, arg: bytes, caller: Principal) -> Outcome:
        """Execute a query method."""

    def execute(self, context: CallContext, method: str, arg: bytes, answer: Callable[[Outcome], None]) -> None:
        """Execute a method. Calls ``answer`` once, now or later, also for an unknown method.

        Subtracts the cycles that the method uses from ``context.cycles_available``.
        """


class Executor:
    """Owns the queue of messages. ``management`` executes the calls of the management canister; None rejects them.

    ``instructions`` counts the instructions of all executions.
    """

    def __init__(self, canisters: CanisterRecords, state: CertifiedState, ingress: IngressHistory) -> None:
        self.management: Management | None = None
        self.instructions = 0
        self._canisters = canisters
        self._state = state
        self._ingress = ingress
        self._queue: deque[Message] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def __bool__(self) -> bool:
        return bool(self._queue)

    def enqueue(self, call: Call) -> None:
        """Put a user's call at the end of the queue."""
        self._queue.append(call)

    def execute(self) -> None:
        """Execute the first message of the queue."""
        message = self._queue.popleft()
        match message:
            case Call(sender=sender, canister_id=callee, method=method, arg=arg):
                self._ingress.start(message)
                self._execute_call(CallContext(callee, sender, message), method, arg)
            case PendingCall(context=context, call=call):
                begun = CallContext(call.callee, context.canister_id, message, cycles_available=call.cycles)
                self._execute_call(begun, call.method, call.arg)
            case Response():
                self._execute_response(message)
            case _:
                assert_never(message)

    def execute_task(self, record: CanisterRecord, run: Callable[[Environment], None], name: str) -> None:
        """Execute a timer or heartbeat. It may make calls; there is no caller to answer."""
        context = CallContext(record.canister_id, MANAGEMENT_CANISTER, None, is_answered=True)
        record.contexts.add(context)
        env = self._environment(record, context)
        problem = attempt(record, env, lambda: run(env))
        if problem is not None:
            log.error("the %s of canister %s failed: %s", name, record.canister_id, problem.message)
        self._finish(record, context, env, problem)

    def reject_open_calls(self, record: CanisterRecord, text: str) -> None:
        """Reject all open calls of a canister whose code is gone, and with it the callbacks that would answer them."""
        for context in list(record.contexts):
            if not context.is_answered:
                self._answer(context, Rejection(CANISTER_REJECT, text, "IC0406"))
            record.contexts.discard(context)
        self.check_stopped(record)

    def check_stopped(self, record: CanisterRecord) -> None:
        """Stop a stopping canister that has no open calls left."""
        if record.status == "stopping" and not record.contexts:
            record.status = "stopped"
            record.version += 1
            waiting, record.on_stopped = record.on_stopped, []
            for on_done in waiting:
                on_done(True)

    # --- steps ---

    def _execute_call(self, context: CallContext, method: str, arg: bytes) -> None:
        if context.canister_id == MANAGEMENT_CANISTER:
            self._execute_management_call(context, method, arg)
            return
        record, rejection = self._canisters.get(context.canister_id), self._canisters.rejection(context.canister_id)
        if record is None or record.canister is None or rejection is not None:
            self._answer(context, rejection or Rejection(DESTINATION_INVALID, "Canister not found", "IC0301"))
            return
        record.contexts.add(context)
        env = self._environment(record, context)
        canister = record.canister
        problem = attempt(record, env, lambda: _update(canister, method, arg, env))
        self._finish(record, context, env, problem)

    def _execute_management_call(self, context: CallContext, method: str, arg: bytes) -> None:
        if self.management is None:
            text = f"Management canister has no method '{method}'"
            self._answer(context, Rejection(DESTINATION_INVALID, text, "IC0302"))
            return
        self.management.execute(context, method, arg, lambda outcome: self._answer(context, outcome))

    def _execute_response(self, response: Response) -> None:
        context, call = response.pending.context, response.pending.call
        record = self._canisters.get(context.canister_id)
        # Deleted, uninstalled or reinstalled since: its calls were rejected then, and a callback of the old code must
        # not run in the new one.
        if record is None or context not in record.contexts:
            return
        context.outstanding -= 1
        record.cycles += response.refund
        actor = record.actor
        if actor is None:
            return
        env = self._environment(record, context)
        env.cycles.refunded = response.refund
        problem = attempt(record, env, lambda: actor.on_response(call, response.outcome, env))
        # The cleanup runs on the state from before the callback, whose own changes are rolled back (specification,
        # "Callbacks"); it is committed even though the callback trapped.
        if problem is not None and call.on_cleanup is not None:
            self._clean_up(record, context, call)
        self._finish(record, context, env, problem)

    def _clean_up(self, record: CanisterRecord, context: CallContext, call: OutgoingCall) -> None:
        actor, closure = record.actor, call.on_cleanup
        if actor is None or closure is None:
            return
        env = self._environment(record, context)
        problem = attempt(record, env, lambda: actor.clean_up(closure, env))
        if problem is None:
            self._commit(record, context, env)
        else:
            log.error("the cleanup of canister %s failed: %s", record.canister_id, problem.message)

    def _finish(
        self, record: CanisterRecord, context: CallContext, env: Environment, problem: Rejection | None
    ) -> None:
        """Commit the execution or discard it, and answer the call where no later execution can."""
        self.instructions += env.instructions - context.instructions
        context.instructions = env.instructions
        # A failed execution has no effects at all: its calls are not sent and its reply is not given. Its call may
        # still be answered by the response to a call that an earlier execution has made.
        if problem is None:
            self._commit(record, context, env)
            for call in env.calls:
                context.outstanding += 1
                self._queue.append(PendingCall(context, call))
            if env.answer is not None:
                self._answer(context, env.answer)
        if context.outstanding == 0:
            if not context.is_answered:
                self._answer(context, problem or no_reply(record))
            record.contexts.discard(context)
            self.check_stopped(record)

    def _commit(self, record: CanisterRecord, context: CallContext, env: Environment) -> None:
        record.timer_ns = env.timer_ns
        record.cycles = env.cycles.balance
        record.version += 1
        context.cycles_available = env.cycles.available
        if env.certified_data is not None:
            self._state.set((b"canister", record.canister_id, b"certified_data"), env.certified_data)

    def _answer(self, context: CallContext, outcome: Outcome) -> None:
        context.is_answered = True
        match context.origin:
            case Call() as call:
                self._ingress.finish(call, outcome)
            case PendingCall() as pending:
                refund, context.cycles_available = context.cycles_available, 0
                self._queue.append(Response(pending, outcome, refund))
            case None:
                pass

    def _environment(self, record: CanisterRecord, context: CallContext) -> Environment:
        env = self._canisters.environment(record, context.caller, self._state.next_time())
        env.cycles.available = context.cycles_available
        env.is_answered = context.is_answered
        env.instructions = context.instructions
        return env


def attempt(record: CanisterRecord, env: Environment, run: Callable[[], object]) -> Rejection | None:
    """Execute; returns the rejection, in the wording of the replica, where that fails."""
    name = f"Error from Canister {record.canister_id}: "
    try:
        run()
    except ExecutionError as error:
        if error.reject_code == CANISTER_REJECT:
            return Rejection(CANISTER_REJECT, str(error), error.error_code)
        env.print(f"[TRAP]: {error.sentence}")
        return Rejection(CANISTER_ERROR, name + error.sentence, error.error_code)
    except Exception:
        log.exception("the host of canister %s failed", record.canister_id)
        return Rejection(CANISTER_ERROR, name + "the host of the canister failed", "IC0502")
    return None


def no_reply(record: CanisterRecord) -> Rejection:
    """The rejection of a call that has no execution left that could answer it."""
    text = f"Error from Canister {record.canister_id}: Canister did not reply to the call"
    return Rejection(CANISTER_ERROR, text, "IC0506")


def _update(canister: Canister, method: str, arg: bytes, env: Environment) -> None:
    reply = canister.update(method, arg, env)
    if reply is not None:
        env.answer, env.is_answered = Reply(reply), True
