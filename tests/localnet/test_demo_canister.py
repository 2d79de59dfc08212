"""The demo canister in Rust, on the CDK that canisters in the field use, beside the canister in Python that does the
same: whatever clients and gateways do, both answer alike and send the same frames but for times and signatures.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.crypto import CandidInterface, CertifiedMessage, decode_cbor
from appliance.ic.identity import AnonymousIdentity, KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Trap
from appliance.localnet.state.outcome import Rejection
from appliance.localnet.wasm.canister import WasmCanister
from appliance.localnet.wasm.module import Module
from appliance.localnet.websocket.canister import WsInitParams
from appliance.localnet.websocket.pingpong import PingPong
from appliance.localnet.websocket.wire import SERVICE_MESSAGE, ClientKey
from tests import demo
from tests.localnet.hosted import ALICE, BOB, GATEWAY, OTHER_GATEWAY, Hosted, Who, app, service_of, text_of
from tests.localnet.machine import payload
from tests.localnet.websocket.conversation import OK

SHORT = WsInitParams(max_number_of_returned_messages=4, send_ack_interval_ms=61_000)
KEEP_ALIVE = SERVICE_MESSAGE.encode({"KeepAliveMessage": {"last_incoming_sequence_num": 1}})


@asynccontextmanager
async def rust(params: WsInitParams | None = None) -> AsyncIterator[Hosted]:
    canister = WasmCanister(demo.needed_module(), cache=demo.CACHE)
    async with Hosted(canister, demo.settings(params)) as hosted:
        yield hosted


class Twins:
    """Both canisters, called alike; what they answer must be alike. ``messages`` are those of a gateway by nonce."""

    def __init__(self, rust: Hosted, python: Hosted) -> None:
        self.rust, self.python = rust, python
        self._numbers: dict[Principal, int] = {}

    async def both(self, act: Callable[[Hosted], Awaitable[Any]]) -> Any:
        """The common answer. The texts about what cannot be decoded are those of two libraries."""
        ours, theirs = await act(self.python), await act(self.rust)
        assert _comparable(ours) == _comparable(theirs)
        return theirs

    async def open(self, who: Who, nonce: int = 1, gateway: KeyIdentity = GATEWAY) -> Any:
        answer = await self.both(lambda hosted: hosted.open(who, nonce, gateway=gateway))
        if answer == OK:
            self._numbers[who.principal] = 0
        return answer

    async def say(self, who: Who, content: bytes, *, nonce: int = 1, service: bool = False, off: int = 0) -> Any:
        """The next message, or one with a number that is ``off``."""
        number = self._numbers.get(who.principal, 0) + 1
        key = ClientKey(who.principal, nonce)
        answer = await self.both(
            lambda hosted: hosted.message(who, max(0, number + off), content, key=key, service=service)
        )
        if off == 0 and not isinstance(answer, Rejection) and not _is_refused(answer):
            self._numbers[who.principal] = number
        return answer

    async def close(self, gateway: KeyIdentity, who: Who, nonce: int = 1) -> Any:
        return await self.both(lambda hosted: hosted.close(gateway, who.principal, nonce))

    async def advance(self, seconds: int) -> None:
        await asyncio.gather(self.python.advance(seconds), self.rust.advance(seconds))

    def compare(self, gateway: KeyIdentity, nonce: int = 0) -> list[CertifiedMessage]:
        """Everything that the gateway can poll, page by page, and frame by frame."""
        ours, theirs = self.frames(gateway, nonce)
        assert list(map(masked, ours)) == list(map(masked, theirs))
        return self.rust.verified(theirs)

    def compare_by_client(self, gateway: KeyIdentity) -> None:
        """The same where several clients were spoken to at once: in which order is up to the hashes of Rust."""
        ours, theirs = self.frames(gateway)
        assert by_client(ours) == by_client(theirs)

    def frames(self, gateway: KeyIdentity, nonce: int = 0) -> tuple[list[bytes], list[bytes]]:
        """What the gateway writes to clients for all messages from a nonce on, by both."""
        our_frames: list[bytes] = []
        their_frames: list[bytes] = []
        while True:
            ours, theirs = self.python.poll(gateway, nonce), self.rust.poll(gateway, nonce)
            assert [m.nonce for m in ours.messages] == [m.nonce for m in theirs.messages]
            assert ours.is_end_of_queue == theirs.is_end_of_queue
            if not theirs.messages:
                return our_frames, their_frames
            our_frames += [payload(polled.frame) for polled in ours.messages]
            their_frames += [payload(polled.frame) for polled in theirs.messages]
            nonce = theirs.messages[-1].nonce + 1


@asynccontextmanager
async def twins(params: WsInitParams | None = None) -> AsyncIterator[Twins]:
    async with rust(params) as theirs, Hosted(PingPong(params)) as ours:
        yield Twins(theirs, ours)


def _is_refused(answer: dict[str, Any]) -> bool:
    """Whether the canister did not even count the message."""
    return "Err" in answer and "service message" not in answer["Err"]


def _comparable(answer: Any) -> Any:
    match answer:
        case {"Err": str(text)} if text.startswith("Error decoding service message content: "):
            return "undecodable"
        case Rejection(code, text, error_code):
            return code, text.partition("the message is no ")[1] or text, error_code
    return answer


def masked(frame: bytes) -> object:
    """A frame without what depends on the time: the time itself, hashes, and the certificate."""
    fields: Any = decode_cbor(frame)
    return (
        list(fields),
        fields["key"],
        timeless(fields["content"]),
        fields["tree"][:3],
        _shape(decode_cbor(fields["tree"])),
    )


def timeless(content: bytes) -> bytes:
    """The content of a message without the time, of the CDK and of the application."""
    fields: Any = decode_cbor(content)
    for order in ("big", "little"):  # of CBOR and of Candid
        content = content.replace(fields["timestamp"].to_bytes(8, order), bytes(8))
    return content


def by_client(frames: list[bytes]) -> dict[str, list[bytes]]:
    """What each client gets, in its order."""
    contents: dict[str, list[bytes]] = {}
    for frame in frames:
        fields: Any = decode_cbor(frame)
        client: Any = decode_cbor(fields["content"])
        contents.setdefault(str(client["client_key"]), []).append(timeless(fields["content"]))
    return contents


def _shape(tree: Any) -> object:
    match tree:
        case [3 | 4 as kind, bytes()]:
            return kind
        case [2, label, below]:
            return label, _shape(below)
        case [kind, *sides]:
            return kind, *map(_shape, sides)


# --- the same conversation ---


async def test_the_reference_conversation_has_the_same_frames() -> None:
    async with twins() as both:
        assert await both.open(ALICE) == OK
        text = "ping"
        for number in range(1, 21):
            heard = both.compare(GATEWAY)
            assert text_of(heard[-1]) == text
            assert [message.sequence_num for message in heard] == list(range(1, number + 2))
            assert await both.say(ALICE, app(f"{text}-pong")) == OK
            text = f"{text}-pong ping"
        assert await both.say(ALICE, app("close")) == OK
        heard = both.compare(GATEWAY)
        assert service_of(heard[-1]) == {"CloseMessage": {"reason": {"ClosedByApplication": None}}}
        assert len(heard) == 23


# --- any conversation ---

GATEWAYS = st.sampled_from([GATEWAY, OTHER_GATEWAY])
NONCES = st.sampled_from([1, 1, 1, 2])
CONTENTS = st.sampled_from([app("hello"), app("hello"), app("é" * 300), app("close"), b"", b"DIDL\0\0", b"nonsense"])
SERVICE_CONTENTS = st.sampled_from(
    [
        KEEP_ALIVE,
        SERVICE_MESSAGE.encode({"AckMessage": {"last_incoming_sequence_num": 1}}),
        SERVICE_MESSAGE.encode({"CloseMessage": {"reason": {"KeepAliveTimeout": None}}}),
        b"nonsense",
    ]
)


def schedules(*people: KeyIdentity) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    who = st.sampled_from(people)
    step = st.one_of(
        st.tuples(st.just("open"), who, NONCES, GATEWAYS),
        st.tuples(st.just("say"), who, CONTENTS, NONCES, st.sampled_from([0, 0, 0, 0, 0, 0, 1, -1])),
        st.tuples(st.just("serve"), who, SERVICE_CONTENTS, NONCES),
        st.tuples(st.just("close"), who, NONCES, GATEWAYS),
        st.tuples(st.just("wait"), st.sampled_from([1, 20, 61, 130])),
    )
    return st.lists(step, min_size=10, max_size=25)


async def act(both: Twins, step: tuple[Any, ...]) -> None:
    match step:
        case "open", who, nonce, gateway:
            await both.open(who, nonce, gateway)
        case "say", who, content, nonce, off:
            await both.say(who, content, nonce=nonce, off=off)
        case "serve", who, content, nonce:
            await both.say(who, content, nonce=nonce, service=True)
        case "close", who, nonce, gateway:
            await both.close(gateway, who, nonce)
        case "wait", seconds:
            await both.advance(seconds)


async def live_through(steps: list[tuple[Any, ...]], compare: Callable[[Twins, KeyIdentity], object]) -> None:
    async with twins(SHORT) as both:
        for step in steps:
            await act(both, step)
            for gateway in (GATEWAY, OTHER_GATEWAY):
                compare(both, gateway)
            count = both.rust.query("clients_connected", ALICE)
            assert count == both.python.query("clients_connected", ALICE)


@settings(max_examples=20)
@given(schedules(ALICE))
def test_whatever_a_client_does_both_send_the_same_frames(steps: list[tuple[Any, ...]]) -> None:
    asyncio.run(live_through(steps, Twins.compare))


@settings(max_examples=20)
@given(schedules(ALICE, BOB))
def test_whatever_two_clients_do_both_tell_each_of_them_the_same(steps: list[tuple[Any, ...]]) -> None:
    asyncio.run(live_through(steps, Twins.compare_by_client))


# --- what is asked of both in particular ---


def closing(reason: str) -> dict[str, object]:
    return {"CloseMessage": {"reason": {reason: None}}}


async def test_a_wrong_sequence_number_ends_the_connection() -> None:
    async with twins() as both:
        await both.open(ALICE)
        assert await both.say(ALICE, app("x"), off=1) == {"Err": "Expected incoming sequence number 1 but got 2"}
        assert service_of(both.compare(GATEWAY)[-1]) == closing("WrongSequenceNumber")
        refused = f"Client with principal {ALICE.principal} doesn't have an open connection"
        assert await both.say(ALICE, app("x")) == {"Err": refused}


async def test_a_trap_of_the_application_leaves_no_trace() -> None:
    async with twins() as both:
        await both.open(ALICE)
        before = both.compare(GATEWAY)
        for content in (b"", b"nonsense", b"DIDL\0\1\x7d\0"):
            refused = await both.say(ALICE, content)
            assert isinstance(refused, Rejection)
            assert "the message is no record { text : text; timestamp : nat64 }" in refused.message
        assert [m.key for m in both.compare(GATEWAY)] == [m.key for m in before]
        assert await both.say(ALICE, app("the number is still free")) == OK
        assert text_of(both.compare(GATEWAY)[-1]) == "the number is still free ping"


async def test_who_answers_acknowledgements_stays_and_who_does_not_goes() -> None:
    async with twins(SHORT) as both:
        await both.open(ALICE, 1, GATEWAY)
        await both.open(BOB, 1, OTHER_GATEWAY)
        await both.say(ALICE, app("hello"))
        await both.advance(60)
        assert service_of(both.compare(GATEWAY)[-1]) == {"AckMessage": {"last_incoming_sequence_num": 1}}
        assert await both.say(ALICE, KEEP_ALIVE, service=True) == OK
        await both.advance(55)
        assert service_of(both.compare(OTHER_GATEWAY)[-1]) == {"AckMessage": {"last_incoming_sequence_num": 0}}
        await both.advance(2)
        assert service_of(both.compare(OTHER_GATEWAY)[-1]) == closing("KeepAliveTimeout")
        await both.advance(1)
        assert service_of(both.compare(GATEWAY)[-1]) == {"AckMessage": {"last_incoming_sequence_num": 2}}
        assert await both.say(ALICE, app("still here")) == OK


async def test_a_client_without_an_acknowledgement_owes_no_answer() -> None:
    async with twins(SHORT) as both:
        await both.advance(61)
        await both.open(ALICE)
        await both.advance(60)
        assert await both.say(ALICE, app("nobody asked")) == OK


async def test_a_queue_is_polled_in_pages() -> None:
    async with twins(SHORT) as both:
        await both.open(ALICE)
        for number in range(9):
            await both.say(ALICE, app(str(number)))
        assert len(both.compare(GATEWAY)) == 11
        pages = [both.rust.poll(GATEWAY, first) for first in (0, 4, 8, 7, 11)]
        assert [len(page.messages) for page in pages] == [4, 4, 3, 4, 0]
        assert [page.is_end_of_queue for page in pages] == [False, False, True, True, True]


async def test_old_messages_go_as_new_ones_come_and_the_nonces_go_on() -> None:
    async with twins(SHORT) as both:
        await both.open(ALICE)
        for number in range(9):
            await both.say(ALICE, app(str(number)))
        await both.advance(60)
        assert await both.say(ALICE, KEEP_ALIVE, service=True) == OK
        for number in range(3):
            await both.say(ALICE, app(str(number)))
            both.compare(GATEWAY)
        assert [m.nonce for m in both.rust.poll(GATEWAY).messages] == [11, 12, 13, 14]


async def test_a_gateway_without_clients_is_forgotten_and_begins_anew() -> None:
    async with twins(SHORT) as both:
        await both.open(ALICE)
        assert await both.close(OTHER_GATEWAY, ALICE) == {
            "Err": f"Gateway with principal {OTHER_GATEWAY.principal} is not registered"
        }
        assert await both.close(GATEWAY, ALICE) == OK
        assert len(both.compare(GATEWAY)) == 2
        await both.advance(125)
        assert both.compare(GATEWAY) == []
        await both.open(ALICE)
        assert [m.nonce for m in both.rust.poll(GATEWAY).messages] == [0, 1]
        both.compare(GATEWAY)


async def test_a_client_is_of_one_gateway_only() -> None:
    async with twins() as both:
        await both.open(ALICE, 1, GATEWAY)
        await both.open(BOB, 1, OTHER_GATEWAY)
        answer = await both.close(OTHER_GATEWAY, ALICE)
        key = f"{ALICE.principal}_1"
        assert answer == {"Err": f"Client with key {key} was not registered to gateway {OTHER_GATEWAY.principal}"}
        assert len(both.compare(GATEWAY)) == len(both.compare(OTHER_GATEWAY)) == 2
        assert await both.open(ALICE, 2, OTHER_GATEWAY) == OK
        assert len(both.compare(OTHER_GATEWAY)) == 4
        assert len(both.compare(GATEWAY)) == 2


async def test_who_cannot_open() -> None:
    async with twins() as both:
        assert await both.open(AnonymousIdentity()) == {"Err": "Anonymous principal is not allowed"}
        await both.open(ALICE)
        already = f"Client with key {ALICE.principal}_1 already has an open connection"
        assert await both.open(ALICE) == {"Err": already}


async def test_polling_replicated_fails_where_there_is_something_to_certify() -> None:
    async with twins() as both:
        empty = {"messages": [], "cert": b"", "tree": b"", "is_end_of_queue": True}
        poll = "ws_get_messages"
        assert await both.rust.call(poll, GATEWAY, {"nonce": 0}) == {"Ok": empty}
        assert await both.python.call(poll, GATEWAY, {"nonce": 0}) == {"Ok": empty}
        await both.open(ALICE)
        for hosted in (both.rust, both.python):
            answer = await hosted.call(poll, GATEWAY, {"nonce": 0})
            assert isinstance(answer, Rejection)
            assert answer.error_code == "IC0503"


@pytest.mark.parametrize("interval_ms", [0, 60_000])
async def test_an_interval_within_the_keep_alive_timeout_is_refused(interval_ms: int) -> None:
    params = WsInitParams(send_ack_interval_ms=interval_ms)
    text = "send_ack_interval_ms must be greater than CLIENT_KEEP_ALIVE_TIMEOUT_MS"
    with pytest.raises(Trap, match=text):
        Hosted(PingPong(params))
    with pytest.raises(Trap, match=text):
        Hosted(WasmCanister(demo.needed_module(), cache=demo.CACHE), demo.settings(params))


# --- what only the one in Rust does ---


def test_the_interface_that_it_publishes_names_its_methods() -> None:
    module = Module(demo.needed_module(), cache=demo.CACHE)
    did = module.metadata["candid:service"].decode()
    exported = {name.split(" ", 1)[1] for name in module.exports if " " in name}
    assert set(CandidInterface(did).methods) == exported - {"<ic-cdk internal> timer_executor"}


async def test_what_is_said_in_a_room_comes_over_the_socket_of_all_who_are_in_it() -> None:
    async with rust() as hosted:
        for who in (ALICE, BOB):
            await hosted.open(who)
        await hosted.message(ALICE, 1, app("/join tea"))
        assert await hosted.call("join", BOB, "tea") == OK
        await hosted.message(ALICE, 2, app("/say tea good morning"))
        said = [(m.client_key[:-8], text_of(m)) for m in hosted.received(GATEWAY, 6)]
        line = f"#tea {ALICE.principal}: good morning"
        assert sorted(said) == sorted([(ALICE.principal, line), (BOB.principal, line)])
        assert hosted.query("rooms", BOB) == [{"name": "tea", "members": 2, "lines": 1}]
        (kept,) = hosted.query("lines", BOB, "tea")
        assert (kept["from"], kept["text"]) == (ALICE.principal, "good morning")


async def test_who_may_not_speak_is_told_why() -> None:
    async with rust() as hosted:
        assert await hosted.call("join", ALICE, "tea") == {"Err": "open a WebSocket connection first"}
        await hosted.open(ALICE)
        assert await hosted.call("say", ALICE, "tea", "x") == {"Err": "you are not in room tea"}
        assert await hosted.call("join", ALICE, "tea") == OK
        assert await hosted.call("join", ALICE, "tea") == {"Err": "you are in room tea already"}
        assert await hosted.call("leave", ALICE, "tea") == OK
        for command in ("/say tea x", "/dance"):
            await hosted.message(ALICE, 1 + (command == "/dance"), app(command))
        refused = [text_of(message) for message in hosted.received(GATEWAY)[-2:]]
        assert refused == ["you are not in room tea", "commands are /join ROOM, /leave ROOM and /say ROOM TEXT"]


async def test_an_upgrade_keeps_what_was_said_and_ends_all_connections() -> None:
    async with rust() as hosted:
        await hosted.open(ALICE)
        await hosted.call("join", ALICE, "tea")
        await hosted.call("say", ALICE, "tea", "before")
        lines = hosted.query("lines", ALICE, "tea")
        hosted.replica.upgrade_canister(hosted.id, demo.needed_module(), arg=demo.settings(SHORT))
        assert hosted.query("lines", ALICE, "tea") == lines != []
        assert hosted.query("rooms", ALICE) == [{"name": "tea", "members": 0, "lines": 1}]
        assert hosted.query("clients_connected", ALICE) == 0
        assert hosted.received(GATEWAY) == []
        assert await hosted.message(ALICE, 1, app("hello?")) == {
            "Err": f"Client with principal {ALICE.principal} doesn't have an open connection"
        }
        await hosted.open(ALICE)
        await hosted.advance(62)
        assert service_of(hosted.received(GATEWAY)[-1]) == {"AckMessage": {"last_incoming_sequence_num": 0}}
