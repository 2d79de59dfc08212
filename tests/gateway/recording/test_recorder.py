"""What a whole gateway writes down of real conversations: timelines without a word of what was said, and durations."""

import base64
import json
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crypto import encode_cbor
from appliance.errors import CertifiedReject
from appliance.gateway.peer import FIRST_SAMPLED
from appliance.gateway.recording.explain import explain
from appliance.gateway.recording.recorder import SAMPLED
from appliance.gateway.recording.timeline import ConnectionEnd, Timeline
from tests.gateway.bench import Bench, until
from tests.gateway.clients import CANISTER, Client
from tests.gateway.fake_ic import OK, err
from tests.gateway.served import served

MARK = 24
"""Bytes of a payload that cannot appear by chance."""


def kinds(timeline: Timeline) -> list[str]:
    return [moment.kind for moment in timeline.entries]


def told(timeline: Timeline, now_ns: int = 0) -> str:
    """Everything that anybody is ever shown of a timeline."""
    facts = {name: getattr(timeline, name) for name in ("id", "address", "path", "generation", "canister", "client")}
    moments = [[moment.at_ns, moment.kind, moment.facts] for moment in timeline.entries]
    return json.dumps([facts, moments, explain(timeline, now_ns=now_ns)], ensure_ascii=False)


def shapes(payload: bytes) -> list[str]:
    """How bytes may look in a text."""
    return [
        payload.hex(),
        payload.decode("latin-1"),
        payload.decode(errors="replace"),
        repr(payload)[2:-1],
        base64.b64encode(payload).decode().rstrip("="),
    ]


def assert_unsaid(timeline: Timeline, payload: bytes, *, step: int = 4) -> None:
    """No stretch of the payload is in the timeline."""
    text, escaped = told(timeline), json.dumps(told(timeline))
    for at in range(0, len(payload) - 7, step):
        for shape in shapes(payload[at : at + 8]):
            assert len(shape) < 6 or (shape not in text and shape not in escaped), shape


async def test_a_conversation_is_a_story():
    async with Bench() as bench:
        bench.canister.on_message = lambda key, payload: bench.canister.send(key, b"pong") or OK
        client, shell = await bench.opened()
        timeline = shell.peer.timeline
        shell.receive(client.message(b"ping"))
        await until(lambda: timeline.delivered == 2)
        assert timeline.id == shell.peer.id
        assert (timeline.canister, timeline.client) == (str(CANISTER), f"{client.principal}_{client.nonce}")
        assert [kind for kind in kinds(timeline) if kind != "answered"] == [
            *("accepted", "frame", "joined", "relayed", "opened", "delivered"),
            *("frame", "relayed", "delivered"),
        ]
        assert kinds(timeline).count("answered") == timeline.relayed == 2
        methods = [moment.facts["method"] for moment in timeline.entries if moment.kind == "relayed"]
        assert methods == ["ws_open", "ws_message"]
        assert all(len(moment.facts["request_id"]) == 64 for moment in timeline.entries if moment.kind == "relayed")


async def test_what_came_to_nothing_says_why():
    async with Bench() as bench:
        client, shell = await bench.opened()
        bench.canister.on_message = lambda key, payload: err("no such room")
        shell.receive(client.message())
        # The socket closes after some polls for a message that says why, which only these wake-ups begin.
        await until(lambda: shell.error or bench.wake_ups[0].set())
        failed = [moment.facts["cause"] for moment in shell.peer.timeline.entries if moment.kind == "failed"]
        assert failed == []  # the IC answered; what the canister said is why the socket is closed
        assert str(shell.error) == "ws_message: no such room"

    async with Bench() as bench:
        client, shell = await bench.opened()

        async def refuse(request):
            raise CertifiedReject(5, "canister trapped")

        bench.ic.before_submit = refuse
        shell.receive(client.message())
        await until(lambda: shell.error or bench.wake_ups[0].set())
        failed = [moment.facts["cause"] for moment in shell.peer.timeline.entries if moment.kind == "failed"]
        assert failed == ["rejected (5): canister trapped"]
        assert shell.peer.timeline.failed == 1


async def test_what_is_only_reported_is_in_the_story():
    async with Bench(verification={"envelopes": "report"}) as bench:
        shell = bench.connect()
        shell.receive(Client().open(break_signature=True))
        (doubted,) = [moment.facts["cause"] for moment in shell.peer.timeline.entries if moment.kind == "doubted"]
        assert doubted.startswith("signature does not verify")


async def test_messages_of_one_poll_are_one_moment():
    async with Bench() as bench:
        client, shell = await bench.opened()
        timeline = shell.peer.timeline
        await until(lambda: timeline.delivered == 1)
        for number in range(5):
            bench.canister.send(client.client_key, b"%d" % number)
        bench.wake_ups[0].set()
        await until(lambda: timeline.delivered == 6)
        facts = timeline.entries[-1].facts
        assert (facts["messages"], facts["first_nonce"], facts["last_nonce"]) == (5, 1, 5)
        assert facts["bytes"] == sum(map(len, shell.wire.written[-5:]))


