"""The demo canister in Rust, on the CDK that canisters in the field use, beside the canister in Python that does the
same: whatever clients and gateways do, both answer alike and send the same frames but for times and signatures.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.crypto import CertifiedMessage, decode_cbor
from appliance.ic.identity import AnonymousIdentity, KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.outcome import Rejection
from appliance.localnet.pingpong import PingPong
from appliance.localnet.wasm.canister import WasmCanister
from appliance.localnet.websocket_canister import WsInitParams
from appliance.localnet.websocket_wire import SERVICE_MESSAGE, ClientKey
from tests import demo
from tests.localnet.hosted import ALICE, BOB, GATEWAY, OTHER_GATEWAY, Hosted, Who, app, service_of, text_of
from tests.localnet.websocket import OK

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
        return self.rust.received(gateway, nonce)

    def compare_by_client(self, gateway: KeyIdentity) -> None:
        """The same where several clients were spoken to at once: in which order is up to the hashes of Rust."""
        ours, theirs = self.frames(gateway)
        assert by_client(ours) == by_client(theirs)

    def frames(self, gateway: KeyIdentity, nonce: int = 0) -> tuple[list[bytes], list[bytes]]:
        first = nonce
        while True:
            ours, theirs = self.python.poll(gateway, nonce), self.rust.poll(gateway, nonce)
            assert [m.nonce for m in ours.messages] == [m.nonce for m in theirs.messages]
            assert ours.is_end_of_queue == theirs.is_end_of_queue
            if not theirs.messages:
                return self.python.frames(gateway, first), self.rust.frames(gateway, first)
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
        case Rejection(_, text, error_code):
            return text.partition("the message is no ")[1] or text, error_code
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
