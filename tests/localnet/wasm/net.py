"""A replica with a hand-moved clock, and calls that are executed at once."""

import itertools
from pathlib import Path

from appliance.ic.principal import Principal
from appliance.localnet.replica.queries import QueryRun
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.certification import Authority
from appliance.localnet.state.clock import ManualClock
from appliance.localnet.state.ingress import Call
from appliance.localnet.state.outcome import Outcome, Rejection, Reply
from appliance.localnet.wasm.canister import WasmCanister
from tests.localnet.machine import START
from tests.localnet.wasm.modules import ALICE


class Net:
    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.replica = Replica(Authority(seed=b"wasm"), self.clock)
        self._numbers = itertools.count()

    def install(self, module: bytes, arg: bytes = b"", *, cache: Path | None = None) -> Principal:
        return self.replica.create_canister(WasmCanister(module, cache=cache), arg=arg)

    def submit(self, canister: Principal, method: str, arg: bytes = b"", caller: Principal = ALICE) -> Call:
        """Put a call into the queue."""
        call = Call(next(self._numbers).to_bytes(32, "big"), caller, canister, method, arg)
        self.replica.ingress.add(call)
        self.replica.executor.enqueue(call)
        return call

    def run(self) -> None:
        """Execute until there is nothing left to do."""
        while self.replica.executor or self.replica.rounds.is_due():
            self.replica.rounds.run_one()

    def call(self, canister: Principal, method: str, arg: bytes = b"") -> Outcome:
        """Execute a call, and everything that follows from it."""
        call = self.submit(canister, method, arg)
        self.run()
        return self.outcome(call)

    def outcome(self, call: Call) -> Outcome:
        state = self.replica.state
        if call.status == "replied":
            return Reply(state.get((*call.path, b"reply")) or b"")
        assert call.status == "rejected", call.status
        code, text, error_code = (
            state.get((*call.path, name)) or b"" for name in (b"reject_code", b"reject_message", b"error_code")
        )
        return Rejection(code[0], text.decode(), error_code.decode())

    def query(self, canister: Principal, method: str, arg: bytes = b"") -> Outcome:
        path = (b"canister", canister, b"certified_data")
        state = self.replica.state
        run = QueryRun(self.replica.canisters, state.next_time(), lambda: state.leaf_certificate(path, "flat"))
        return run.execute(canister, method, arg, ALICE)
