"""System functions about the message that is executed: its argument, its sender, its answer."""

from appliance.localnet.state.outcome import Rejection
from appliance.localnet.wasm.execution import ContractViolation, Execution
from appliance.localnet.wasm.registry import function

WITH_ARGUMENT = "I U RQ NRQ CQ Ry CRy F"
WITH_ANSWER = "U RQ NRQ CQ Ry Rt CRy CRt"
AFTER_A_CALL = "Ry Rt CRy CRt C CC"
REJECTED = "Rt CRt"


@function("", "p", WITH_ARGUMENT)
def msg_arg_data_size(execution: Execution) -> int:
    """How long the argument is."""
    return len(execution.arg)


@function("ppp", "", WITH_ARGUMENT)
def msg_arg_data_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from the argument."""
    execution.copy(execution.arg, target, offset, size)


@function("", "p", "*")
def msg_caller_size(execution: Execution) -> int:
    """How long the caller's principal is."""
    return len(execution.env.caller)


@function("ppp", "", "*")
def msg_caller_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from the caller's principal."""
    execution.copy(execution.env.caller, target, offset, size)


@function("", "p", "*")
def msg_caller_info_data_size(execution: Execution) -> int:
    """Of what a signer has said about the caller; nothing here."""
    return 0


@function("ppp", "", "*")
def msg_caller_info_data_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from it."""
    execution.copy(b"", target, offset, size)


@function("", "p", "*")
def msg_caller_info_signer_size(execution: Execution) -> int:
    """Of the principal of who has said it; nobody here."""
    return 0


@function("ppp", "", "*")
def msg_caller_info_signer_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from it."""
    execution.copy(b"", target, offset, size)


@function("", "i", AFTER_A_CALL)
def msg_reject_code(execution: Execution) -> int:
    """The reject code of the response, 0 where it is a reply."""
    return execution.response.code if isinstance(execution.response, Rejection) else 0


@function("", "p", REJECTED)
def msg_reject_msg_size(execution: Execution) -> int:
    """How long the text of the rejection is."""
    return len(execution.rejection().message.encode())


@function("ppp", "", REJECTED)
def msg_reject_msg_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from it."""
    execution.copy(execution.rejection().message.encode(), target, offset, size)


@function("", "l", "U RQ NRQ CQ Ry Rt CRy CRt")
def msg_deadline(execution: Execution) -> int:
    """Until when the caller waits; 0 is for ever, as every caller here does."""
    return 0


@function("pp", "", WITH_ANSWER)
def msg_reply_data_append(execution: Execution, source: int, size: int) -> None:
    """Add to the reply."""
    _check_unanswered(execution)
    if len(execution.reply) + size > execution.env.reply_limit:
        total, limit = len(execution.reply) + size, execution.env.reply_limit
        raise ContractViolation(f"ic0.msg_reply_data_append: payload size ({total}) cannot be larger than {limit}")
    execution.reply += execution.read(source, size)


@function("", "", WITH_ANSWER)
def msg_reply(execution: Execution) -> None:
    """Answer with what was added."""
    _check_unanswered(execution)
    execution.env.reply(bytes(execution.reply))


@function("pp", "", WITH_ANSWER)
def msg_reject(execution: Execution, source: int, size: int) -> None:
    """Refuse in words."""
    _check_unanswered(execution)
    execution.env.reject(text(execution, source, size))


@function("", "p", "F")
def msg_method_name_size(execution: Execution) -> int:
    """How long the name of the method is that a user wants to call."""
    return len(execution.method)


@function("ppp", "", "F")
def msg_method_name_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from it."""
    execution.copy(execution.method, target, offset, size)


@function("", "", "F")
def accept_message(execution: Execution) -> None:
    """Let the call in."""
    if execution.is_accepted:
        raise ContractViolation("ic0.accept_message: the message is already accepted")
    execution.is_accepted = True


def text(execution: Execution, source: int, size: int) -> str:
    """Words of the module. Raises ContractViolation where they are not UTF-8."""
    try:
        return execution.read(source, size).decode()
    except UnicodeDecodeError:
        raise ContractViolation("a text is not UTF-8") from None


def _check_unanswered(execution: Execution) -> None:
    if execution.env.is_answered:
        raise ContractViolation("the call is already replied or rejected")
