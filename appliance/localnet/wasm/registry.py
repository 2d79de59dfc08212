"""How the system functions are declared."""

from collections.abc import Callable
from dataclasses import dataclass

from appliance.localnet.wasm.kinds import Kind, kinds

TYPES = {"i": "i32", "l": "i64"}


@dataclass(frozen=True)
class SystemFunction:
    """A function of ``ic0``: what a module sees of it, when it may be called, and what it does.

    Parameters and results are letters: ``i`` and ``l`` are i32 and i64, ``p`` is as wide as the module's pointers.
    """

    name: str
    parameters: str
    results: str
    allowed: frozenset[Kind]
    is_for_32_bits: bool
    run: Callable[..., int | None]

    def signature(self, pointer: str) -> tuple[list[str], list[str]] | None:
        """Its types for a module with such pointers; None where it is not for that."""
        if self.is_for_32_bits and pointer == "i64":
            return None
        types = {**TYPES, "p": pointer}
        return [types[letter] for letter in self.parameters], [types[letter] for letter in self.results]


FUNCTIONS: dict[str, SystemFunction] = {}


def function(
    parameters: str, results: str, allowed: str, *, is_for_32_bits: bool = False
) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Declare the function below under its own name. Its arguments are unsigned, after the execution."""

    def declare(run: Callable[..., int | None]) -> Callable[..., int | None]:
        name = run.__name__
        FUNCTIONS[name] = SystemFunction(name, parameters, results, kinds(allowed), is_for_32_bits, run)
        return run

    return declare
