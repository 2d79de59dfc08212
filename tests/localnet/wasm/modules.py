"""Modules for tests, written in the text format: a body, and the imports that it calls."""

import re

import wasmtime

from appliance.ic.principal import Principal
from appliance.localnet.canister import Environment
from appliance.localnet.wasm.ic0 import FUNCTIONS
from tests.localnet.machine import CANISTER, START

ALICE = Principal(b"alice")


def module(body: str, *, pointer: str = "i32", pages: int = 2) -> bytes:
    """A module with a memory, and the imports that the body calls by ``$name``."""
    called = [name for name in FUNCTIONS if re.search(rf"\${name}\b", body)]
    imports = "".join(_import(name, pointer) for name in called)
    index = "i64 " if pointer == "i64" else ""
    return bytes(wasmtime.wat2wasm(f'(module {imports} (memory (export "memory") {index}{pages}) {body})'))


def _import(name: str, pointer: str) -> str:
    signature = FUNCTIONS[name].signature(pointer)
    assert signature is not None, name
    parameters, results = (" ".join(kinds) for kinds in signature)
    return f'(import "ic0" "{name}" (func ${name} (param {parameters}) (result {results})))\n'


COUNTER = r"""
(global $calls (mut i64) (i64.const 0))
(func $answer
  (i64.store (i32.const 8) (global.get $calls))
  (call $msg_reply_data_append (i32.const 0) (i32.const 16))
  (call $msg_reply))
(func $add (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
  (global.set $calls (i64.add (global.get $calls) (i64.const 1))))
(func (export "canister_update add") (call $add) (call $answer))
(func (export "canister_update add and trap") (call $add)
  (call $certified_data_set (i32.const 0) (i32.const 8))
  (drop (call $global_timer_set (i64.const 1)))
  (drop (call $stable64_grow (i64.const 1)))
  (drop (memory.grow (i32.const 1)))
  (call $trap (i32.const 100) (i32.const 4)))
(func (export "canister_query peek") (call $add) (call $answer))
(data (i32.const 100) "oops")
"""
"""Counts in the memory and in a global; ``add`` and ``peek`` reply both, ``peek`` after counting in vain."""


def environment(caller: Principal = ALICE) -> Environment:
    return Environment(CANISTER, caller, START)


def reply(env: Environment) -> bytes:
    from appliance.localnet.outcome import Reply

    assert isinstance(env.answer, Reply), env.answer
    return env.answer.arg
