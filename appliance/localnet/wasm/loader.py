"""From a module to a canister, also where the engine that runs modules may be missing."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.localnet.canisters.canister import ExecutionError

if TYPE_CHECKING:
    from appliance.localnet.wasm.canister import WasmCanister


class NoEngine(ExecutionError):
    """Canisters of Wasm need a package that is not installed."""

    def __str__(self) -> str:
        return "canisters of Wasm need wasmtime, which is not installed: pip install 'icws[localnet]'"


def wasm_canister(module: bytes, *, cache: Path | None = None) -> "WasmCanister":
    """A canister that is not installed yet, as `WasmCanister`. Raises NoEngine, and InvalidModule for bad bytes."""
    return _host()(module, cache=cache)


def load_wasm_canister(folder: Path, *, cache: Path | None = None) -> "WasmCanister":
    """A canister that was saved, as `WasmCanister.load`. Raises NoEngine, OSError, ValueError, InvalidModule."""
    return _host().load(folder, cache=cache)


def default_cache() -> Path:
    """The folder for this user's compiled modules. Raises NoEngine."""
    _host()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "icws" / "wasm"


def _host() -> "type[WasmCanister]":
    try:
        from appliance.localnet.wasm.canister import WasmCanister  # noqa: PLC0415  # the engine is optional
    except ModuleNotFoundError as error:
        if error.name != "wasmtime":
            raise
        raise NoEngine from error
    return WasmCanister
