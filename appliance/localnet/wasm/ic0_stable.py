"""System functions about stable memory, which outlives upgrades."""

from appliance.localnet.wasm.execution import Execution, Fault
from appliance.localnet.wasm.registry import function
from appliance.localnet.wasm.storage import WASM_PAGE

PAGES_OF_32_BITS = 2**32 // WASM_PAGE
ALL = "* s"


def _check_small(execution: Execution) -> None:
    if execution.stable.pages > PAGES_OF_32_BITS:
        raise Fault("the stable memory is too large for 32 bits")


@function("", "i", ALL, is_for_32_bits=True)
def stable_size(execution: Execution) -> int:
    """In pages of 64 KiB."""
    _check_small(execution)
    return execution.stable.pages


@function("i", "i", ALL, is_for_32_bits=True)
def stable_grow(execution: Execution, pages: int) -> int:
    """Add pages; returns how many there were, or -1."""
    _check_small(execution)
    return execution.stable.grow(pages) if execution.stable.pages + pages <= PAGES_OF_32_BITS else -1


@function("iii", "", ALL, is_for_32_bits=True)
def stable_write(execution: Execution, offset: int, source: int, size: int) -> None:
    """Copy from the main memory."""
    _check_small(execution)
    execution.stable.write(offset, execution.read(source, size))


@function("iii", "", ALL, is_for_32_bits=True)
def stable_read(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy into the main memory."""
    _check_small(execution)
    execution.write(target, execution.stable.read(offset, size))


@function("", "l", ALL)
def stable64_size(execution: Execution) -> int:
    """In pages of 64 KiB."""
    return execution.stable.pages


@function("l", "l", ALL)
def stable64_grow(execution: Execution, pages: int) -> int:
    """Add pages; returns how many there were, or -1."""
    return execution.stable.grow(pages)


@function("lll", "", ALL)
def stable64_write(execution: Execution, offset: int, source: int, size: int) -> None:
    """Copy from the main memory."""
    execution.stable.write(offset, execution.read(source, size))


@function("lll", "", ALL)
def stable64_read(execution: Execution, target: int, offset: int, size: int) -> None:
    """Copy into the main memory."""
    execution.write(target, execution.stable.read(offset, size))
