"""A replica with a management canister and a hand-moved clock; management methods are called with Candid values."""

from typing import Any

from appliance.crypto import Verifier
from appliance.ic.envelope import sign_request
from appliance.ic.identity import KeyIdentity
from appliance.ic.principal import MANAGEMENT_CANISTER, Principal
from appliance.localnet.canisters.management_types import METHODS
from appliance.localnet.canisters.record import CanisterRecord
from appliance.localnet.canisters.settings import NUMBERS, VISIBILITIES
from appliance.localnet.management.canister import ManagementCanister
from appliance.localnet.state.outcome import Outcome, Rejection, Reply
from tests.localnet.wasm.modules import ALICE, COUNTER, module
from tests.localnet.wasm.net import Net

BOB = Principal(b"bob")
NO_SETTINGS: dict[str, Any] = dict.fromkeys(("controllers", *NUMBERS, *VISIBILITIES, "environment_variables"))
COUNTER_MODULE = module(COUNTER)
INSTALL, REINSTALL, UPGRADE = {"install": None}, {"reinstall": None}, {"upgrade": None}

PROXY = r"""
(table funcref (elem $on_reply $on_reject))
(func $send (param $at i32) (param $size i32)
  (call $msg_reply_data_append (local.get $at) (local.get $size)) (call $msg_reply))
(func $on_reply (param $env i32)
  (i32.store8 (i32.const 999) (i32.const 48))
  (call $msg_arg_data_copy (i32.const 1000) (i32.const 0) (call $msg_arg_data_size))
  (call $send (i32.const 999) (i32.add (call $msg_arg_data_size) (i32.const 1))))
(func $on_reject (param $env i32)
  (i32.store8 (i32.const 999) (i32.add (call $msg_reject_code) (i32.const 48)))
  (call $msg_reject_msg_copy (i32.const 1000) (i32.const 0) (call $msg_reject_msg_size))
  (call $send (i32.const 999) (i32.add (call $msg_reject_msg_size) (i32.const 1))))
(func (export "canister_update forward") (local $name i32)
  (call $msg_arg_data_copy (i32.const 1000) (i32.const 0) (call $msg_arg_data_size))
  (local.set $name (i32.load8_u (i32.const 1000)))
  (call $call_new (i32.const 0) (i32.const 0) (i32.const 1001) (local.get $name)
    (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
  (call $call_data_append (i32.add (i32.const 1001) (local.get $name))
    (i32.sub (call $msg_arg_data_size) (i32.add (local.get $name) (i32.const 1))))
  (call $call_cycles_add128 (i64.const 0) (i64.const 1000))
  (drop (call $call_perform)))
"""
"""``forward`` calls the management canister with 1000 cycles. Its argument: a byte with the length of the name of the
method, the name, the argument. A reply is relayed after ``0``, a rejection after its code."""

OWNED = r"""
(func (export "canister_init") (call $msg_caller_copy (i32.const 0) (i32.const 0) (call $msg_caller_size)))
(func (export "canister_post_upgrade") (call $msg_caller_copy (i32.const 0) (i32.const 0) (call $msg_caller_size)))
(func (export "canister_query owner")
  (call $msg_reply_data_append (i32.const 0) (i32.const 5)) (call $msg_reply))
"""
"""Tells the first bytes of who has installed it."""


class Managed(Net):
    def __init__(self) -> None:
        super().__init__()
        self.management = ManagementCanister(self.replica)
        self.replica.executor.management = self.management
        self._verifier = Verifier(self.replica.authority.root_key)

    def manage(self, method: str, *values: Any, caller: Principal = ALICE) -> Any:
        """What a method returns, or the rejection."""
        call = self.submit(MANAGEMENT_CANISTER, method, METHODS[method].arguments.encode(*values), caller)
        self.run()
        return self.result(method, self.outcome(call))

    def result(self, method: str, outcome: Outcome) -> Any:
        if isinstance(outcome, Rejection):
            return outcome
        values = METHODS[method].results.decode(outcome.arg)
        return values[0] if values else None

    def forward(self, proxy: Principal, method: str, *values: Any) -> Any:
        """The same by a canister: what it is told, or its rejection's code and text."""
        name, arg = method.encode(), METHODS[method].arguments.encode(*values)
        outcome = self.call(proxy, "forward", bytes([len(name)]) + name + arg)
        assert isinstance(outcome, Reply)
        if outcome.arg[:1] != b"0":
            return int(outcome.arg[:1]), outcome.arg[1:].decode()
        return self.result(method, Reply(outcome.arg[1:]))

    def admit(self, identity: KeyIdentity, method: str, arg: bytes) -> Rejection | None:
        now_ns = self.clock.now_ns()
        signed = sign_request(
            identity, "call", now_ns=now_ns, canister_id=MANAGEMENT_CANISTER, method_name=method, arg=arg
        )
        return self.replica.admit(self._verifier.open_request(signed.body, now_ns=now_ns))

    def create(self, caller: Principal = ALICE, **settings: Any) -> CanisterRecord:
        wanted = {"settings": {**NO_SETTINGS, **settings}}
        return self.replica.canisters[self.manage("create_canister", wanted, caller=caller)["canister_id"]]

    def install_code(
        self, record: CanisterRecord, code: bytes = COUNTER_MODULE, mode: Any = None, arg: bytes = b""
    ) -> Any:
        wanted = {"mode": mode or INSTALL, "canister_id": record.canister_id, "wasm_module": code, "arg": arg}
        return self.manage("install_code", wanted)

    def installed(self, code: bytes = COUNTER_MODULE) -> CanisterRecord:
        record = self.create()
        assert self.install_code(record, code) is None
        return record


def about(record: CanisterRecord) -> dict[str, Any]:
    """The argument of most methods."""
    return {"canister_id": record.canister_id}
