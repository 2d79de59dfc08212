"""A client session, a gateway session and a canister on the localnet, without sockets and tasks between them."""

from collections import deque
from collections.abc import Sequence
from typing import Any, assert_never

from appliance.client.sessions.session import Event, Opened, Received, Send, Session
from appliance.crypto import CandidTypes, Request, Verifier
from appliance.ic.agent import Agent
from appliance.ic.principal import Principal
from appliance.localnet.state.clock import ManualClock
from appliance.protocol import events as gateway_events
from appliance.protocol.envelopes import Envelopes
from appliance.protocol.frames import Delivery
from appliance.protocol.generations import SESSIONS
from appliance.protocol.session import SessionContext

_GET_MESSAGES = CandidTypes("(record {nonce: nat64})")
_TEXT = 1  # the opcode (RFC 6455 section 5.2)


class Conversation:
    """Carries what each of the three says to the next."""

    def __init__(
        self, client: Session, *, canister_id: Principal, agent: Agent, verifier: Verifier, clock: ManualClock
    ) -> None:
        self.client = client
        self._canister_id = canister_id
        self._agent = agent
        self._verifier = verifier
        self._clock = clock
        self._next_nonce = 0
        self.gateway = SESSIONS[client.generation](SessionContext(agent.principal, Envelopes(verifier, "enforce")))

    async def open(self) -> list[Event]:
        """From the first word to the last message that the opening brings."""
        greeting = self.gateway.connect()
        events = await self.up(self.client.start(now_ns=self._clock.now_ns()))
        events += await self._perform(greeting)
        return events + await self.down()

    async def up(self, sends: Sequence[Event]) -> list[Event]:
        """What the client wants sent goes to the gateway, and from there where it belongs."""
        events: list[Event] = []
        for send in sends:
            assert isinstance(send, Send)
            events += await self._perform(self.gateway.receive(send.frame, now_ns=self._clock.now_ns()))
        return events

    async def say(self, content: bytes) -> list[Event]:
        """A message of the client, and all that comes of it."""
        events = await self.up([self.client.send(content, now_ns=self._clock.now_ns())])
        return events + await self.down()

    async def down(self) -> list[Event]:
        """Everything the canister has, through both sessions; what the client answers goes up again."""
        arg = _GET_MESSAGES.encode({"nonce": self._next_nonce})
        reply = await self._agent.query(self._canister_id, "ws_get_messages", arg)
        now_ns = self._clock.now_ns()
        polled = self._verifier.open_poll_reply(
            reply,
            self._canister_id,
            generation=self.gateway.generation,
            now_ns=now_ns,
            gateway=self._agent.principal,
        )
        events: list[Event] = []
        for message in polled.messages:
            self._next_nonce = message.nonce + 1
            delivery = Delivery(message.frame, message.nonce, message.sequence_num)
            events += await self._perform(self.gateway.delivered(delivery))
        return events

    async def _perform(self, wanted: Sequence[gateway_events.Event]) -> list[Event]:
        events: list[Event] = []
        waiting = deque(wanted)
        while waiting:
            match waiting.popleft():
                case gateway_events.Send(frame):
                    events += await self._to_client(frame)
                case gateway_events.Relay(call):
                    reply = await self._call(call)
                    waiting.extend(self.gateway.answered(call.method_name, reply))
                case gateway_events.Poll(nonce):
                    self._next_nonce = nonce or 0
                case gateway_events.Join() | gateway_events.Opened():
                    pass
                case gateway_events.Deliver(kept):
                    events += await self._to_client(kept.frame)
                case gateway_events.VerificationFailed(error):
                    raise error
                case unknown:
                    assert_never(unknown)
        return events

    async def _call(self, call: Request | gateway_events.Call) -> bytes | None:
        if isinstance(call, Request):
            return await self._agent.submit(call)
        return await self._agent.call(call.canister_id, call.method_name, call.arg)

    async def _to_client(self, frame: bytes) -> list[Event]:
        events = self.client.receive(_payload(frame), now_ns=self._clock.now_ns())
        ours = [event for event in events if isinstance(event, Opened | Received)]
        return ours + await self.up([event for event in events if isinstance(event, Send)])


def received(events: Sequence[Event]) -> list[bytes]:
    """The contents of the application's messages."""
    return [event.content for event in events if isinstance(event, Received)]


def _payload(frame: bytes) -> Any:
    payload = frame[{126: 4, 127: 10}.get(frame[1], 2) :]
    return payload.decode() if frame[0] & 0xF == _TEXT else payload
