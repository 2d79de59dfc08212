"""System functions about the canister itself: ids, time, certified data, log, environment variables, stable memory."""

from appliance.localnet.canisters.canister import CERTIFIED_DATA_LIMIT, Trap
from appliance.localnet.wasm.execution import ContractViolation, Execution, WasmTrap
from appliance.localnet.wasm.ic0_messages import text
from appliance.localnet.wasm.memory import WASM_PAGE
from appliance.localnet.wasm.system_api import UNREPLICATED, SystemFunctions

STATUS_NUMBERS = {"running": 1, "stopping": 2, "stopped": 3}
CERTIFIED_QUERIES = "NRQ CQ"
ALL = "* s"
PAGES_OF_32_BITS = 2**32 // WASM_PAGE

ic0 = SystemFunctions()


@ic0.function("", "p", "*")
def canister_self_size(execution: Execution) -> int:
    """How long the canister's id is."""
    return len(execution.env.canister_id)


@ic0.function("ppp", "", "*")
def canister_self_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from the canister's id."""
    execution.copy(execution.env.canister_id, target, offset, size)


@ic0.function("", "i", "*")
def canister_status(execution: Execution) -> int:
    """1 running, 2 stopping, 3 stopped."""
    return STATUS_NUMBERS[execution.env.info.status]


@ic0.function("", "l", "*")
def canister_version(execution: Execution) -> int:
    """Larger after every change of the canister."""
    return execution.env.info.version


@ic0.function("", "p", "*")
def subnet_self_size(execution: Execution) -> int:
    """How long the subnet's id is."""
    return len(execution.env.info.subnet_id)


@ic0.function("ppp", "", "*")
def subnet_self_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from the subnet's id."""
    execution.copy(execution.env.info.subnet_id, target, offset, size)


@ic0.function("", "p", "I G U RQ Ry Rt C T")
def root_key_size(execution: Execution) -> int:
    """How long the root key is (DER)."""
    return len(execution.env.info.root_key)


@ic0.function("ppp", "", "I G U RQ Ry Rt C T")
def root_key_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from the root key."""
    execution.copy(execution.env.info.root_key, target, offset, size)


@ic0.function("pp", "i", "* s")
def is_controller(execution: Execution, source: int, size: int) -> int:
    """Whether a principal may change the canister."""
    return int(execution.read(source, size) in execution.env.info.controllers)


@ic0.function("", "i", "* s")
def in_replicated_execution(execution: Execution) -> int:
    """1 in executions that all replicas of a subnet would do, otherwise 0."""
    return int(execution.kind not in UNREPLICATED)


@ic0.function("", "l", "*")
def time(execution: Execution) -> int:
    """Nanoseconds since 1970, the same in the whole execution."""
    return execution.env.time_ns


@ic0.function("l", "l", "I G U Ry Rt C T")
def global_timer_set(execution: Execution, time_ns: int) -> int:
    """When the timer is due, 0 for never; returns what it was."""
    return execution.env.set_timer(time_ns)


@ic0.function("i", "l", "* s")
def performance_counter(execution: Execution, kind: int) -> int:
    """Instructions of this execution (0), or of all of this call (1)."""
    if kind > 1:
        raise ContractViolation(f"ic0.performance_counter: there is no counter {kind}")
    return execution.instructions + (execution.env.instructions if kind else 0)


@ic0.function("pp", "", "I G U Ry Rt T")
def certified_data_set(execution: Execution, source: int, size: int) -> None:
    """Certify up to 32 bytes with the next state."""
    if size > CERTIFIED_DATA_LIMIT:
        raise ContractViolation(f"ic0.certified_data_set: {size} bytes, at most {CERTIFIED_DATA_LIMIT} are allowed")
    execution.env.set_certified_data(execution.read(source, size))


@ic0.function("", "i", "*")
def data_certificate_present(execution: Execution) -> int:
    """1 in queries that a user has sent, otherwise 0."""
    return int(execution.env.certificate is not None)


@ic0.function("", "p", CERTIFIED_QUERIES)
def data_certificate_size(execution: Execution) -> int:
    """How long the certificate is."""
    return len(_certificate(execution))


@ic0.function("ppp", "", CERTIFIED_QUERIES)
def data_certificate_copy(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy from the certificate."""
    execution.copy(_certificate(execution), target, offset, size)


