"""System functions about messages: the one that is executed (argument, caller, reply), and calls to other canisters."""

from appliance.localnet.canisters.calls import Closure
from appliance.localnet.state.outcome import Rejection
from appliance.localnet.wasm.execution import ContractViolation, Draft, Execution
from appliance.localnet.wasm.system_api import SystemFunctions

WITH_ARGUMENT = "I U RQ NRQ CQ Ry CRy F"
WITH_ANSWER = "U RQ NRQ CQ Ry Rt CRy CRt"
AFTER_A_CALL = "Ry Rt CRy CRt C CC"
REJECTED = "Rt CRt"
CALLING = "U CQ Ry Rt CRy CRt T"
PRINCIPAL_LIMIT = 29
NAME_LIMIT = 20_000
PAYLOAD_LIMIT = 10 * 1024 * 1024
"""Of a call on one subnet."""

QUEUE_LIMIT = 500
"""Calls that one execution can make; one more is refused, not a trap."""

ic0 = SystemFunctions()


@ic0.function("", "p", WITH_ARGUMENT)
def msg_arg_data_size(execution: Execution) -> int:
    """How long the argument is."""
    return len(execution.arg)


@ic0.function("ppp", "", WITH_ARGUMENT)
def msg_arg_data_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from the argument."""
    execution.copy(execution.arg, target, offset, size)


@ic0.function("", "p", "*")
def msg_caller_size(execution: Execution) -> int:
    """How long the caller's principal is."""
    return len(execution.env.caller)


@ic0.function("ppp", "", "*")
def msg_caller_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from the caller's principal."""
    execution.copy(execution.env.caller, target, offset, size)


@ic0.function("", "p", "*")
def msg_caller_info_data_size(execution: Execution) -> int:
    """How long the signed information about the caller is; there is none here."""
    return 0


@ic0.function("ppp", "", "*")
def msg_caller_info_data_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from it."""
    execution.copy(b"", target, offset, size)


@ic0.function("", "p", "*")
def msg_caller_info_signer_size(execution: Execution) -> int:
    """How long the principal of its signer is; there is none here."""
    return 0


@ic0.function("ppp", "", "*")
def msg_caller_info_signer_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from it."""
    execution.copy(b"", target, offset, size)


@ic0.function("", "i", AFTER_A_CALL)
def msg_reject_code(execution: Execution) -> int:
    """The reject code of the response, 0 where it is a reply."""
    return execution.response.code if isinstance(execution.response, Rejection) else 0


@ic0.function("", "p", REJECTED)
def msg_reject_msg_size(execution: Execution) -> int:
    """How long the text of the rejection is."""
    return len(execution.rejection().message.encode())


@ic0.function("ppp", "", REJECTED)
def msg_reject_msg_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from it."""
    execution.copy(execution.rejection().message.encode(), target, offset, size)


@ic0.function("", "l", "U RQ NRQ CQ Ry Rt CRy CRt")
def msg_deadline(execution: Execution) -> int:
    """Until when the caller waits; 0 is without a limit, as every call here."""
    return 0


@ic0.function("pp", "", WITH_ANSWER)
def msg_reply_data_append(execution: Execution, source: int, size: int) -> None:
    """Add to the reply."""
    _check_unanswered(execution)
    if len(execution.reply) + size > execution.env.reply_limit:
        total, limit = len(execution.reply) + size, execution.env.reply_limit
        raise ContractViolation(f"ic0.msg_reply_data_append: payload size ({total}) cannot be larger than {limit}")
    execution.reply += execution.read(source, size)


@ic0.function("", "", WITH_ANSWER)
def msg_reply(execution: Execution) -> None:
    """Reply with the appended data."""
    _check_unanswered(execution)
    execution.env.reply(bytes(execution.reply))


@ic0.function("pp", "", WITH_ANSWER)
def msg_reject(execution: Execution, source: int, size: int) -> None:
    """Reject the call with a text."""
    _check_unanswered(execution)
    execution.env.reject(text(execution, source, size))


@ic0.function("", "p", "F")
def msg_method_name_size(execution: Execution) -> int:
    """How long the name of the called method is."""
    return len(execution.method)


@ic0.function("ppp", "", "F")
def msg_method_name_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from it."""
    execution.copy(execution.method, target, offset, size)


