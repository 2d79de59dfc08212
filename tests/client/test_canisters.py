"""Each session and a canister of its generation on the localnet understand each other, machine to machine.

What stands for the gateway here are a few lines that carry bytes and believe everybody.
"""

from abc import ABC, abstractmethod
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.client.errors import ClosedByApplication, OpeningRefused
from appliance.client.sessions.certified import CertifiedSession
from appliance.client.sessions.session import Event, Opened, Received, Send
from appliance.client.sessions.v0 import REGISTER, SessionV0, registration
from appliance.client.sessions.v1 import SessionV1
from appliance.client.sessions.v2 import SessionV2
from appliance.crypto import CandidInterface, CandidTypes, decode_cbor, encode_cbor
from appliance.ic.principal import ANONYMOUS
from appliance.localnet.websocket.pingpong import APP_MESSAGE, PingPong
from tests.client.canister import CLIENT, GATEWAY, HANDSHAKE, KEY, NONCE, SECOND_NS, frame_of
from tests.localnet.machine import CANISTER, Machine, payload

APPLICATION = CandidTypes(f"({APP_MESSAGE})")


class Conversation(ABC):
    """A client, its canister, and the way between them."""

    client: CertifiedSession

    def __init__(self, canister: PingPong) -> None:
        self.machine = Machine(canister)
        self.methods = CandidInterface(canister.did).methods
        self.nonce = 0

    @abstractmethod
    def open(self) -> list[Event]:
        """Until the canister's first messages are there."""

    @abstractmethod
    def up(self, frame: bytes) -> Any:
        """To the canister; its answer."""

    @abstractmethod
    def encode(self, text: str) -> bytes:
        """A message of the application."""

    @abstractmethod
    def decode(self, content: bytes) -> Any:
        """A message of the application."""

    def down(self) -> list[Event]:
        """All that the canister has for the client; what the client answers goes up."""
        arg = {"nonce": self.nonce}
        reply = self.machine.query_raw("ws_get_messages", GATEWAY, arg)
        wire: Any = int(self.client.generation[1])
        now_ns = self.machine.now_ns
        polled = self.machine.verifier.open_poll_reply(
            reply, CANISTER, generation=wire, now_ns=now_ns, gateway=GATEWAY
        ).messages
        self.nonce += len(polled)
        events = [e for m in polled for e in self.client.receive(payload(m.frame), now_ns=now_ns)]
        for event in events:
            if isinstance(event, Send):
                assert self.up(event.frame) == {"Ok": None}
        return events

    def say(self, text: str) -> list[Event]:
        send = self.client.send(self.encode(text), now_ns=self.machine.now_ns)
        assert self.up(send.frame) == {"Ok": None}
        return self.down()

    def texts(self, events: list[Event]) -> list[str]:
        return [self.decode(event.content)["text"] for event in events if isinstance(event, Received)]


class Enveloped(Conversation):
    """In v1 or v2."""

    def __init__(self, session: type[SessionV1] | type[SessionV2]) -> None:
        super().__init__(PingPong(generation=session.generation, gateway=GATEWAY))
        now_ns = self.machine.now_ns
        self.client = session(CANISTER, CLIENT, self.machine.verifier, client_nonce=NONCE, now_ns=now_ns)

    def open(self) -> list[Event]:
        events = self.client.start(now_ns=self.machine.now_ns)
        if not events:
            events = self.client.receive(HANDSHAKE, now_ns=self.machine.now_ns)
        assert self.up(frame_of(events)) == {"Ok": None}
        return self.down()

    def up(self, frame: bytes) -> Any:
        request = self.machine.verifier.open_envelope(frame, now_ns=self.machine.now_ns)
        values = self.methods[request.method_name].arguments.decode(request.arg)
        return self.machine.call(request.method_name, request.sender, *values)

    def encode(self, text: str) -> bytes:
        return APPLICATION.encode({"text": text, "timestamp": self.machine.now_ns})

    def decode(self, content: bytes) -> Any:
        return APPLICATION.decode(content)[0]


