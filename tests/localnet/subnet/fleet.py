"""A subnet with a hand-moved clock, and users who choose the replica that their request meets."""

import asyncio
import hashlib
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Literal

from appliance.crypto import CandidTypes, Request, SigningKey, Verifier
from appliance.ic.envelope import sign_request
from appliance.ic.identity import KeyIdentity
from appliance.localnet.canisters.canister import Canister, Environment
from appliance.localnet.canisters.python_canister import PythonCanister
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.certification import Authority
from appliance.localnet.state.clock import ManualClock
from appliance.localnet.state.outcome import Reply
from appliance.localnet.subnet.conditions import Conditions
from appliance.localnet.subnet.node import LaggingNode
from appliance.localnet.subnet.subnet import Subnet
from tests.localnet.machine import START

MS = 10**6
USER = KeyIdentity(SigningKey.from_secret("ed25519", b"u" * 32))
TEXT, JOURNAL, NOTHING = CandidTypes("(text)"), CandidTypes("(vec text, blob)"), CandidTypes("()").encode()


class Journal(PythonCanister):
    """Writes down what it is called with, and certifies a digest of it."""

    did = "service : {add : (text) -> (); all : () -> (vec text, blob) query}"

    def __init__(self) -> None:
        super().__init__()
        self.entries: tuple[str, ...] = ()

    def add(self, env: Environment, text: str) -> tuple[()]:
        self.undo_log.set(self, "entries", (*self.entries, text))
        env.set_certified_data(digest(self.entries))
        return ()

    def all(self, env: Environment) -> tuple[list[str], bytes]:
        return list(self.entries), env.data_certificate() or b""


def digest(entries: tuple[str, ...] | list[str]) -> bytes:
    return hashlib.sha256("\n".join(entries).encode()).digest()


def calm(**changes: Any) -> Conditions:
    """Like the mainnet, without the way to it."""
    return replace(Conditions.like_mainnet(b"fleet"), round_trip_s=(0.0, 0.0), **changes)


class Fleet:
    """Replicas around one canister, a journal unless another is given."""

    def __init__(self, conditions: Conditions | None = None, canister: Canister | None = None) -> None:
        conditions = conditions or calm()
        self.clock = ManualClock(START)
        authority = Authority(seed=b"fleet", subnet=conditions.subnet, nodes=conditions.replicas)
        self.replica = Replica(authority, self.clock)
        self.canister = self.replica.create_canister(canister or Journal())
        self.subnet = Subnet(self.replica, conditions)
        self.subnet.start()
        self.nodes = self.subnet.nodes
        self._requests = 0
        self.verifier = Verifier(authority.root_key)

    def request(
        self, kind: Literal["call", "query"], method: str, arg: bytes = b"", *, who: KeyIdentity = USER
    ) -> Request:
        now_ns = self.clock.now_ns()
        self._requests += 1
        nonce = self._requests.to_bytes(8, "big") if kind == "call" else None
        signed = sign_request(
            who, kind, now_ns=now_ns, canister_id=self.canister, method_name=method, arg=arg, nonce=nonce
        )
        return self.verifier.open_request(signed.body, now_ns=now_ns)

    def add(self, text: str) -> Request:
        return self.request("call", "add", TEXT.encode(text))

    def journal(self, node: LaggingNode | None = None) -> list[str]:
        """The entries that a node knows, or those after the last block; what is answered is verified."""
        outcome = (node or self.subnet.latest.view).query(self.request("query", "all", NOTHING), "sharded")
        assert isinstance(outcome, Reply), outcome
        entries, certificate = JOURNAL.decode(outcome.arg)
        assert isinstance(entries, list)
        assert isinstance(certificate, bytes)
        tree = self.verifier.verify_certificate(certificate, self.canister, now_ns=self.clock.now_ns())
        assert tree.lookup([b"canister", self.canister, b"certified_data"]) == (digest(entries) if entries else b"")
        return entries

    def status(self, node: LaggingNode, request: Request) -> bytes | None:
        """The certified status of a call at a node."""
        path = [b"request_status", request.request_id]
        certificate = node.certificate([path], "sharded")
        tree = self.verifier.verify_certificate(certificate, self.canister, now_ns=self.clock.now_ns())
        return tree.lookup([*path, b"status"])

    async def waiting(self, *work: Coroutine[Any, Any, Any]) -> list[Any]:
        """The results, for which the clock is moved on in steps of 10 ms."""
        tasks = [asyncio.ensure_future(each) for each in work]
        while not all(task.done() for task in tasks):
            for _ in range(5):
                await asyncio.sleep(0)
            self.clock.advance(10 * MS)
        return [task.result() for task in tasks]
