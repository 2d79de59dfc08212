"""Reads the Wasm modules, interfaces and install arguments that the command line names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from appliance.crypto import CandidInterface, encode_candid_text
from appliance.errors import CandidError, GatewayError
from appliance.localnet.canisters.canister import ExecutionError
from appliance.localnet.wasm.loader import new_wasm_canister

NO_ARGUMENTS = b"DIDL\0\0"


@dataclass(frozen=True)
class WasmFile:
    """A module to deploy under a name, with its encoded install arguments."""

    name: str
    path: Path
    module: bytes
    arg: bytes


def collect(
    wasm: Iterable[Path], named: Mapping[str, Path], arguments: Mapping[str, str], *, cache: Path | None
) -> list[WasmFile]:
    """Read and check all modules and arguments. Raises click.UsageError, and OSError for a file."""
    paths = {**{_name_of(path): path for path in wasm}, **named}
    unknown = sorted(arguments.keys() - paths.keys())
    if unknown:
        raise click.UsageError(f"--arg {unknown[0]}=…: there is no canister {unknown[0]}, only {', '.join(paths)}")
    return [_read(name, path, arguments.get(name), cache) for name, path in paths.items()]


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
        metadata = new_wasm_canister(module, cache=cache).metadata
    except ExecutionError as error:
        raise click.UsageError(f"{path}: {error}") from error
    did = metadata.get("candid:service", b"").decode(errors="replace") or _beside(path)
    return WasmFile(name, path, module, _encode(name, did, argument))


def _beside(path: Path) -> str:
    """Read the interface from the ``.did`` file of the same name; empty if there is none."""
    file = path.with_name(f"{_name_of(path)}.did")
    return file.read_text() if file.exists() else ""


def _encode(name: str, did: str, argument: str | None) -> bytes:
    if not did:
        return NO_ARGUMENTS if argument is None else _untyped(name, argument)
    try:
        types = CandidInterface(did).init
    except GatewayError as error:
        raise click.UsageError(f"the Candid interface of {name} cannot be read: {error}") from error
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