class Seed(Conversation):
    """In v0."""

    client: SessionV0

    def __init__(self) -> None:
        super().__init__(PingPong(generation="v0", gateway=GATEWAY))
        self.client = SessionV0(CANISTER, KEY, self.machine.verifier, now_ns=self.machine.now_ns)

    def register(self) -> None:
        assert self.machine.call("ws_register", ANONYMOUS, *REGISTER.decode(registration(KEY))) == {"Ok": None}

    def open(self) -> list[Event]:
        first = frame_of(self.client.start(now_ns=self.machine.now_ns))
        client_key, _, content, signature = self.machine.verifier.open_first_message(first)
        answer = self.machine.call("ws_open", GATEWAY, {"msg": content, "sig": signature})
        events = self.client.receive("1" if "Ok" in answer else "0", now_ns=self.machine.now_ns)
        assert self._message(GATEWAY, {"IcWebSocketEstablished": client_key}) == {"Ok": None}
        return [*events, *self.down()]

    def up(self, frame: bytes) -> Any:
        return self._message(GATEWAY, {"RelayedByGateway": decode_cbor(frame)})

    def say_directly(self, text: str) -> list[Event]:
        values = self.methods["ws_message"].arguments.decode(self.client.direct(self.encode(text)))
        assert self.machine.call("ws_message", ANONYMOUS, *values) == {"Ok": None}
        return self.down()

    def encode(self, text: str) -> bytes:
        return encode_cbor({"text": text, "timestamp": self.machine.now_ns})

    def decode(self, content: bytes) -> Any:
        return decode_cbor(content)

    def _message(self, caller: bytes, variant: dict[str, object]) -> Any:
        return self.machine.call("ws_message", caller, {"msg": variant})


def conversation(generation: str) -> Conversation:
    """One whose client is known to the canister as far as its generation wants that."""
    if generation == "v0":
        seed = Seed()
        seed.register()
        return seed
    return Enveloped(SessionV1 if generation == "v1" else SessionV2)


TEXT = st.text(max_size=20).filter(lambda text: text != "close")


@pytest.mark.parametrize("generation", ["v0", "v1", "v2"])
@settings(max_examples=25)
@given(said=st.lists(TEXT, max_size=8))
def test_what_is_said_is_answered(generation: str, said: list[str]) -> None:
    talk = conversation(generation)
    events = talk.open()
    assert events[0] == Opened()
    assert talk.texts(events) == ["ping"]
    for text in said:
        assert talk.texts(talk.say(text)) == [f"{text} ping"]


@pytest.mark.parametrize("session", [SessionV1, SessionV2])
def test_a_client_that_answers_acknowledgements_stays(session: type[SessionV1] | type[SessionV2]) -> None:
    talk = Enveloped(session)
    talk.open()
    interval_s = talk.machine.canister.params.send_ack_interval_ms // 1000  # type: ignore[attr-defined]
    assert interval_s * SECOND_NS < session.limits.ack_ns
    for round_number in range(3):
        talk.say(f"round {round_number}")
        talk.machine.advance(interval_s)
        talk.client.check(now_ns=talk.machine.now_ns)
        (keep_alive,) = talk.down()
        assert isinstance(keep_alive, Send)
        assert talk.client.unacknowledged == 1  # the sign of life itself
    assert talk.texts(talk.say("still here")) == ["still here ping"]


def test_an_application_that_closes_is_heard_in_v2() -> None:
    talk = Enveloped(SessionV2)
    talk.open()
    with pytest.raises(ClosedByApplication):
        talk.say("close")


def test_a_canister_of_v0_takes_messages_both_ways() -> None:
    talk = Seed()
    talk.register()
    talk.open()
    assert talk.texts(talk.say("through the gateway")) == ["through the gateway ping"]
    assert talk.texts(talk.say_directly("straight")) == ["straight ping"]
    assert talk.texts(talk.say("and again")) == ["and again ping"]


def test_a_canister_of_v0_refuses_a_key_that_nobody_registered() -> None:
    with pytest.raises(OpeningRefused):
        Seed().open()
