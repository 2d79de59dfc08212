"""Reads the Wasm modules, interfaces and install arguments that the command line names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from appliance.crypto import CandidInterface, encode_candid_text
from appliance.errors import CandidError, GatewayError
from appliance.ic.principal import Principal
from appliance.localnet.canisters.candid_interface import FoundInterface, interface_of
from appliance.localnet.canisters.canister import ExecutionError
from appliance.localnet.wasm.loader import new_wasm_canister

NO_ARGUMENTS = b"DIDL\0\0"
GATEWAY = "{gateway}"
"""In install arguments: the principal of the local network's own gateway."""


@dataclass(frozen=True)
class WasmFile:
    """A module to deploy under a name, with its encoded install arguments and the interface beside it."""

    name: str
    path: Path
    module: bytes
    arg: bytes
    beside: FoundInterface


def named_paths(wasm: Iterable[Path], named: Mapping[str, Path]) -> dict[str, Path]:
    """All modules by the names of their canisters. Raises click.UsageError for a name that two have."""
    paths: dict[str, Path] = {}
    for name, path in [*((_name_of(path), path) for path in wasm), *named.items()]:
        if paths.setdefault(name, path) != path:
            raise click.UsageError(f"two canisters would be called {name}: {paths[name]} and {path}; use --canister")
    return paths


def collect(
    paths: Mapping[str, Path], arguments: Mapping[str, str], *, gateway: Principal, cache: Path | None
) -> list[WasmFile]:
    """Read and check all modules and arguments, in which ``{gateway}`` is this principal.

    Raises click.UsageError, and OSError for a file.
    """
    unknown = sorted(arguments.keys() - paths.keys())
    if unknown:
        raise click.UsageError(
            f"--arg {unknown[0]}=…: there is no canister {unknown[0]}, only {', '.join(paths) or 'none'}"
        )
    filled = {name: argument.replace(GATEWAY, str(gateway)) for name, argument in arguments.items()}
    return [_read(name, path, filled.get(name), cache) for name, path in paths.items()]


def pairs(option: str, values: Iterable[str]) -> dict[str, str]:
    """Parse values ``NAME=VALUE`` into a mapping. Raises click.UsageError."""
    found: dict[str, str] = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not (name and equals and rest):
            raise click.UsageError(f"{option} takes NAME=VALUE, not {value!r}")
        if name in found:
            raise click.UsageError(f"{option} names {name} twice")
        found[name] = rest
    return found


def _name_of(path: Path) -> str:
    """Return ``chat`` for ``target/chat.wasm.gz``."""
    return path.name.removesuffix(".gz").removesuffix(".wasm")


def _read(name: str, path: Path, argument: str | None, cache: Path | None) -> WasmFile:
    module = path.read_bytes()
    try:
        canister = new_wasm_canister(module, cache=cache)
    except ExecutionError as error:
        raise click.UsageError(f"{path}: {error}") from error
    beside = _beside(beside_of(path))
    return WasmFile(name, path, module, _encode(name, interface_of(canister, beside), argument), beside)


def beside_of(path: Path) -> Path:
    """The ``.did`` file that belongs to a module, whether it exists or not."""
    return path.with_name(f"{_name_of(path)}.did")


def _beside(file: Path) -> FoundInterface:
    try:
        return FoundInterface(file.read_text(encoding="utf-8"), f"{file.name} beside the module")
    except FileNotFoundError:
        return FoundInterface()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{file} is not text in UTF-8") from error


def _encode(name: str, interface: FoundInterface, argument: str | None) -> bytes:
    if not interface.text:
        return NO_ARGUMENTS if argument is None else _untyped(name, argument)
    try:
        types = CandidInterface(interface.text).init
    except GatewayError as error:
        problem = f"the Candid interface of {name} ({interface.source}) cannot be read: {error}"
        raise click.UsageError(problem) from error
    try:
        return types.encode_text("()" if argument is None else argument)
    except CandidError as error:
        hint = f"it takes {types.to_text()}, e.g. --arg '{name}={types.sample()}'"
        problem = "it needs install arguments" if argument is None else error.problem
        raise click.UsageError(f"the arguments of {name}: {problem}; {hint}") from error


def _untyped(name: str, argument: str) -> bytes:
    try:
        return encode_candid_text(argument)
    except GatewayError as error:
        raise click.UsageError(f"the arguments of {name}: {error}") from error