@pytest.mark.parametrize("seed", range(3))
async def test_no_payload_is_in_a_story(seed):
    """Neither of what is relayed and delivered, nor of what is refused."""
    up, down = secrets.token_bytes(MARK), secrets.token_bytes(MARK)
    async with Bench(verification={"envelopes": ["enforce", "report", "off"][seed]}) as bench:
        bench.canister.on_message = lambda key, payload: bench.canister.send(key, down) or OK
        client, shell = await bench.opened()
        shell.receive(client.message(up))
        await until(lambda: shell.peer.timeline.delivered == 2)
        shells = [shell, bench.connect(), bench.connect(), bench.connect(), bench.connect(), bench.connect()]
        for other, frame in zip(
            shells[1:],
            [
                up,
                Client().message(up),
                Client().open(break_signature=True) + up,
                encode_cbor({"envelope": up}),
                Client().call("ws_open", up),
            ],
            strict=True,
        ):
            other.receive(frame)
        for other in shells:
            if other.error is not None:
                other.peer.timeline.ended(ConnectionEnd(0, 4500, "gateway", str(other.error), None))
            assert_unsaid(other.peer.timeline, up)
            assert_unsaid(other.peer.timeline, down)


@given(st.binary(min_size=8, max_size=300), st.booleans())
async def test_whatever_a_stranger_sends_stays_unsaid(payload, is_argument):
    async with Bench() as bench:
        shell = bench.connect()
        shell.receive(Client().call("ws_open", payload) if is_argument else payload)
        if shell.error is not None:
            shell.peer.timeline.ended(ConnectionEnd(0, 4500, "gateway", str(shell.error), None))
        stretches = [payload[at : at + 8] for at in range(len(payload) - 7)]
        # what is text may be a word that timelines are told with
        unlikely = b"".join(stretch for stretch in stretches if len(set(stretch)) > 6 and not stretch.isascii())
        assert_unsaid(shell.peer.timeline, unlikely[: 8 * (len(unlikely) // 8)], step=8)


async def test_how_long_each_hop_takes_is_counted():
    async with Bench() as bench:
        bench.canister.on_message = lambda key, payload: bench.canister.send(key, b"pong") or OK
        client, shell = await bench.opened()
        shell.receive(client.message())
        await until(lambda: shell.peer.timeline.delivered == 2)
        latency = bench.gateway.recorder.latency
        assert latency.gateway_to_ic.count == 2
        assert latency.canister_to_polled.count == 2
        assert latency.polled_to_written.count == 2
        # Polls after an opening show the last message again, and are verified too.
        assert 2 <= latency.reply_verification.count <= bench.gateway.counters.polls
        assert latency.frame_verification.count == 1


async def test_messages_that_nobody_is_there_for_are_not_written():
    async with Bench() as bench:
        _, shell = await bench.opened()
        await until(lambda: shell.peer.timeline.delivered == 1)
        bench.canister.send(Client().client_key, b"for a stranger")
        bench.wake_ups[0].set()
        await until(lambda: bench.gateway.counters.undeliverable == 1)
        assert bench.gateway.recorder.latency.polled_to_written.count == 1


async def test_one_message_in_so_many_is_measured_in_full():
    async with Bench() as bench:
        client, shell = await bench.opened()
        sent = 3 * SAMPLED
        for _ in range(sent):
            shell.receive(client.message())
            await until(lambda: not len(shell.peer.relays))
        assert bench.gateway.recorder.latency.frame_verification.count == len(range(FIRST_SAMPLED, sent + 2, SAMPLED))


async def test_stories_of_sockets_begin_and_end():
    async with served() as it:
        async with it.session() as (client, socket):
            (peer,) = it.gateway.connections
            timeline = it.gateway.timelines.find(peer.id)
            assert timeline is peer.timeline
            assert timeline.address == "127.0.0.1"
            await socket.send(client.message(b"hello"))
            await until(lambda: timeline.relayed == 2)
            await socket.close(1000, "bye")
        await it.nobody()
        assert it.gateway.timelines.find(timeline.id) is timeline
        assert timeline.end[1:] == (1000, "client", "client: bye", None)
        assert kinds(timeline)[:2] == ["accepted", "upgraded"]
        assert kinds(timeline)[-1] == "ended"


async def test_who_is_turned_away_has_a_story_too():
    async with served() as it:
        raw = await it.raw()
        assert (await raw.request("/nowhere"))[0] == 404
        raw.close()
        await until(lambda: it.gateway.timelines.turned_away)
        (timeline,) = it.gateway.timelines.turned_away
        assert kinds(timeline) == ["accepted", "turned_away"]
        assert timeline.entries[-1].facts["status"] == 404
        assert it.gateway.timelines.find(timeline.id) is timeline
