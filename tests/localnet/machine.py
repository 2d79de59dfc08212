"""A canister driven without replica and sockets: time, timer and certified data as the replica would keep them."""

from typing import Any, Literal

from appliance.crypto import CandidInterface, CertifiedMessage, PollReply, Verifier
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.canisters.python_canister import PythonCanister
from appliance.localnet.state.certification import Authority, canister_id
from appliance.localnet.state.certified_state import CertifiedState
from appliance.localnet.state.clock import ManualClock
from appliance.localnet.websocket.canister import WebSocketCanister

SECOND = 10**9
START = 1_800_000_000 * SECOND
CANISTER = canister_id(0x8000000000100001)
SEED = b"machine"
WireGeneration = Literal[0, 1, 2]


def principal(name: str) -> Principal:
    """A principal for a test, made of a name instead of a key."""
    return Principal.self_authenticating(name.encode())


class Machine:
    """Calls methods with Candid values; ``advance`` lets the timer fire at each of its times."""

    def __init__(self, canister: PythonCanister, *, install: bool = True) -> None:
        self.canister = canister
        self.clock = ManualClock(START)
        self.authority = Authority(seed=SEED)
        self.state = CertifiedState(self.authority, self.clock)
        self.verifier = Verifier(self.authority.root_key)
        self.timer_ns = 0
        self.generation = _generation(canister)
        self._methods = CandidInterface(canister.did).methods
        if install:
            env = self._env(CANISTER)
            canister.install(b"", env)
            self._keep(env)

    @property
    def now_ns(self) -> int:
        return self.clock.now_ns()

    def call(self, method: str, caller: bytes, *values: object) -> Any:
        """An update, decoded; None where it has no result."""
        env = self._env(caller)
        reply = self.canister.update(method, self._methods[method].arguments.encode(*values), env)
        self._keep(env)
        results = self._methods[method].results.decode(reply)
        return results[0] if results else None

    def query_raw(self, method: str, caller: bytes, *values: object) -> bytes:
        """A query, as bytes."""
        env = self._env(caller)
        path = (b"canister", CANISTER, b"certified_data")
        env.certificate = lambda: self.state.certificate([path], "flat")
        return self.canister.query(method, self._methods[method].arguments.encode(*values), env)

    def query(self, method: str, caller: bytes, *values: object) -> Any:
        """A query, decoded."""
        return self._methods[method].results.decode(self.query_raw(method, caller, *values))[0]

    def poll(self, gateway: bytes, nonce: int, *, generation: WireGeneration | None = None) -> PollReply:
        """A gateway's poll, verified as the gateway does. The wire generation is the canister's unless given."""
        reply = self.query_raw("ws_get_messages", gateway, {"nonce": nonce})
        spoken = self.generation if generation is None else generation
        return self.verifier.open_poll_reply(reply, CANISTER, generation=spoken, now_ns=self.now_ns, gateway=gateway)

    def received(self, gateway: bytes, nonce: int = 0) -> list[CertifiedMessage]:
        """All messages from a nonce on as their clients see them: polled, framed, unframed, verified.

        A canister of v1 begins with its newest page where it is asked for nonce 0.
        """
        messages: list[CertifiedMessage] = []
        while page := self.poll(gateway, nonce).messages:
            messages += [self._open(polled.frame) for polled in page]
            nonce = page[-1].nonce + 1
        return messages

    def advance(self, seconds: float) -> None:
        """Move the time, stopping at every timer on the way."""
        end = self.now_ns + int(seconds * SECOND)
        while self.timer_ns and self.timer_ns <= end:
            self.clock.advance(max(0, self.timer_ns - self.now_ns))
            self.timer_ns = 0
            env = self._env(CANISTER)
            self.canister.on_timer(env)
            self._keep(env)
        self.clock.advance(end - self.now_ns)

    def _open(self, frame: bytes) -> CertifiedMessage:
        return self.verifier.open_message(payload(frame), CANISTER, generation=self.generation, now_ns=self.now_ns)

    def _env(self, caller: bytes) -> Environment:
        return Environment(CANISTER, Principal(caller), self.now_ns, self.timer_ns)

    def _keep(self, env: Environment) -> None:
        self.timer_ns = env.timer_ns
        if env.certified_data is not None:
            self.state.set((b"canister", CANISTER, b"certified_data"), env.certified_data)


def _generation(canister: PythonCanister) -> WireGeneration:
    if not isinstance(canister, WebSocketCanister):
        return 2
    numbers: dict[str, WireGeneration] = {"v0": 0, "v1": 1, "v2": 2}
    return numbers[canister.dialect.generation]


def payload(frame: bytes) -> bytes:
    """What is inside a complete, unmasked, final WebSocket frame with binary data (RFC 6455 section 5.2)."""
    assert frame[0] == 0x82
    short = frame[1]
    start = {126: 4, 127: 10}.get(short, 2)
    length = short if start == 2 else int.from_bytes(frame[2:start], "big")
    assert len(frame) == start + length
    return frame[start:]
