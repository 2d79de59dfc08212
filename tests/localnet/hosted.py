"""Canisters of wire generation v2 on a replica with a hand-moved clock: of Python or of Wasm, they are called alike."""

from types import TracebackType
from typing import Any, Self

from appliance.crypto import CandidInterface, CertifiedMessage, PollReply, Request, SigningKey, Verifier
from appliance.ic.envelope import sign_request
from appliance.ic.identity import AnonymousIdentity, KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Canister
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.certification import Authority
from appliance.localnet.state.clock import ManualClock
from appliance.localnet.state.ingress import Call
from appliance.localnet.state.outcome import Outcome, Rejection, Reply
from appliance.localnet.websocket.pingpong import APP_MESSAGE
from appliance.localnet.websocket.wire import SERVICE_MESSAGE, ClientKey
from tests.localnet.machine import SECOND, START, payload

Who = KeyIdentity | AnonymousIdentity

NOTHING = b"DIDL\0\0"
_STEPS = (SECOND // 2, SECOND // 1000, SECOND // 2 - SECOND // 1000)


def identity(name: str) -> KeyIdentity:
    """Somebody, by a name."""
    return KeyIdentity(SigningKey.from_secret("ed25519", name.encode().ljust(32)))


ALICE, BOB, GATEWAY, OTHER_GATEWAY = map(identity, ("alice", "bob", "gateway", "other gateway"))


class Hosted:
    """``async with Hosted(canister) as hosted`` runs the replica.

    The installation is at a whole second, and so are the timers that it sets; a call is half a second after one, and a
    second after the call before. So each finds everything executed that is due, and its own time is the same on every
    replica, however many executions there were before.
    """

    def __init__(self, canister: Canister, arg: bytes = NOTHING) -> None:
        self.canister = canister
        self.clock = ManualClock(START)
        self.replica = Replica(Authority(seed=b"hosted"), self.clock)
        self.id = self.replica.create_canister(canister, arg=arg)
        self._verifier = Verifier(self.replica.authority.root_key)
        self._methods = CandidInterface(canister.metadata["candid:service"].decode()).methods
        self.clock.advance(SECOND // 2)

    async def __aenter__(self) -> Self:
        await self.replica.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.replica.__aexit__(kind, error, trace)

    async def call(self, method: str, who: Who, *values: object) -> Any:
        """An update: its result, or the rejection."""
        await self.advance(1)
        call = self.replica.submit(self._request("call", method, who, *values))
        await self.replica.settle()
        reply = self.replica.state.get((*call.path, b"reply"))
        return self._rejection(call) if reply is None else self._result(method, reply)

    def _rejection(self, call: Call) -> Rejection:
        leaves = (
            self.replica.state.get((*call.path, name)) for name in (b"reject_code", b"reject_message", b"error_code")
        )
        code, message, error_code = (leaf or b"" for leaf in leaves)
        return Rejection(code[0], message.decode(), error_code.decode())

    def query_raw(self, method: str, who: Who, *values: object) -> Outcome:
        """A query."""
        return self.replica.query(self._request("query", method, who, *values), "flat")

    def query(self, method: str, who: Who, *values: object) -> Any:
        """A query: its result, or the rejection."""
        outcome = self.query_raw(method, who, *values)
        return self._result(method, outcome.arg) if isinstance(outcome, Reply) else outcome

    async def advance(self, seconds: int) -> None:
        """Let time pass and everything be executed: what is due at a whole second, and what that brings just after."""
        for _ in range(seconds):
            for step in _STEPS:
                self.clock.advance(step)
                await self.replica.settle()

    def _request(self, kind: Any, method: str, who: Who, *values: object) -> Request:
        now_ns = self.clock.now_ns()
        arg = self._methods[method].arguments.encode(*values)
        signed = sign_request(who, kind, now_ns=now_ns, canister_id=self.id, method_name=method, arg=arg)
        return self._verifier.open_request(signed.body, now_ns=now_ns)

    def _result(self, method: str, reply: bytes) -> Any:
        return self._methods[method].results.decode(reply)[0]

    # --- WebSockets ---

    async def open(self, who: Who, nonce: int = 1, *, gateway: KeyIdentity = GATEWAY) -> Any:
        return await self.call("ws_open", who, {"client_nonce": nonce, "gateway_principal": gateway.principal})

    async def message(
        self, who: Who, number: int, content: bytes, *, key: ClientKey | None = None, service: bool = False
    ) -> Any:
        message = {
            "client_key": (key or ClientKey(who.principal, 1)).to_candid(),
            "sequence_num": number,
            "timestamp": 1,
            "is_service_message": service,
            "content": content,
        }
        return await self.call("ws_message", who, {"msg": message}, None)

    async def close(self, gateway: KeyIdentity, client: Principal, nonce: int = 1) -> Any:
        return await self.call("ws_close", gateway, {"client_key": ClientKey(client, nonce).to_candid()})

    def poll(self, gateway: KeyIdentity, nonce: int = 0) -> PollReply:
        """A page, verified as the gateway does it."""
        outcome = self.query_raw("ws_get_messages", gateway, {"nonce": nonce})
        assert isinstance(outcome, Reply), outcome
        return self._verifier.open_poll_reply(
            outcome.arg, self.id, generation=2, now_ns=self.clock.now_ns(), gateway=gateway.principal
        )

    def frames(self, gateway: KeyIdentity, nonce: int = 0) -> list[bytes]:
        """What the gateway writes to clients for all messages from a nonce on."""
        frames: list[bytes] = []
        while page := self.poll(gateway, nonce).messages:
            frames += [payload(polled.frame) for polled in page]
            nonce = page[-1].nonce + 1
        return frames

    def received(self, gateway: KeyIdentity, nonce: int = 0) -> list[CertifiedMessage]:
        """The same as clients see it: verified."""
        return self.verified(self.frames(gateway, nonce))

    def verified(self, frames: list[bytes]) -> list[CertifiedMessage]:
        """Frames as a client opens them."""
        now_ns = self.clock.now_ns()
        return [self._verifier.open_message(frame, self.id, generation=2, now_ns=now_ns) for frame in frames]


_APP = CandidInterface(f"service : {{ m : ({APP_MESSAGE}) -> () }}").methods["m"].arguments


def app(text: str, timestamp: int = 1) -> bytes:
    """A message of the ping-pong."""
    return _APP.encode({"text": text, "timestamp": timestamp})


def text_of(message: CertifiedMessage) -> str:
    """What the ping-pong said."""
    assert not message.is_service_message
    return str(_APP.decode(message.content)[0]["text"])  # type: ignore[index]


def service_of(message: CertifiedMessage) -> Any:
    """The service message in a message."""
    assert message.is_service_message
    return SERVICE_MESSAGE.decode(message.content)[0]
