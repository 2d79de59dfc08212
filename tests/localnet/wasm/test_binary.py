import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from appliance.localnet.wasm.binary import GLOBAL, MAGIC, MEMORY, START, TABLE, InvalidModule, read
from tests.localnet.wasm.modules import custom_section

EVERYTHING = """(module
  (import "ic0" "time" (func $time (result i64)))
  (table 2 funcref) (memory 3)
  (global (mut i32) (i32.const -5)) (global i64 (i64.const 7)) (global (mut f64) (f64.const 1.5))
  (global (mut i64) (i64.add (i64.const 1) (i64.mul (i64.const -2) (i64.const 300))))
  (global funcref (ref.func $time)) (global externref (ref.null extern))
  (global v128 (v128.const i64x2 1 2)) (global (mut f32) (f32.const 2.5))
  (func $begin nop)
  (start $begin) (export "canister_query x" (func $begin))
  (elem (i32.const 0) $begin) (data (i32.const 0) "abc") (data "passive")
  (func (memory.init 1 (i32.const 0) (i32.const 0) (i32.const 1))))"""


def test_what_a_host_needs_is_exported_and_nothing_starts() -> None:
    found = read(bytes(wasmtime.wat2wasm(EVERYTHING)))
    module = wasmtime.Module(wasmtime.Engine(), found.code)
    names = [exported.name for exported in module.exports]
    assert names == ["canister_query x", *(f"{GLOBAL}{index}" for index in (0, 2, 3, 7)), MEMORY, TABLE, START]
    assert found.globals == [0, 2, 3, 7]
    assert (found.has_memory, found.has_table, found.has_start, found.is_memory64) == (True, True, True, False)


@pytest.mark.parametrize("text", ["(module)", "(module (func))", '(module (memory i64 1) (data (i64.const 0) "x"))'])
def test_exports_are_put_where_they_belong(text: str) -> None:
    found = read(bytes(wasmtime.wat2wasm(text)))
    wasmtime.Module(wasmtime.Engine(), found.code)
    assert found.is_memory64 == ("i64" in text)


def test_custom_sections_are_told_apart() -> None:
    code = (
        MAGIC
        + custom_section("icp:public candid:service", b"did")
        + custom_section("icp:private x", b"secret")
        + custom_section("y", b"")
    )
    found = read(code)
    assert found.metadata == {"candid:service": b"did"}
    assert found.private_metadata == {"x": b"secret"}
    assert b"secret" not in found.code


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('(module (import "ic0" "m" (memory 1)))', "imports ic0.m, which is not a function"),
        ("(module (memory 1) (memory 1))", "2 memories, at most one is allowed"),
        ("(module (global (mut funcref) (ref.null func)))", "a mutable global is not a number"),
    ],
)
def test_what_a_canister_cannot_have_is_said(text: str, problem: str) -> None:
    with pytest.raises(InvalidModule) as raised:
        read(bytes(wasmtime.wat2wasm(text)))
    assert str(raised.value) == problem
    assert raised.value.sentence == f"Canister's Wasm module is not valid: {problem}"


GOOD = bytes(wasmtime.wat2wasm(EVERYTHING))


def is_refused(code: bytes) -> bool:
    try:
        read(code)
    except InvalidModule:
        return True
    return False


@given(st.binary())
def test_bytes_of_any_kind_are_refused_or_read(tail: bytes) -> None:
    assert is_refused(tail) or tail.startswith(MAGIC)
    is_refused(MAGIC + tail)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_or_missing_byte_is_survived(at: int, value: int) -> None:
    is_refused(GOOD[:at] + bytes([value]) + GOOD[at + 1 :])
    is_refused(GOOD[:at])
