"""Creates canisters of Wasm. wasmtime is optional, so nothing that needs it is imported before it is used."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.installation import installation
from appliance.localnet.canisters.canister import ExecutionError

if TYPE_CHECKING:
    from appliance.localnet.wasm.canister import WasmCanister


class WasmtimeMissing(ExecutionError):
    """Canisters of Wasm need wasmtime, which is not installed."""

    def __str__(self) -> str:
        return f"canisters of Wasm need wasmtime, which is not installed: {installation().advice('localnet')}"


def new_wasm_canister(module: bytes, *, cache: Path | None = None) -> "WasmCanister":
    """A `WasmCanister` that is not installed yet. Raises WasmtimeMissing, and InvalidModule for a bad module."""
    return _wasm_canister_class()(module, cache=cache)


def load_wasm_canister(folder: Path, *, cache: Path | None = None) -> "WasmCanister":
    """The canister that `WasmCanister.save` wrote. Raises WasmtimeMissing, OSError, ValueError, InvalidModule."""
    return _wasm_canister_class().load(folder, cache=cache)


def default_cache() -> Path:
    """The folder for this user's compiled modules. Raises WasmtimeMissing; RuntimeError for a user without a home."""
    _wasm_canister_class()
    base = os.environ.get("XDG_CACHE_HOME") or _home() / ".cache"
    return Path(base) / "icws" / "wasm"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # neither HOME nor an entry in the list of users, as containers run with
        return Path(tempfile.gettempdir()) / f"icws-{os.getuid()}"


def _wasm_canister_class() -> "type[WasmCanister]":
    try:
        from appliance.localnet.wasm.canister import WasmCanister  # noqa: PLC0415  # the engine is optional
    except ModuleNotFoundError as error:
        if error.name != "wasmtime":
            raise
        raise WasmtimeMissing from error
    return WasmCanister