@ic0.function("pp", "", "* s")
def debug_print(execution: Execution, source: int, size: int) -> None:
    """Write into the canister's log."""
    execution.env.print(execution.read(source, size).decode(errors="replace"))


@ic0.function("pp", "", "* s")
def trap(execution: Execution, source: int, size: int) -> None:
    """Trap with a text."""
    raise Trap(execution.read(source, size).decode(errors="replace"))


@ic0.function("", "p", "*")
def env_var_count(execution: Execution) -> int:
    """How many environment variables the canister's settings have."""
    return len(execution.env.info.variables)


@ic0.function("p", "p", "*")
def env_var_name_size(execution: Execution, index: int) -> int:
    """How long a name is."""
    return len(_name(execution, index))


@ic0.function("pppp", "", "*")
def env_var_name_copy(execution: Execution, index: int, target: int, offset: int, size: int) -> None:
    """Copy from a name."""
    execution.copy(_name(execution, index), target, offset, size)


@ic0.function("pp", "i", "*")
def env_var_name_exists(execution: Execution, source: int, size: int) -> int:
    """Whether there is a variable with the name."""
    return int(text(execution, source, size) in execution.env.info.variables)


@ic0.function("pp", "p", "*")
def env_var_value_size(execution: Execution, source: int, size: int) -> int:
    """How long the value of a name is."""
    return len(_value(execution, source, size))


@ic0.function("ppppp", "", "*")
def env_var_value_copy(  # noqa: PLR0917  # the interface has as many
    execution: Execution, name: int, name_size: int, target: int, offset: int, size: int
) -> None:
    """Copy from the value of a name."""
    execution.copy(_value(execution, name, name_size), target, offset, size)


def _certificate(execution: Execution) -> bytes:
    certificate = execution.env.data_certificate()
    if certificate is None:
        raise ContractViolation("there is no data certificate in this execution")
    return certificate


def _name(execution: Execution, index: int) -> bytes:
    names = sorted(execution.env.info.variables)
    if index >= len(names):
        raise ContractViolation(f"there is no environment variable {index}, there are {len(names)}")
    return names[index].encode()


def _value(execution: Execution, source: int, size: int) -> bytes:
    name = text(execution, source, size)
    value = execution.env.info.variables.get(name)
    if value is None:
        raise ContractViolation(f"there is no environment variable {name!r}")
    return value.encode()


# --- stable memory, which outlives upgrades ---


def _check_small(execution: Execution) -> None:
    if execution.stable.pages > PAGES_OF_32_BITS:
        raise WasmTrap("the stable memory is too large for 32 bits")


@ic0.function("", "i", ALL, is_for_32_bits=True)
def stable_size(execution: Execution) -> int:
    """In pages of 64 KiB."""
    _check_small(execution)
    return execution.stable.pages


@ic0.function("i", "i", ALL, is_for_32_bits=True)
def stable_grow(execution: Execution, pages: int) -> int:
    """Add pages; returns how many there were, or -1."""
    _check_small(execution)
    return execution.stable.grow(pages) if execution.stable.pages + pages <= PAGES_OF_32_BITS else -1


@ic0.function("iii", "", ALL, is_for_32_bits=True)
def stable_write(execution: Execution, offset: int, source: int, size: int) -> None:
    """Copy from the main memory."""
    _check_small(execution)
    execution.stable.write(offset, execution.read(source, size))


@ic0.function("iii", "", ALL, is_for_32_bits=True)
def stable_read(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy into the main memory."""
    _check_small(execution)
    execution.check(target, size)  # first: stable memory may be larger than the memory of this machine
    execution.write(target, execution.stable.read(offset, size))


@ic0.function("", "l", ALL)
def stable64_size(execution: Execution) -> int:
    """In pages of 64 KiB."""
    return execution.stable.pages


@ic0.function("l", "l", ALL)
def stable64_grow(execution: Execution, pages: int) -> int:
    """Add pages; returns how many there were, or -1."""
    return execution.stable.grow(pages)


@ic0.function("lll", "", ALL)
def stable64_write(execution: Execution, offset: int, source: int, size: int) -> None:
    """Copy from the main memory."""
    execution.stable.write(offset, execution.read(source, size))


@ic0.function("lll", "", ALL)
def stable64_read(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy into the main memory."""
    execution.check(target, size)  # first: stable memory may be larger than the memory of this machine
    execution.write(target, execution.stable.read(offset, size))
