import gc
import gzip
import os
import weakref
from pathlib import Path

import pytest
import wasmtime

from appliance.localnet.wasm import compilation, module
from appliance.localnet.wasm.binary import InvalidModule
from appliance.localnet.wasm.module import Module
from tests.localnet.wasm.modules import COUNTER
from tests.localnet.wasm.modules import module as made

CODE = made(COUNTER)


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def test_a_compressed_module_is_known_by_the_hash_of_what_was_given() -> None:
    packed = gzip.compress(CODE)
    assert (
        Module(packed).exports
        == Module(CODE).exports
        == {
            "canister_update add",
            "canister_update add and trap",
            "canister_query peek",
        }
    )
    assert len({Module(packed).hash, Module(CODE).hash}) == 2


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "wasm or gzip header is missing"),
        (gzip.compress(CODE)[:-20], "cannot be decompressed: it ends early"),
        (b"\x1f\x8b\x08nonsense", "cannot be decompressed: "),
        (CODE[:100], "the binary ends in the middle of a section"),
        (wat('(module (import "env" "f" (func)))'), "imports env.f, which the system does not have"),
        (wat('(module (import "ic0" "f" (func)))'), "imports ic0.f, which the system does not have"),
        (
            wat('(module (import "ic0" "time" (func (param i32) (result i32 i64))))'),
            "imports ic0.time with the signature (i32) -> (i32, i64)",
        ),
        (
            wat('(module (import "ic0" "stable_size" (func (result i32))) (memory i64 1))'),
            "imports ic0.stable_size with the signature () -> (i32)",
        ),
        (wat('(module (func (export "canister_foo")))'), "exports 'canister_foo', a name that is kept for the system"),
        (
            wat('(module (func (export "canister_init") (param i32)))'),
            "exports 'canister_init', which is not a function without parameters and results",
        ),
        (
            wat('(module (memory (export "canister_update x") 1))'),
            "exports 'canister_update x', which is not a function without parameters and results",
        ),
        (
            wat('(module (func (export "canister_update x")) (func (export "canister_query x")))'),
            "exports the method 'x' more than once",
        ),
    ],
)
def test_what_is_not_a_canister_is_refused_in_words(data: bytes, problem: str) -> None:
    with pytest.raises(InvalidModule) as raised:
        Module(data)
    assert str(raised.value).startswith(problem)


def test_what_the_compiler_refuses_is_refused() -> None:
    broken = bytearray(wat("(module (func (result i32) i32.const 1))"))
    broken[broken.index(b"\x41\x01")] = 0x42
    with pytest.raises(InvalidModule, match="type mismatch"):
        Module(bytes(broken))


def test_a_module_that_grows_without_end_when_decompressed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MODULE_LIMIT", len(CODE) - 1)
    monkeypatch.setattr("appliance.localnet.wasm.binary.MODULE_LIMIT", len(CODE) - 1)
    with pytest.raises(InvalidModule, match="bytes, at most"):
        Module(gzip.compress(CODE + bytes(10**6)))


def test_names_may_have_spaces_and_brackets() -> None:
    exports = Module(wat('(module (func (export "canister_update <ic-cdk internal> timer_executor")))')).exports
    assert exports == {"canister_update <ic-cdk internal> timer_executor"}


def test_a_function_may_be_imported_twice() -> None:
    twice = '(import "ic0" "msg_reply" (func)) (import "ic0" "msg_reply" (func))'
    assert not Module(wat(f"(module {twice})")).exports


def test_a_module_that_nobody_has_any_more_is_dropped() -> None:
    dropped = weakref.ref(Module(CODE))
    gc.collect()
    assert dropped() is None


def compilations(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    seen: list[bytes] = []
    compile_ = compilation._compile

    def counted(code: bytes) -> wasmtime.Module:
        seen.append(code)
        return compile_(code)

    monkeypatch.setattr(compilation, "_compile", counted)
    return seen


def test_a_module_is_compiled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, cache = compilations(monkeypatch), tmp_path / "deep" / "cache"
    for _ in range(3):
        assert "canister_query peek" in Module(CODE, cache=cache).exports
    assert len(seen) == 1
    assert cache.stat().st_mode & 0o777 == 0o700
    (kept,) = cache.iterdir()
    kept.write_bytes(b"of another machine")
    Module(CODE, cache=cache)
    Module(CODE, cache=cache)
    assert len(seen) == 2, "what cannot be read is compiled anew and replaced"
    Module(made(COUNTER + "(func)"), cache=cache)
    assert (len(seen), len(list(cache.iterdir()))) == (3, 2)


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert Module(CODE, cache=tmp_path / "file").exports
    assert "compiled modules are not kept" in caplog.text


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_folder_that_others_can_write_into_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    seen, cache = compilations(monkeypatch), tmp_path / "cache"
    Module(CODE, cache=cache)
    cache.chmod(mode)
    Module(CODE, cache=cache)
    assert len(seen) == 2
    assert "is not this user's alone" in caplog.text


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: uid)
    assert Module(CODE, cache=tmp_path).exports
    assert not list(tmp_path.iterdir())
