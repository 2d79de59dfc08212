"""Modules for tests, written in the text format: a body, and the imports that it calls."""

import re

import wasmtime

from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.state.certification import leb128
from appliance.localnet.wasm.module import SYSTEM_FUNCTIONS
from tests.localnet.machine import CANISTER, START

ALICE = Principal(b"alice")


def module(body: str, *, pointer: str = "i32", pages: int = 2) -> bytes:
    """A module with a memory, and the imports that the body calls by ``$name``."""
    called = [name for name in SYSTEM_FUNCTIONS if re.search(rf"\${name}\b", body)]
    imports = "".join(_import(name, pointer) for name in called)
    index = "i64 " if pointer == "i64" else ""
    return bytes(wasmtime.wat2wasm(f'(module {imports} (memory (export "memory") {index}{pages}) {body})'))


def custom_section(name: str, data: bytes) -> bytes:
    """A custom section, to be put behind a module."""
    body = leb128(len(name)) + name.encode() + data
    return b"\0" + leb128(len(body)) + body


def _import(name: str, pointer: str) -> str:
    signature = SYSTEM_FUNCTIONS[name].signature(pointer)
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


RELAY = r"""
(table funcref (elem $on_reply $on_reject $on_cleanup $trap_now))
(global $depth (mut i32) (i32.const 65536))
(func $count (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1))))
(func $send (param $text i32) (param $size i32)
  (call $msg_reply_data_append (local.get $text) (local.get $size)) (call $msg_reply))
(func $reply_argument
  (call $msg_arg_data_copy (i32.const 1000) (i32.const 0) (call $msg_arg_data_size))
  (call $send (i32.const 1000) (call $msg_arg_data_size)))
(func $new (param $reply i32) (param $reject i32)
  (call $msg_arg_data_copy (i32.const 1000) (i32.const 0) (call $msg_arg_data_size))
  (call $call_new (i32.const 1000) (i32.const 10)
    (i32.const 1010) (i32.sub (call $msg_arg_data_size) (i32.const 10))
    (local.get $reply) (i32.const 7) (local.get $reject) (i32.const 8))
  (call $call_data_append (i32.const 100) (i32.const 5)))
(func $on_reply (param $env i32)
  (global.set $depth (i32.sub (global.get $depth) (i32.const 16)))
  (call $count)
  (i32.store8 (i32.const 999) (i32.add (local.get $env) (i32.const 48)))
  (call $msg_arg_data_copy (i32.const 1000) (i32.const 0) (call $msg_arg_data_size))
  (call $send (i32.const 999) (i32.add (call $msg_arg_data_size) (i32.const 1)))
  (global.set $depth (i32.add (global.get $depth) (i32.const 16))))
(func $on_reject (param $env i32)
  (call $count)
  (i32.store8 (i32.const 999) (i32.add (call $msg_reject_code) (i32.const 48)))
  (call $msg_reject_msg_copy (i32.const 1000) (i32.const 0) (call $msg_reject_msg_size))
  (call $send (i32.const 999) (i32.add (call $msg_reject_msg_size) (i32.const 1))))
(func $on_cleanup (param $env i32) (i64.store (i32.const 8) (i64.extend_i32_u (local.get $env))))
(func $trap_now (param $env i32) (call $count) (call $trap (i32.const 110) (i32.const 4)))
(func (export "canister_update relay")
  (call $count) (call $new (i32.const 0) (i32.const 1)) (drop (call $call_perform)))
(func (export "canister_composite_query ask")
  (call $count) (call $new (i32.const 0) (i32.const 1)) (drop (call $call_perform)))
(func (export "canister_composite_query ask and trap")
  (call $new (i32.const 3) (i32.const 3)) (drop (call $call_perform)))
(func (export "canister_update relay and trap")
  (call $count) (call $new (i32.const 3) (i32.const 3)) (call $call_on_cleanup (i32.const 2) (i32.const 9))
  (drop (call $call_perform)))
(func (export "canister_update trap after calling")
  (call $count) (call $new (i32.const 0) (i32.const 1)) (drop (call $call_perform)) (call $trap_now (i32.const 0)))
(func (export "canister_update notify")
  (call $new (i32.const -1) (i32.const -1)) (drop (call $call_perform)) (call $send (i32.const 100) (i32.const 5)))
(func (export "canister_update reply and call")
  (call $send (i32.const 100) (i32.const 5)) (call $new (i32.const 0) (i32.const 1)) (drop (call $call_perform)))
(func (export "canister_update pay")
  (call $new (i32.const 0) (i32.const 1)) (call $call_cycles_add128 (i64.const 0) (i64.const 1000))
  (drop (call $call_perform)))
(func (export "canister_update earn")
  (call $msg_cycles_accept128 (i64.const 0) (i64.const 300) (i32.const 1000))
  (call $send (i32.const 1000) (i32.const 2)))
(func (export "canister_update echo") (call $count) (call $reply_argument))
(func (export "canister_query read") (call $count) (call $send (i32.const 0) (i32.const 16)))
(func (export "canister_update refuse") (call $count) (call $msg_reject (i32.const 100) (i32.const 5)))
(func (export "canister_update silent") (call $count))
(func (export "canister_update fail") (call $trap_now (i32.const 0)))
(data (i32.const 100) "hello")
(data (i32.const 110) "oops")
"""
"""Calls the canister and method that its argument names, with ``hello``; its own methods reply in all ways there are.

A reply is relayed after ``7``, a rejection after its code. Counts in the first 8 bytes what was executed and kept; a
cleanup leaves a 9 in the next. ``read`` replies both.
"""


def environment(caller: Principal = ALICE) -> Environment:
    return Environment(CANISTER, caller, START)


def reply(env: Environment) -> bytes:
    from appliance.localnet.state.outcome import Reply

    assert isinstance(env.answer, Reply), env.answer
    return env.answer.arg
