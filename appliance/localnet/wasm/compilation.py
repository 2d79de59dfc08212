"""Modules compiled for this machine, cached on disk under the hash of their code."""

import importlib.metadata
import logging
import os
import stat
import tempfile
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import wasmtime

from appliance.localnet.wasm.binary import InvalidModule

STACK_BYTES = 1024 * 1024
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def engine() -> wasmtime.Engine:
    """The only engine of this process.

    Memories must not move when they grow, because files are mapped over them. Fuel counts instructions. NaNs are made
    canonical, so that an execution gives the same bits on every machine, as on the IC.
    """
    config = wasmtime.Config()
    config.consume_fuel = True
    config.wasm_memory64 = True
    config.wasm_multi_memory = False
    config.wasm_threads = False
    config.wasm_relaxed_simd = False
    config.cranelift_nan_canonicalization = True
    config.memory_may_move = False
    config.max_wasm_stack = STACK_BYTES
    return wasmtime.Engine(config)


def compile_module(code: bytes, cache: Path | None) -> wasmtime.Module:
    """Compile, or load from the cache. Raises InvalidModule.

    Files in the cache are executed, so a folder that others can write into is not used. A missing folder is created.
    """
    if cache is None or not _is_private(cache):
        return _compile(code)
    version = importlib.metadata.version("wasmtime")
    path = cache / f"{sha256(code).hexdigest()}-{version}.cwasm"
    try:
        # Read, not mapped: truncating a mapped file kills the process (SIGBUS).
        return wasmtime.Module.deserialize(engine(), path.read_bytes())
    except (OSError, wasmtime.WasmtimeError):  # missing, or compiled for another machine or configuration
        module = _compile(code)
    try:
        _store(path, bytes(module.serialize()))
    except OSError as error:
        log.warning("compiled modules are not kept: %s", error)
    return module


def _compile(code: bytes) -> wasmtime.Module:
    try:
        return wasmtime.Module(engine(), code)
    except wasmtime.WasmtimeError as error:
        raise InvalidModule(str(error)) from error


def _is_private(folder: Path) -> bool:
    """Whether only this user can write into the folder. Creates a missing one."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.stat()
    except OSError as error:
        log.warning("compiled modules are not kept: %s", error)
        return False
    if facts.st_uid == os.getuid() and not facts.st_mode & WRITABLE_BY_OTHERS:
        return True
    log.warning("compiled modules are not kept: %s is not this user's alone", folder)
    return False


def _store(path: Path, data: bytes) -> None:
    # Written beside and renamed: another process must never load half a file.
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