@ic0.function("", "", "F")
def accept_message(execution: Execution) -> None:
    """Accept the call."""
    if execution.is_accepted:
        raise ContractViolation("ic0.accept_message: the message is already accepted")
    execution.is_accepted = True


def text(execution: Execution, source: int, size: int) -> str:
    """A text from the main memory. Raises ContractViolation where it is not UTF-8."""
    try:
        return execution.read(source, size).decode()
    except UnicodeDecodeError:
        raise ContractViolation("a text is not UTF-8") from None


def _check_unanswered(execution: Execution) -> None:
    if execution.env.is_answered:
        raise ContractViolation("the call is already replied or rejected")


# --- calls to other canisters: made when the execution is over and has not trapped ---


@ic0.function("pppppppp", "", CALLING)
def call_new(  # noqa: PLR0917  # the interface has as many
    execution: Execution,
    callee: int,
    callee_size: int,
    name: int,
    name_size: int,
    reply_function: int,
    reply_env: int,
    reject_function: int,
    reject_env: int,
) -> None:
    """Begin a call; one that was begun and not performed is dropped."""
    execution.drop_draft()
    if callee_size > PRINCIPAL_LIMIT:
        raise ContractViolation(
            f"ic0.call_new: a principal of {callee_size} bytes, at most {PRINCIPAL_LIMIT} are allowed"
        )
    if name_size > NAME_LIMIT:
        raise ContractViolation(f"ic0.call_new: a method name of {name_size} bytes, at most {NAME_LIMIT} are allowed")
    execution.draft = Draft(
        execution.read(callee, callee_size),
        execution.read(name, name_size),
        Closure(reply_function, reply_env),
        Closure(reject_function, reject_env),
    )


@ic0.function("pp", "", CALLING)
def call_on_cleanup(execution: Execution, cleanup_function: int, env: int) -> None:
    """Set the cleanup callback, which runs where another callback of this call traps."""
    draft = _draft(execution, "call_on_cleanup")
    if draft.on_cleanup is not None:
        raise ContractViolation("ic0.call_on_cleanup was called before for this call")
    draft.on_cleanup = Closure(cleanup_function, env)


@ic0.function("pp", "", CALLING)
def call_data_append(execution: Execution, source: int, size: int) -> None:
    """Add to the argument."""
    draft = _draft(execution, "call_data_append")
    if len(draft.arg) + size > PAYLOAD_LIMIT:
        raise ContractViolation(
            f"ic0.call_data_append: payload size ({len(draft.arg) + size}) cannot be larger than {PAYLOAD_LIMIT}"
        )
    draft.arg += execution.read(source, size)


@ic0.function("l", "", "U Ry Rt T")
def call_cycles_add(execution: Execution, amount: int) -> None:
    """Send cycles with the call."""
    _attach(execution, amount)


@ic0.function("ll", "", "U Ry Rt T")
def call_cycles_add128(execution: Execution, high: int, low: int) -> None:
    """Send cycles with the call."""
    _attach(execution, high << 64 | low)


@ic0.function("i", "", "U Ry Rt T")
def call_with_best_effort_response(execution: Execution, timeout_seconds: int) -> None:
    """Wait that long only. A call here is answered in time, since nothing can be lost."""
    _draft(execution, "call_with_best_effort_response")


@ic0.function("", "i", CALLING)
def call_perform(execution: Execution) -> int:
    """Send the call when the execution is over; 2 where there are too many."""
    draft = _draft(execution, "call_perform")
    if len(execution.env.calls) >= QUEUE_LIMIT:
        execution.drop_draft()
        return 2
    execution.draft = None
    execution.perform(draft)
    return 0


def _draft(execution: Execution, name: str) -> Draft:
    if execution.draft is None:
        raise ContractViolation(f"ic0.{name} was called without ic0.call_new before it")
    return execution.draft


def _attach(execution: Execution, amount: int) -> None:
    draft = _draft(execution, "call_cycles_add")
    cycles = execution.env.cycles
    if amount > cycles.balance:
        raise ContractViolation(f"{amount} cycles are more than the balance of {cycles.balance}")
    cycles.balance -= amount
    draft.cycles += amount
